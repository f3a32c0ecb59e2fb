"""From a message and its devices to rendered messages: one rendering for all devices that get the same.

An app without templates renders once for everybody. With templates it is once for each template that a device's provider and
language choose, and once for each user where the template names the recipient. If a template fails, the default
payload is sent in its place.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from config.seldom import Seldom
from producers.events import Channel, MessageNew
from worker.core import notification
from worker.core.batch import COUNT, LEAVE, Sending
from worker.core.burst_phrases import burst_phrase
from worker.core.folding import folded
from worker.core.model import Device
from worker.core.names import clean_name, legible
from worker.core.notification import Rendered
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
    #: How many messages of its channel it stands for, where it is folded; 0: it is not.
    stands_for: int = 0
    #: Whether those are known to be one person's.
    one_sender: bool = False


class Renderings(NamedTuple):
    """What to send to which devices, and how many renderings failed and became the default one."""

    groups: Sequence[tuple[Sending, Sequence[Device]]]
    failed: int


_NONE: Final = Renderings([], 0)


def sendings(
    message: Message, devices: Sequence[Device], templates: Mapping[int, Templates], *, alive: Callable[[], None]
) -> Renderings:
    """`alive` is called before each rendering: where each user has one of their own, all of them take long."""
    if not devices:
        return _NONE
    message = message._replace(event=named(message.event, message.channel))
    if not templates and not message.stands_for:
        return Renderings([(_sending(message, notification.render(message.event)), devices)], 0)
    groups: dict[tuple[Template | None, str, str], list[Device]] = {}
    for device in devices:
        template = _chosen(templates, device, message.event.message.kind)
        user = device.user if template is not None and template.per_user else ""
        phrase = burst_phrase(message.stands_for, device.locale) if message.stands_for else ""
        groups.setdefault((template, user, phrase), []).append(device)
    mentioned = frozenset(message.event.message.mentioned)
    rendered, failed = [], 0
    for (template, user, phrase), some in groups.items():
        alive()
        payload = None
        if template is not None:
            payload = _rendered(template, message, phrase, user, mentioned, some[0])
            failed += payload is None
        by = None if payload is None else template
        payload = payload or notification.render(
            message.event, count=message.stands_for, phrase=phrase, one_sender=message.one_sender
        )
        rendered.append((_sending(message, payload, by), some))
    return Renderings(rendered, failed)


def folded_sendings(
    message: Message,
    count: int,
    devices: Sequence[Device],
    templates: Mapping[int, Templates],
    *,
    alive: Callable[[], None],
) -> Renderings:
    """The notification for the channel's last `count` messages: each replaces the one before.

    It speaks the language of the device. A template finds that in the text of the message, and the number in `message.count`.
    """
    shared = notification.collapse_id(message.event.app, f"burst:{message.event.channel.id}")
    rendered = sendings(message._replace(stands_for=count), devices, templates, alive=alive)
    groups = [(msgspec.structs.replace(sending, collapse_id=shared), some) for sending, some in rendered.groups]
    return Renderings(groups, rendered.failed)


def named(event: MessageNew, channel: str | None) -> MessageNew:
    """The event as it may be shown, with the stored name of its channel, where it brings none."""
    if event.channel.name is None and channel and (name := clean_name(channel)):
        event = msgspec.structs.replace(event, channel=Channel(id=event.channel.id, name=name))
    return legible(event)


def _chosen(templates: Mapping[int, Templates], device: Device, kind: str) -> Template | None:
    of_provider = templates.get(device.provider_id)
    return None if of_provider is None else of_provider.choose(kind, device.locale)


def _rendered(
    template: Template, message: Message, phrase: str, user: str, mentioned: Collection[str], device: Device
) -> Rendered | None:
    event = folded(message.event, phrase) if phrase else message.event
    try:
        return template.render(context_of(event, user or None, mentioned, message.stands_for or 1)).rendered
    except NothingToSayError:
        return None
    except TemplateError as fault:
        place = {"app": event.app, "provider": device.provider_id, "kind": event.message.kind, "locale": device.locale}
        seldom.warning("template failed, the default payload goes out: %s", fault, about=str(place), extra=place)
        return None


def _sending(message: Message, rendered: Rendered, template: Template | None = None) -> Sending:
    event = message.event
    return Sending(
        entry=message.entry,
        event_id=event.id,
        prefix=rendered.prefix.decode(),
        suffix=rendered.suffix.decode(),
        expires_at=notification.expiration(event, message.max_age),
        collapse_id=notification.collapse_id(event.app, event.message.id, event.channel.id),
        badge=_badge(event, template),
        kind=event.message.kind,
        channel=event.channel.id,
        place=message.place,
        at=message.at,
        sender=event.sender.id,
        listed=event.recipients is not None,
        own=rendered.own,
        traceparent=sampled(event.traceparent),
    )


def _badge(event: MessageNew, template: Template | None) -> int:
    """The template's own word, else the message's, else one more."""
    if template is not None and not template.counted:
        return LEAVE if template.badge is None else template.badge
    word = event.message.badge
    if word is None or word == "increment":
        return COUNT
    return word if isinstance(word, int) else LEAVE
