"""Templates in the JSON of APNs, `{"aps": {"alert": …}, …}`: for APNs, and for who gets what a phone would get."""

from collections.abc import Mapping
from typing import Any, Final

from producers.aps import ALERT_KEYS, ALERT_LISTS, ALERT_TEXTS, TEXTS, check_aps
from producers.errors import EventError
from producers.targeting import APS_KEYS
from worker.core.notification import LIMIT
from worker.core.template_form import Limit, Path, Skip, TemplateError, TemplateForm
from worker.core.template_language import suggestion

_ALERT: Final = ("aps", "alert")


class ApsForm(TemplateForm):
    badges = (("aps", "badge"),)
    limits = (Limit(LIMIT),)
    own = False

    def check_keys(self, tree: Mapping[str, Any]) -> None:
        aps = tree.get("aps")
        if not isinstance(aps, dict):
            raise TemplateError('aps: required, an object: {"aps": {"alert": …}, …}')
        _known("aps", aps, APS_KEYS)
        alert = aps.get("alert")
        if not alert or not isinstance(alert, str | dict):
            raise TemplateError('aps.alert: required, a string or an object such as {"title": …, "body": …}')
        if isinstance(alert, dict):
            _known("aps.alert", alert, ALERT_KEYS)

    def complete(self, tree: dict[str, Any]) -> None:
        """`aps` comes first, as in every payload: the badge has its gap there."""
        for key in [key for key in tree if key != "aps"]:
            tree[key] = tree.pop(key)

    def check_values(self, document: Mapping[str, Any], skip: Skip) -> None:
        try:
            check_aps(document.get("aps", {}), "aps", skip=skip)
        except EventError as fault:
            raise TemplateError(str(fault)) from None

    def is_text(self, path: Path) -> bool:
        return path[0] == "aps" and is_aps_text(path[1:])

    def is_seen(self, path: Path) -> bool:
        return path[:2] == _ALERT

    def may_shorten(self, path: Path, *, prose: bool) -> bool:
        return path[:2] == _ALERT

    def may_go(self, path: Path) -> bool:
        return path[0] != "aps"

    def silence(self, document: dict[str, Any]) -> None:
        without_sound(document["aps"])

    def says(self, document: Mapping[str, Any]) -> bool:
        return bool(document.get("aps", {}).get("alert"))


def is_aps_text(path: Path) -> bool:
    """Whether Apple wants a string at this place inside `aps`, and nothing else."""
    if len(path) == 1:
        return path[0] in TEXTS
    if path[0] == "sound":
        return path[1:] == ("name",)
    if path[0] != "alert":
        return False
    return path[1] in ALERT_TEXTS if len(path) == 2 else len(path) == 3 and path[1] in ALERT_LISTS


def without_sound(aps: dict[str, Any]) -> None:
    """A critical alert keeps its own: only a template can make one."""
    sound = aps.get("sound")
    if not (isinstance(sound, dict) and sound.get("critical")):
        aps.pop("sound", None)


def _known(place: str, given: Mapping[str, Any], known: frozenset[str]) -> None:
    for key in given:
        if key not in known:
            raise TemplateError(f"{place}.{key}: Apple knows no such key{suggestion(key, known)}")


APS_FORM: Final = ApsForm()
