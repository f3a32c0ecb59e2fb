"""From a message and its devices to rendered messages: one rendering for all devices that get the same.

An app without templates renders once for each variant: mostly one, because most people get a message for the same reason. With
templates it is once for each template that a device's provider and language choose, and once for each user where the template
names the recipient. If a template fails, the default payload is sent in its place.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from config.seldom import Seldom
from producers.events import MessageNew
from worker.core import notification
from worker.core.batch import COUNT, LEAVE, Sending
from worker.core.burst_phrases import burst_phrase
from worker.core.folding import folded
from worker.core.loudness import Loudness, loudness
from worker.core.model import Device
from worker.core.names import clean_name, legible
from worker.core.notification import Rendered
from worker.core.rules import Why
from worker.core.template_form import TemplateError
from worker.core.templates import NothingToSayError, Template, Templates, context_of
from worker.core.trace_context import sampled

log = logging.getLogger(__name__)
seldom = Seldom(log)


class Message(NamedTuple):
    """A message as it is rendered. `channel` is the stored name, `max_age` in seconds."""

    entry: str
    event: MessageNew
    channel: str | None
    max_age: int
    place: int = 0
    #: UNIX seconds at which it came; 0: not known.
    at: int = 0
    #: Whether the messages that it stands for, where it is folded, are known to be one person's.
    one_sender: bool = False
    #: Members of the channel; 0: not known.
    members: int = 0


class Variant(NamedTuple):
    """What differs between the people who get a message. Devices of one variant get the same, apart from templates."""

    why: Why
    #: Whether their budget allows a sound.
    sound: bool = True
    #: How many messages of its channel it stands for, where it is folded; 0: it is not.
    stands_for: int = 0
    #: Name of the group that calls them, where that is why.
    group: str = ""


class DeviceGroup(NamedTuple):
    """What these devices are sent, and why their users get it."""

    sending: Sending
    devices: Sequence[Device]
    why: Why


class Renderings(NamedTuple):
    """What to send to which devices, and how many renderings failed and became the default one."""

    groups: Sequence[DeviceGroup]
    failed: int


class _Key(NamedTuple):
    """Devices with the same key get the same rendering. `user`, `phrase`: empty where they make no difference."""

    variant: Variant
    template: Template | None = None
    user: str = ""
    phrase: str = ""


_NONE: Final = Renderings([], 0)


def sendings(
    message: Message,
    wanted: Mapping[Variant, Sequence[Device]],
    templates: Mapping[int, Templates],
    *,
    alive: Callable[[], None],
) -> Renderings:
    """`alive` is called before each rendering: where each user has one of their own, all of them take long.

    What is folded replaces the notification before it. It speaks the language of the device: a template finds that in the text of
    the message, and the number in `message.count`.
    """
    if not wanted:
        return _NONE
    message = message._replace(event=named(message.event, message.channel))
    mentioned = frozenset(message.event.message.mentioned)
    groups, failed = [], 0
    for key, devices in _grouped(wanted, templates, message.event.message.kind):
        alive()
        loud = loudness(message.event, key.variant.why, sound=key.variant.sound)
        payload = None
        if key.template is not None:
            payload = _rendered(key.template, key, message, mentioned, devices[0], loud)
            failed += payload is None
        by = None if payload is None else key.template
        sending = _sending(message, key.variant, payload or _default(message, key, loud), loud, by)
        groups.append(DeviceGroup(sending, devices, key.variant.why))
    return Renderings(groups, failed)


def _grouped(
    wanted: Mapping[Variant, Sequence[Device]], templates: Mapping[int, Templates], kind: str
) -> Iterable[tuple[_Key, Sequence[Device]]]:
    groups: dict[_Key, list[Device]] = {}
    for variant, devices in wanted.items():
        if not templates and not variant.stands_for:
            yield _Key(variant), devices
            continue
        for device in devices:
            template = _chosen(templates, device, kind)
            user = device.user if template is not None and template.per_user else ""
            phrase = burst_phrase(variant.stands_for, device.locale) if variant.stands_for else ""
            groups.setdefault(_Key(variant, template, user, phrase), []).append(device)
    yield from groups.items()


def named(event: MessageNew, channel: str | None) -> MessageNew:
    """The event as it may be shown, with the stored name of its channel, where it brings none."""
    if event.channel.name is None and channel and (name := clean_name(channel)):
        event = msgspec.structs.replace(event, channel=msgspec.structs.replace(event.channel, name=name))
    return legible(event)


def _chosen(templates: Mapping[int, Templates], device: Device, kind: str) -> Template | None:
    of_provider = templates.get(device.provider_id)
    return None if of_provider is None else of_provider.choose(kind, device.locale)


def _default(message: Message, key: _Key, loud: Loudness) -> Rendered:
    variant = key.variant
    return notification.render(
        message.event,
        why=variant.why,
        loud=loud,
        members=message.members,
        group=variant.group,
        count=variant.stands_for,
        phrase=key.phrase,
        one_sender=message.one_sender,
    )


def _rendered(
    template: Template, key: _Key, message: Message, mentioned: Collection[str], device: Device, loud: Loudness
) -> Rendered | None:
    event, variant = folded(message.event, key.phrase) if key.phrase else message.event, key.variant
    context = context_of(event, key.user or None, mentioned, variant.stands_for or 1, variant.why, variant.group)
    try:
        return template.render(context, sound=loud.sound).rendered
    except NothingToSayError:
        return None
    except TemplateError as fault:
        place = {"app": event.app, "provider": device.provider_id, "kind": event.message.kind, "locale": device.locale}
        seldom.warning("template failed, the default payload goes out: %s", fault, about=str(place), extra=place)
        return None


def _sending(
    message: Message, variant: Variant, rendered: Rendered, loud: Loudness, template: Template | None = None
) -> Sending:
    event = message.event
    # Each folded one replaces the one before.
    shows = f"burst:{event.channel.id}" if variant.stands_for else ""
    return Sending(
        entry=message.entry,
        event_id=event.id,
        prefix=rendered.prefix.decode(),
        suffix=rendered.suffix.decode(),
        expires_at=notification.expiration(event, message.max_age),
        collapse_id=notification.collapse_id(event.app, shows or event.message.id, "" if shows else event.channel.id),
        priority=loud.priority,
        badge=_badge(event, template),
        kind=event.message.kind,
        channel=event.channel.id,
        place=message.place,
        at=message.at,
        sender=event.sender.id,
        listed=event.recipients is not None,
        own=rendered.own,
        traceparent=sampled(event.traceparent),
        importance=loud.importance,
    )


def _badge(event: MessageNew, template: Template | None) -> int:
    """The template's own word, else the message's, else one more."""
    if template is not None and not template.counted:
        return LEAVE if template.badge is None else template.badge
    word = event.message.badge
    if word is None or word == "increment":
        return COUNT
    return word if isinstance(word, int) else LEAVE
