"""From a message and its devices to rendered messages: one rendering for all devices that get the same.

An app without templates renders once for each variant: mostly one, because most people get a message for the same reason. With
templates it is once for each template that a device's provider and language choose, and once for each user where the template
names the recipient. If a template fails, the default payload is sent in its place.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from config.seldom import Seldom
from producers.events import MessageNew
from worker.core import notification
from worker.core.attention import DEFAULTS, Attention
from worker.core.badges import badge_of
from worker.core.batch import LEAVE, Sending
from worker.core.edits import content_of
from worker.core.folding import folded
from worker.core.loudness import Loudness, loudness
from worker.core.model import Device
from worker.core.names import clean_name, legible
from worker.core.notification import Rendered
from worker.core.privacy import (
    FULL,
    Disclosure,
    by_id,
    ids_of,
    limit_for,
    placeholder,
    sealable,
    with_inside,
    without_text,
)
from worker.core.rules import Why
from worker.core.template_form import TemplateError
from worker.core.templates import NothingToSayError, Template, Templates, context_of
from worker.core.trace_context import sampled
from worker.facts.channels import ChannelRow

log = logging.getLogger(__name__)
seldom = Seldom(log)


class Message(msgspec.Struct, frozen=True):
    """A message as it is rendered. `channel` is what is stored of it, `expires_at` in UNIX seconds."""

    entry: str
    event: MessageNew
    channel: ChannelRow | None
    expires_at: int
    place: int = 0
    #: UNIX seconds at which it came; 0: not known.
    at: int = 0
    #: Whether the messages that it stands for, where it is folded, are known to be one person's.
    one_sender: bool = False
    #: Members of the channel; 0: not known.
    members: int = 0
    #: Seconds after which those who get it for one of the app's `remind_triggers` are reminded of it; 0: nobody is.
    reminds: int = 0
    #: What its app says.
    attention: Attention = DEFAULTS
    #: Its own time, ms since the epoch; None: it is worked out.
    written: int | None = None

    @property
    def one_banner(self) -> bool:
        """Whether its channel has one banner, with the newest text and the number of messages."""
        return self.attention.collapse == "channel"


class Variant(msgspec.Struct, frozen=True):
    """What differs between the people who get a message. Devices of one variant get the same, apart from templates."""

    why: Why
    #: Whether their budget allows a sound.
    sound: bool = True
    #: How many messages of its channel it stands for, where it is folded or the channel has one banner; 0: itself.
    stands_for: int = 0
    #: Name of the group that calls them, where that is why.
    group: str = ""
    #: How much of it may be read on its way.
    disclosure: Disclosure = FULL
    #: The true number of unread messages, as the chat server says it; None: it does not.
    badge: int | None = None


#: What these devices are sent, and why their users get it.
DeviceGroup = tuple[Sending, Sequence[Device], Why]


class Renderings(msgspec.Struct, frozen=True):
    """What to send to which devices, and how many renderings failed and became the default one."""

    groups: Sequence[DeviceGroup]
    failed: int


#: The variant, the template, the user and what is said in the place of the text; the last two are empty where they make no
#: difference. Devices with the same key get the same rendering.
_Key = tuple[Variant, Template | None, str, str]
#: A payload, and the template that it is by; None: it is the default one.
_Made = tuple[Rendered, Template | None]

_NONE: Final = Renderings([], 0)
_NOBODY: Final = frozenset[str]()


def sendings(
    message: Message,
    wanted: Mapping[Variant, Sequence[Device]],
    templates: Mapping[int, Templates],
    *,
    alive: Callable[[], object],
) -> Renderings:
    """`alive` is called before each rendering of a template: where each user has one of their own, all of them take long.

    What is folded replaces the notification before it. It speaks the language of the device: a template finds that in the text of
    the message, and the number in `message.count`.
    """
    if not wanted:
        return _NONE
    if (event := named(message.event, message.channel)) is not message.event:
        message = replace(message, event=event)
    # Only templates ask for it.
    mentioned = frozenset(message.event.message.mentioned) if templates else _NOBODY
    written = notification.milliseconds(message.event) if message.written is None else message.written
    groups: list[DeviceGroup] = []
    failed = 0
    for (variant, template, user, phrase), devices in _grouped(message, wanted, templates):
        if template is not None:
            alive()
        loud = loudness(event, variant.why, sound=variant.sound)
        is_whole = not phrase and variant.disclosure is FULL
        shown = event if is_whole else _shown(event, variant, phrase)
        one = _Rendering(message, shown, variant, template, user, phrase, devices[0], mentioned, loud, written)
        rendered, by = one.made()
        failed += by is not template
        make = _with if variant.disclosure.form in ("full", "sender") else _hidden
        groups.append((make(one, rendered, by), devices, variant.why))
    return Renderings(groups, failed)


def _grouped(
    message: Message, wanted: Mapping[Variant, Sequence[Device]], templates: Mapping[int, Templates]
) -> Iterable[tuple[_Key, Sequence[Device]]]:
    whole: list[tuple[_Key, Sequence[Device]]] = []
    groups: dict[_Key, list[Device]] = {}
    for variant, devices in wanted.items():
        replaced = _replaces_text(message, variant)
        if not templates and not replaced:
            whole.append(((variant, None, "", ""), devices))
            continue
        for device in devices:
            template = _chosen(templates, device, message.event.message.kind)
            user = device.user if template is not None and template.per_user else ""
            phrase = placeholder(message.attention.placeholder, device.locale, variant.stands_for) if replaced else ""
            groups.setdefault((variant, template, user, phrase), []).append(device)
    return [*whole, *groups.items()] if groups else whole


def _replaces_text(message: Message, variant: Variant) -> bool:
    """Whether something is said in the place of the text. Messages of an end-to-end encrypted chat have none."""
    if variant.disclosure.form != "full" or (variant.stands_for and not message.one_banner):
        return True
    return bool(message.attention.placeholder) and not message.event.message.text


def named(event: MessageNew, stored: ChannelRow | None) -> MessageNew:
    """The event as it may be shown, with the stored name and kind of its channel, where it brings none."""
    if stored is not None:
        channel = event.channel
        name = channel.name if channel.name is not None else clean_name(stored.name) or None
        kind = channel.kind or stored.kind
        if name != channel.name or kind != channel.kind:
            event = replace(event, channel=replace(channel, name=name, kind=kind))
    return legible(event)


def _chosen(templates: Mapping[int, Templates], device: Device, kind: str) -> Template | None:
    of_provider = templates.get(device.provider_id)
    return None if of_provider is None else of_provider.choose(kind, device.locale)


class _Rendering(msgspec.Struct, frozen=True):
    """What is rendered, for whom and how loud. `device` is one of those that get it, `mentioned` are all who are."""

    message: Message
    #: The message, or what may be read of it, with what is said in the place of its text.
    event: MessageNew
    variant: Variant
    template: Template | None
    user: str
    phrase: str
    device: Device
    mentioned: Collection[str]
    loud: Loudness
    #: The message's own time, ms since the epoch.
    written: int

    def made(self, limit: int | None = None) -> _Made:
        """By the template, or by default where there is none or it fails. `limit`: octets, fewer than usual."""
        variant, template = self.variant, self.template
        if template is not None:
            rendered = self._by_template(template, limit)
            if rendered is not None:
                return rendered, template
        rendered = notification.render(
            self.event,
            why=variant.why,
            loud=self.loud,
            members=self.message.members,
            group=variant.group,
            count=variant.stands_for,
            phrase=self.phrase,
            one_sender=self.message.one_sender,
            written=self.written,
            limit=limit or notification.LIMIT,
        )
        return rendered, None

    def _by_template(self, template: Template, limit: int | None) -> Rendered | None:
        variant, phrase, event = self.variant, self.phrase, self.event
        if variant.stands_for and phrase:
            event = folded(event, phrase)
        context = context_of(
            event, self.user or None, self.mentioned, variant.stands_for or 1, variant.why, variant.group
        )
        try:
            return template.render(context, limit=limit, sound=self.loud.sound).rendered
        except NothingToSayError:
            return None
        except TemplateError as fault:
            place = {"app": event.app, "provider": self.device.provider_id}
            place |= {"kind": event.message.kind, "locale": self.device.locale}
            seldom.warning("template failed, the default payload goes out: %s", fault, about=str(place), extra=place)
            return None


def _shown(event: MessageNew, variant: Variant, phrase: str) -> MessageNew:
    """The message, or what may be read of it, with what is said in the place of its text."""
    form = variant.disclosure.form
    if form == "sender":  # whatever is said in the place of the text, it is not shown
        return without_text(event, phrase)
    if phrase and form == "full" and not event.message.text:
        return replace(event, message=replace(event.message, text=phrase))
    return event


def _hidden(one: _Rendering, rendered: Rendered, template: Template | None) -> Sending:
    """What may be read on its way are ids, or nothing."""
    phrase, disclosure = one.phrase, one.variant.disclosure
    if rendered.own:  # in the JSON of its provider's kind: nobody here knows which part of it says what
        one = replace(one, template=None)
        rendered, template = one.made()
    if disclosure.form == "id":
        return _with(one, by_id(rendered, ids_of(one.message.event), phrase), template)
    whole = sealable(rendered, phrase, disclosure)
    if len(whole.inside) > whole.room:
        rendered, template = one.made(limit_for(whole))
        whole = sealable(rendered, phrase, disclosure)
    return with_inside(_with(one, rendered, template), whole, one.message.attention.pad)


def _with(one: _Rendering, rendered: Rendered, template: Template | None) -> Sending:
    message, event, variant, loud = one.message, one.message.event, one.variant, one.loud
    said, channel, sender, stands_for = event.message, event.channel.id, event.sender, variant.stands_for
    mode, form = variant.disclosure.mode, variant.disclosure.form
    badge = badge_of(said, variant.badge)
    if template is not None and not template.counted:  # its own word goes before everything else
        badge = LEAVE if template.badge is None else template.badge
    # Each folded one replaces the one before.
    shows = (f"burst:{channel}", "") if stands_for or message.one_banner else (said.id, channel)
    reminds, sender_name = 0, ""
    if message.reminds:
        reminds = message.reminds if variant.why in message.attention.remind_triggers else 0
        sender_name = clean_name(sender.name or sender.id)
    # Names would cost three times as much as these places: a message is made for each conversation.
    return Sending(
        message.entry,
        event.id,
        rendered.prefix.decode(),
        rendered.suffix.decode(),
        message.expires_at,
        notification.collapse_id(event.app, *shows),
        "alert",
        loud.priority,
        badge,
        said.kind if form in ("full", "sender") else "",
        channel,
        message.place,
        message.at,
        sender.id,
        event.recipients is not None,
        rendered.own,
        sampled(event.traceparent),
        loud.importance,
        "" if mode == "full" else mode,
        "",
        0,
        False,
        "" if stands_for else said.id,
        said.parent_id or "",
        one.written,
        "" if stands_for else content_of(said),
        "",
        0,
        False,
        said.urgency == "urgent",
        reminds,
        sender_name,
    )
