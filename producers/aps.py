"""Apple's rules for `aps`: the keys that exist, and the values that a phone understands.

Apple answers 200 to other values too, but the phone then shows nothing, or an empty place. Source: Apple, "Generating a
remote notification".
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from producers.errors import EventError

LEVELS: Final = ("passive", "active", "time-sensitive", "critical")
#: Keys of `aps` and of `aps.alert` behind which a string stands.
TEXTS: Final = frozenset({"thread-id", "category", "target-content-id", "filter-criteria"})
ALERT_TEXTS: Final = frozenset(
    (
        *("title", "subtitle", "body", "launch-image", "loc-key", "action-loc-key"),
        *("title-loc-key", "subtitle-loc-key"),
    )
)
#: Those behind which a list of strings stands.
ALERT_LISTS: Final = frozenset({"loc-args", "title-loc-args", "subtitle-loc-args"})
ALERT_KEYS: Final = ALERT_TEXTS | ALERT_LISTS
_SOUND_KEYS: Final = ("critical", "name", "volume")

Skip = Callable[[Any], bool]


def check_aps(aps: Mapping[str, Any], field: str, skip: Skip = lambda _: False) -> None:
    """Raises `EventError` naming the field for a value that Apple does not accept. The caller checks `badge`.

    `field` is the path of the keys. A value for which `skip` is true is not checked: it is not known yet.
    """
    for key, value in aps.items():
        if not skip(value) and (check := _CHECKS.get(key)) is not None:
            check(value, f"{field}.{key}", skip)


def _string(value: Any, field: str, _: Skip) -> None:
    if not isinstance(value, str):
        raise EventError(f"{field}: expected a string, got {_kind(value)}")


def _alert(value: Any, field: str, skip: Skip) -> None:
    if isinstance(value, str):
        return
    if not isinstance(value, Mapping):
        raise EventError(f"{field}: expected a string or an object, got {_kind(value)}")
    for key, inner in value.items():
        if key in ALERT_TEXTS:
            if not skip(inner):
                _string(inner, f"{field}.{key}", skip)
        elif key in ALERT_LISTS:
            _strings(inner, f"{field}.{key}", skip)
        else:
            raise EventError(f"{field}.{key}: Apple knows no such key; known are {', '.join(sorted(ALERT_KEYS))}")


def _strings(value: Any, field: str, skip: Skip) -> None:
    if skip(value):
        return
    if not isinstance(value, list):
        raise EventError(f"{field}: expected a list of strings, got {_kind(value)}")
    for index, inner in enumerate(value):
        if not skip(inner):
            _string(inner, f"{field}[{index}]", skip)


def _sound(value: Any, field: str, skip: Skip) -> None:
    if isinstance(value, str) and value:
        return
    if not isinstance(value, Mapping) or not value:
        raise EventError(f"{field}: expected a string or an object, not empty")
    for key, inner in value.items():
        inside = f"{field}.{key}"
        if key not in _SOUND_KEYS:
            raise EventError(f"{inside}: Apple knows no such key; known are {', '.join(_SOUND_KEYS)}")
        if skip(inner):
            continue
        if key == "name":
            _string(inner, inside, skip)
        elif key == "critical":
            _flag(inner, inside, skip)
        else:
            _part(inner, inside, skip)


def _level(value: Any, field: str, _: Skip) -> None:
    if value not in LEVELS:
        raise EventError(f"{field}: expected {', '.join(LEVELS[:-1])} or {LEVELS[-1]}")


def _part(value: Any, field: str, _: Skip) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise EventError(f"{field}: expected a number from 0 to 1")


def _flag(value: Any, field: str, _: Skip) -> None:
    if type(value) is not int or value not in (0, 1):
        raise EventError(f"{field}: expected the number 1, or 0")


def _one(value: Any, field: str, _: Skip) -> None:
    if type(value) is not int or value != 1:
        raise EventError(f"{field}: expected the number 1")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return 'a number; in quotes it is one: "5"'
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, Mapping) else "a string"


_CHECKS: Final[Mapping[str, Callable[[Any, str, Skip], None]]] = {
    "alert": _alert,
    "sound": _sound,
    "interruption-level": _level,
    "relevance-score": _part,
    "content-available": _one,
    "mutable-content": _flag,
    **dict.fromkeys(TEXTS, _string),
}
