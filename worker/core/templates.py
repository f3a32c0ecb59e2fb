"""Templates of a payload: a JSON document whose strings may say `{{ sender.name }}`, so that what comes out is always JSON.

A string that is one expression keeps its value's type: `"{{ message.data }}"` becomes an object. What renders to nothing is
left out of its object. The badge is a gap that is filled for each device (`"badge": "{{ badge }}"`, or no word about it); a
number in its place is that number for everybody, `null` leaves the icon alone.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple, Self

import msgspec

from producers.aps import ALERT_KEYS, ALERT_LISTS, ALERT_TEXTS, TEXTS, check_aps
from producers.errors import EventError
from producers.events import MessageNew
from producers.prose import shows
from producers.targeting import APS_KEYS, BADGE_ROOM
from worker.core.notification import HEAD, LIMIT, Rendered
from worker.core.template_cut import cut, encoded, size
from worker.core.template_language import BADGE, Leaf, LeafError, is_badge, is_template, suggestion

#: Bytes of a template, strings and numbers in it, and how deep it may be.
MAX_DOCUMENT: Final = 16 * 1024
MAX_LEAVES: Final = 256
MAX_DEPTH: Final = 12

Path = tuple[str | int, ...]
_ALERT: Final = ("aps", "alert")
_LEFT_OUT: Final = object()


class TemplateError(ValueError):
    """The template cannot be used; the text names the place in it and what is wrong."""


class NothingToSayError(TemplateError):
    """The alert renders to nothing for a message: another template, or none, is for it."""


class Outcome(NamedTuple):
    """A payload, and what was left out of it to keep Apple's limit."""

    rendered: Rendered
    cuts: list[str]


class Template:
    """A template, compiled. Renders the same message to the same bytes."""

    def __init__(self, tree: dict[str, Any], leaves: dict[Path, Any], *, counted: bool) -> None:
        self._tree, self._leaves, self._counted = tree, leaves, counted
        #: Whether it says something about the recipient, and so is rendered for each.
        self.per_user = any("recipient" in leaf.names for leaf in leaves.values() if isinstance(leaf, Leaf))
        #: Keys of `aps` whose values are only known when they are rendered, and are no plain texts.
        self._unknown = {
            str(path[1])
            for path, leaf in leaves.items()
            if isinstance(leaf, Leaf) and path[0] == "aps" and not _is_text(path)
        }

    @classmethod
    def parse(cls, document: str | bytes, *, locale: str = "") -> Self:
        """Raises `TemplateError` for anything that could not be rendered or that Apple does not know."""
        if len(document) > MAX_DOCUMENT:
            raise TemplateError(f"template: {len(document):,} bytes, at most {MAX_DOCUMENT:,} are taken")
        try:
            tree = msgspec.json.decode(document)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            raise TemplateError(f"template: is not JSON: {fault}") from None
        if not isinstance(tree, dict):
            raise TemplateError('template: has to be a JSON object, {"aps": {"alert": …}, …}')
        _check_keys(tree)
        aps, others = dict(tree["aps"]), {key: value for key, value in tree.items() if key != "aps"}
        counted = _take_badge(aps)
        tree = {"aps": aps, **others}
        return cls(tree, _compiled(tree, locale), counted=counted)

    def render(self, context: Mapping[str, Any], *, limit: int = LIMIT) -> Outcome:
        """The payload in at most `limit` bytes with any badge. `TemplateError` where this message cannot be rendered by it."""
        try:
            return self._outcome(context, limit)
        except TemplateError:
            raise
        except Exception as fault:  # noqa: BLE001 - whatever it is, the message goes out by the default payload
            # The fault's own words may quote the message, so they stay out of the report.
            raise TemplateError(f"template: {type(fault).__name__}") from None

    def _outcome(self, context: Mapping[str, Any], limit: int) -> Outcome:
        values: dict[Path, Any] = {}
        for path, leaf in self._leaves.items():
            value = self._value(path, leaf, context)
            # What is nothing is left out of an object; in a list its place is kept, for loc-args goes by place.
            if not isinstance(leaf, Leaf) or not _is_nothing(path, value):
                values[path] = value
            elif isinstance(path[-1], int):
                values[path] = ""
        room = limit - BADGE_ROOM if self._counted else limit
        cuts: list[str] = []
        if size(self._document(values)) > room:
            cuts = cut(values, self._templated(), lambda kept: size(self._document(kept)), room)
        document = self._document(values)
        if not document.get("aps", {}).get("alert"):
            raise NothingToSayError("aps.alert: renders to nothing for this message")
        if self._unknown:
            _check_values({key: value for key, value in document["aps"].items() if key in self._unknown})
        payload = encoded(document)
        if len(payload) > room:
            raise TemplateError(f"template: {len(payload):,} bytes are left when all that may go is cut, {room:,} fit")
        return Outcome(self._gap(payload), cuts)

    def _gap(self, payload: bytes) -> Rendered:
        return Rendered(HEAD, payload[len(HEAD) :]) if self._counted else Rendered(payload, b"")

    def _value(self, path: Path, leaf: Any, context: Mapping[str, Any]) -> Any:
        if not isinstance(leaf, Leaf):
            return leaf
        try:
            value = leaf.render(context)
        except Exception as fault:  # noqa: BLE001 - whatever jinja2 raises, the message is still sent
            # The fault's own words may quote the message, so they stay out of the report.
            raise TemplateError(f"{dotted(path)}: {type(fault).__name__}") from None
        return _text(path, value) if _is_text(path) or (path == _ALERT and isinstance(value, int | float)) else value

    def check_literals(self) -> None:
        """`TemplateError` for what stands in the template as it is and Apple does not want.

        Not part of `parse`: a template that was stored before goes on.
        """
        _check_values(self._tree["aps"])

    def _document(self, values: Mapping[Path, Any]) -> Any:
        return _assemble(self._tree, (), values)

    def _templated(self) -> set[Path]:
        return {path for path, leaf in self._leaves.items() if isinstance(leaf, Leaf)}


class Templates:
    """A provider's templates by kind and locale; '' stands for every kind and for every language."""

    def __init__(self, templates: Mapping[tuple[str, str], Template]) -> None:
        self._templates = templates

    def choose(self, kind: str, locale: str | None) -> Template | None:
        """The kind's own before the one for every kind; within each the nearest language, the default last."""
        for of_kind in (kind, ""):
            for language in fallbacks(locale):
                found = self._templates.get((of_kind, language))
                if found is not None:
                    return found
        return None


def normal_locale(locale: str) -> str:
    """`fr_CA` and `fr-ca` are one."""
    return locale.replace("_", "-").lower()


def fallbacks(locale: str | None) -> list[str]:
    """`fr-CA` as `['fr-ca', 'fr', '']`."""
    parts = normal_locale(locale).split("-") if locale else []
    return ["-".join(parts[:end]) for end in range(len(parts), -1, -1)]


def context_of(
    event: MessageNew, recipient: str | None = None, named: Collection[str] | None = None, count: int = 1
) -> dict[str, Any]:
    """What a template may name. `event.channel.name` is the stored one where the event has none.

    `named`: who is mentioned by name, a set where many recipients are asked for. `count`: messages that this one stands for.
    """
    message, sender, channel = event.message, event.sender, event.channel
    mentioned = message.mentions_everyone or recipient in (message.mentioned if named is None else named)
    return {
        "message": {
            "id": message.id,
            "text": message.text,
            "kind": message.kind,
            "parent_id": message.parent_id,
            "mentioned": message.mentioned,
            "data": message.data,
            "count": count,
        },
        "sender": {"id": sender.id, "name": sender.name, "image": sender.image},
        "channel": {"id": channel.id, "name": channel.name},
        "recipient": {"id": recipient, "mentioned": mentioned},
        "app": {"name": event.app},
        "event": {"id": event.id},
    }


def check(template: Template, samples: Iterable[MessageNew]) -> None:
    """Looks at what is fixed and renders the samples; `TemplateError` where one fails, unless it has nothing to say."""
    template.check_literals()
    for sample in samples:
        with suppress(NothingToSayError):
            template.render(context_of(sample, "sample-user"))


def dotted(path: Path) -> str:
    """`aps.alert.loc-args[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _check_keys(tree: dict[str, Any]) -> None:
    aps = tree.get("aps")
    if not isinstance(aps, dict):
        raise TemplateError('aps: required, an object: {"aps": {"alert": …}, …}')
    _known("aps", aps, APS_KEYS)
    alert = aps.get("alert")
    if not alert or not isinstance(alert, str | dict):
        raise TemplateError('aps.alert: required, a string or an object such as {"title": …, "body": …}')
    if isinstance(alert, dict):
        _known("aps.alert", alert, ALERT_KEYS)


def _known(place: str, given: Mapping[str, Any], known: frozenset[str]) -> None:
    for key in given:
        if key not in known:
            raise TemplateError(f"{place}.{key}: Apple knows no such key{suggestion(key, known)}")


def _check_values(aps: Mapping[str, Any]) -> None:
    try:
        check_aps(aps, "aps", skip=lambda value: isinstance(value, str) and is_template(value))
    except EventError as fault:
        raise TemplateError(str(fault)) from None


def _is_text(path: Path) -> bool:
    """Whether Apple wants a string there, and nothing else."""
    if path[0] != "aps":
        return False
    if len(path) == 2:
        return path[1] in TEXTS
    if path[1] == "sound":
        return path[2:] == ("name",)
    if path[1] != "alert":
        return False
    return path[2] in ALERT_TEXTS if len(path) == 3 else len(path) == 4 and path[2] in ALERT_LISTS


def _text(path: Path, value: Any) -> Any:
    """A value where a string belongs: "5" for a number. Nothing stays nothing."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise TemplateError(f"{dotted(path)}: an object or a list, where Apple wants a string")


def _is_nothing(path: Path, value: Any) -> bool:
    if path[:2] == _ALERT and isinstance(value, str):
        return not shows(value)
    return value is None or value == ""


def _take_badge(aps: dict[str, Any]) -> bool:
    """Whether the badge is counted; then it is taken out, and so is `null`."""
    if BADGE not in aps:
        return True
    badge = aps[BADGE]
    if isinstance(badge, str) and is_badge(badge):
        del aps[BADGE]
        return True
    if badge is None:
        del aps[BADGE]
        return False
    if isinstance(badge, bool) or not isinstance(badge, int) or not 0 <= badge < 2**31:
        raise TemplateError('aps.badge: has to be "{{ badge }}" (counted), a number, or null (left alone)')
    return False


def _compiled(tree: dict[str, Any], locale: str) -> dict[Path, Any]:
    leaves: dict[Path, Any] = {}
    for path, value in _flat(tree, ()):
        if len(leaves) >= MAX_LEAVES:
            raise TemplateError(f"template: more than {MAX_LEAVES} values")
        if isinstance(value, str) and is_template(value):
            try:
                value = Leaf(value, locale)  # noqa: PLW2901 - a string becomes what it says
            except LeafError as fault:
                raise TemplateError(f"{dotted(path)}: {fault}") from None
        elif isinstance(value, int | float) and _is_text(path):
            value = _text(path, value)  # noqa: PLW2901 - as an earlier release stored it
        leaves[path] = value
    return leaves


def _flat(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Everything that has nothing in it, with its place."""
    if len(path) > MAX_DEPTH:
        raise TemplateError(f"{dotted(path)}: nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            if is_template(key):
                raise TemplateError(f"{dotted((*path, key))}: a key cannot be a template, only what stands behind it")
            yield from _flat(inner, (*path, key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _flat(inner, (*path, index))
    else:
        yield path, value


def _assemble(value: Any, path: Path, values: Mapping[Path, Any]) -> Any:
    """The tree with the values in their places; what has none, or nothing left in it, is `_LEFT_OUT`."""
    if isinstance(value, dict) and value:
        built = {key: _assemble(inner, (*path, key), values) for key, inner in value.items()}
        kept = {key: inner for key, inner in built.items() if inner is not _LEFT_OUT}
        return kept if kept or not path else _LEFT_OUT
    if isinstance(value, list) and value:
        elements = [_assemble(inner, (*path, index), values) for index, inner in enumerate(value)]
        found = [inner for inner in elements if inner is not _LEFT_OUT]
        return found or _LEFT_OUT
    return values.get(path, _LEFT_OUT)
