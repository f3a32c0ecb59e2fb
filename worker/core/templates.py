"""Templates of a payload: a JSON document whose strings may say `{{ sender.name }}`, so that what comes out is always JSON.

Which JSON is the matter of the provider's kind: a `TemplateForm`. A string that is one expression keeps its value's type:
`"{{ message.data }}"` becomes an object. What renders to nothing is left out of its object. The badge is filled in for each
device (`"badge": "{{ badge }}"`, or no word about it); a number in its place is that number for everybody, `null` leaves the
icon alone.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Self

import msgspec

from producers.events import MessageNew
from producers.prose import shows
from producers.targeting import BADGE_ROOM, MAX_BADGE
from worker.core.aps_form import APS_FORM
from worker.core.notification import HEAD, Rendered
from worker.core.template_cut import cut, encoded, size
from worker.core.template_form import Limit, Path, TemplateError, TemplateForm, dotted
from worker.core.template_language import BADGE_MARK, NAMES, Leaf, LeafError, is_badge, is_template

#: Bytes of a template, strings and numbers in it, and how deep it may be.
MAX_DOCUMENT: Final = 16 * 1024
MAX_LEAVES: Final = 256
MAX_DEPTH: Final = 12

_LEFT_OUT: Final = object()
_NO_DIGEST: Final = dict.fromkeys(NAMES["digest"])


class NothingToSayError(TemplateError):
    """The template renders to nothing for a message: another one, or none, is for it."""


class Outcome(NamedTuple):
    """A payload, and what was left out of it to keep the provider's limit."""

    rendered: Rendered
    cuts: list[str]


class Template:
    """A template, compiled. Renders the same message to the same bytes."""

    def __init__(self, tree: dict[str, Any], leaves: dict[Path, Any], form: TemplateForm, badges: "_Badges") -> None:
        self._tree, self._leaves, self._form, self._badges = tree, leaves, form, badges
        templated = {path: leaf for path, leaf in leaves.items() if isinstance(leaf, Leaf)}
        #: Whether it says something about the recipient, and so is rendered for each.
        self.per_user = any("recipient" in leaf.names for leaf in templated.values())
        self._shortened = [path for path, leaf in templated.items() if form.may_shorten(path, prose=leaf.prose)]
        #: Values that are only known when they are rendered, and are no plain texts.
        self._unknown = [path for path in templated if not form.is_text(path)]

    @property
    def counted(self) -> bool:
        """Whether each device gets its own number."""
        return bool(self._badges.counted)

    @property
    def badge(self) -> int | None:
        """The number for every device; None: the icon is left alone, or the number is counted."""
        return self._badges.number

    @classmethod
    def parse(cls, document: str | bytes, form: TemplateForm = APS_FORM, *, locale: str = "") -> Self:
        """Raises `TemplateError` for anything that could not be rendered or that the provider does not know."""
        if len(document) > MAX_DOCUMENT:
            raise TemplateError(f"template: {len(document):,} bytes, at most {MAX_DOCUMENT:,} are taken")
        try:
            tree = msgspec.json.decode(document)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            raise TemplateError(f"template: is not JSON: {fault}") from None
        if not isinstance(tree, dict):
            raise TemplateError("template: has to be a JSON object")
        form.check_keys(tree)
        form.complete(tree)
        badges = _take_badges(tree, form)
        return cls(tree, _compiled(tree, form, locale, badges), form, badges)

    def render(self, context: Mapping[str, Any], *, limit: int | None = None, sound: bool = True) -> Outcome:
        """The payload within the form's limits, or `limit` bytes, with any badge. Without `sound` it makes none.

        Raises `TemplateError` where this message cannot be rendered by it.
        """
        try:
            return self._outcome(context, self._form.limits if limit is None else (Limit(limit),), sound=sound)
        except TemplateError:
            raise
        except Exception as fault:  # noqa: BLE001 - whatever it is, the message goes out by the default payload
            # The fault's own words may quote the message, so they stay out of the report.
            raise TemplateError(f"template: {type(fault).__name__}") from None

    def check_literals(self) -> None:
        """`TemplateError` for what stands in the template as it is and the provider does not want.

        Not part of `parse`: a template that was stored before goes on.
        """
        self._form.check_values(self._tree, lambda value: isinstance(value, str) and is_template(value))

    def _outcome(self, context: Mapping[str, Any], limits: Sequence[Limit], *, sound: bool) -> Outcome:
        values: dict[Path, Any] = {}
        for path, leaf in self._leaves.items():
            value = self._value(path, leaf, context)
            # What is nothing is left out of an object; in a list its place is kept, for loc-args goes by place.
            if not isinstance(leaf, Leaf) or not self._is_nothing(path, value):
                values[path] = value
            elif isinstance(path[-1], int):
                values[path] = ""
        room = BADGE_ROOM if self.counted and not self._form.own else 0
        cuts = [one for limit in limits for one in self._cut(values, limit, room)]
        document = self._document(values)
        if not self._form.says(document):
            raise NothingToSayError("template: renders to nothing for this message")
        if self._unknown:
            found = {path: values[path] for path in self._unknown if path in values}
            self._form.check_values(self._document(found), lambda _: False)
        if not sound:
            self._form.silence(document)
        for limit in limits:
            if (left := size(limit.part(document))) > limit.octets - room:
                allowed = f"{limit.octets - room:,} fit"
                raise TemplateError(f"template: {left:,} bytes are left when all that may go is cut, {allowed}")
        return Outcome(self._rendered(encoded(document)), cuts)

    def _cut(self, values: dict[Path, Any], limit: Limit, room: int) -> list[str]:
        """Makes what counts against a limit fit, with `room` octets left."""
        allowed = limit.octets - room

        def measure(kept: dict[Path, Any]) -> int:
            return size(limit.part(self._document(kept)))

        if measure(values) <= allowed:
            return []
        texts = [path for path in self._shortened if limit.holds(path)]
        spare = [
            path
            for path in values
            if limit.holds(path) and self._form.may_go(path) and path not in (*texts, *self._badges.counted)
        ]
        return cut(values, texts, spare, measure, allowed)

    def _rendered(self, payload: bytes) -> Rendered:
        if self._form.own:
            return Rendered(payload, b"", own=True)
        return Rendered(HEAD, payload[len(HEAD) :]) if self.counted else Rendered(payload, b"")

    def _value(self, path: Path, leaf: Any, context: Mapping[str, Any]) -> Any:
        if not isinstance(leaf, Leaf):
            return leaf
        try:
            value = leaf.render(context)
        except Exception as fault:  # noqa: BLE001 - whatever jinja2 raises, the message is still sent
            # The fault's own words may quote the message, so they stay out of the report.
            raise TemplateError(f"{dotted(path)}: {type(fault).__name__}") from None
        number_seen = isinstance(value, int | float) and self._form.is_seen(path)
        return _text(path, value, self._form) if number_seen or self._form.is_text(path) else value

    def _is_nothing(self, path: Path, value: Any) -> bool:
        if isinstance(value, str) and self._form.is_seen(path):
            return not shows(value)
        return value is None or value == ""

    def _document(self, values: Mapping[Path, Any]) -> Any:
        return _assemble(self._tree, (), values)


class _Badges(NamedTuple):
    """Places in a template where each device gets its own number, and the number for every device."""

    counted: Sequence[Path]
    number: int | None


class Templates:
    """A provider's templates by kind and locale; '' stands for every kind and for every language."""

    def __init__(self, templates: Mapping[tuple[str, str], Template]) -> None:
        self._templates = templates

    def own(self, kind: str, locale: str | None) -> Template | None:
        """The kind's own in the nearest language: one for every kind is for messages."""
        found = (self._templates.get((kind, language)) for language in fallbacks(locale))
        return next((one for one in found if one is not None), None)

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
    event: MessageNew,
    recipient: str | None = None,
    named: Collection[str] | None = None,
    count: int = 1,
    why: str = "message",
    group: str = "",
) -> dict[str, Any]:
    """What a template may name. `event.channel.name` is the stored one where the event has none.

    `named`: who is mentioned by name, a set where many recipients are asked for. `count`: messages that this one stands for.
    `why`: the trigger for which the recipient gets it; `group`: the group that calls them, for that trigger.
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
            "urgency": message.urgency,
        },
        "sender": {"id": sender.id, "name": sender.name, "image": sender.image},
        "channel": {"id": channel.id, "name": channel.name, "kind": channel.kind},
        "group": {"name": group},
        "recipient": {"id": recipient, "mentioned": mentioned},
        "app": {"name": event.app},
        "event": {"id": event.id},
        "digest": _NO_DIGEST,
        "why": why,
    }


def check(template: Template, samples: Iterable[MessageNew]) -> None:
    """Looks at what is fixed and renders the samples; `TemplateError` where one fails, unless it has nothing to say."""
    template.check_literals()
    for sample in samples:
        with suppress(NothingToSayError):
            template.render(context_of(sample, "sample-user"))


def _text(path: Path, value: Any, form: TemplateForm) -> Any:
    """A value where a string belongs: "5" for a number. Nothing stays nothing."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return form.text_of(path, value)


def _take_badges(tree: dict[str, Any], form: TemplateForm) -> _Badges:
    """Takes the counted badge out of the tree, and `null`; in a form of the kind's own a counted one is marked."""
    counted: list[Path] = []
    number: int | None = None
    for path in form.badges:
        *above, key = path
        holder: Any = tree
        for part in above:
            holder = holder.get(part) if isinstance(holder, dict) else None
        if not isinstance(holder, dict):
            continue
        badge = holder.pop(key, BADGE_MARK)
        if isinstance(badge, str) and is_badge(badge):
            counted.append(path)
            holder |= {key: BADGE_MARK} if form.own else {}
        elif badge is not None:
            if isinstance(badge, bool) or not isinstance(badge, int) or not 0 <= badge <= MAX_BADGE:
                where = f"{dotted(path)}: has to be"
                raise TemplateError(f'{where} "{BADGE_MARK}" (counted), a number, or null (left alone)')
            holder[key] = badge
            number = badge if number is None else number
    return _Badges(counted, number)


def _compiled(tree: dict[str, Any], form: TemplateForm, locale: str, badges: _Badges) -> dict[Path, Any]:
    leaves: dict[Path, Any] = {}
    for path, value in _flat(tree, ()):
        if len(leaves) >= MAX_LEAVES:
            raise TemplateError(f"template: more than {MAX_LEAVES} values")
        if isinstance(value, str) and is_template(value) and path not in badges.counted:
            try:
                value = Leaf(value, locale)  # noqa: PLW2901 - a string becomes what it says
            except LeafError as fault:
                raise TemplateError(f"{dotted(path)}: {fault}") from None
        elif isinstance(value, int | float) and form.is_text(path):
            value = _text(path, value, form)  # noqa: PLW2901 - as an earlier release stored it
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
