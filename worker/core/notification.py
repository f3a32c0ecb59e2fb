"""From a chat message to what a phone receives: payload, ids and expiry. A message renders once for each reason to get it.

The payload, for a message that fits:

    {"aps": {"alert": {"title": sender, "subtitle": channel, "body": text}, "sound": "default",
             "thread-id": channel id, "mutable-content": 1, "badge": number},
     "carillon": {"event": id, "kind": ..., "message": id, "parent": id, "channel": id, "at": milliseconds, "why": trigger,
                  "sender": {"id", "name", "image"}, "data": {...}}}

Where the channel's kind is known, `carillon` has its `name`, `channel_kind` and `members`; where a group is called, the `group`.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from producers.events import MessageNew, Sender
from producers.targeting import BADGE_ROOM, MAX_BADGE, MAX_PAYLOAD
from worker.core.loudness import PLAIN, Loudness
from worker.core.names import clean_name
from worker.core.truncation import fit, json_size

#: Largest payload of an alert, in bytes; a VoIP push may have 5120.
LIMIT: Final = MAX_PAYLOAD
#: A body is not cut below this many bytes to make room for anything that is not an id.
LEAST_BODY: Final = 160
#: Bytes kept of each name once names have to give way.
SHORT_NAME: Final = 80
#: Keys of `carillon` that tell of the conversation.
CONVERSATION: Final = ("name", "channel_kind", "members", "group")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_COLLAPSE: Final = hashlib.blake2b(digest_size=20, person=b"carillon")

_encode: Final = msgspec.json.Encoder().encode
#: How every payload begins: the badge goes behind it.
HEAD: Final = b'{"aps":{'


class Rendered(msgspec.Struct, frozen=True):
    """A payload with a gap for the badge, the one thing that differs between the devices of a message.

    Without a suffix it is whole, and has its own word about the badge or none.
    """

    prefix: bytes
    suffix: bytes
    #: Whether it is in the JSON of its provider's kind, by a template: then it is all prefix, with `{{ badge }}` for the number.
    own: bool = False

    def payload(self, badge: int | None = None) -> bytes:
        """The JSON document; `badge` None leaves the number on the icon alone, 0 removes it."""
        return self.prefix + gap_before(self.suffix)(badge) + self.suffix


def gap_before(suffix: bytes) -> Callable[[int | None], bytes]:
    """Gives what stands before this suffix for a badge."""
    if not suffix:
        return _nothing
    # Where nothing else is in `aps`, nothing follows the number there.
    return _last if suffix.startswith(b"}") else _followed


def _nothing(_: int | None) -> bytes:
    return b""


@lru_cache(maxsize=4_096)
def _last(badge: int | None) -> bytes:
    return b"" if badge is None else b'"badge":%d' % min(max(badge, 0), MAX_BADGE)


@lru_cache(maxsize=4_096)
def _followed(badge: int | None) -> bytes:
    return b"" if badge is None else _last(badge) + b","


def render(
    event: MessageNew,
    *,
    why: str = "message",
    loud: Loudness = PLAIN,
    members: int = 0,
    group: str = "",
    count: int = 0,
    phrase: str = "",
    one_sender: bool = False,
    written: int | None = None,
    limit: int = LIMIT,
) -> Rendered:
    """The payload of a message in at most `limit` bytes with any badge; a message is cut, never refused for its length.

    `why` is the trigger for which its people get it; `group` the group that calls them, for that trigger; `members` how many the
    channel has, 0 where that is not known. With a `count` it represents that many messages of its channel, and `phrase` is its
    text. `one_sender`: all of them have the same sender. `written`: its `milliseconds`, where they are known already.

    These are cut in this order, and only as far as needed: the body down to a line, `data` whole, the sender's image, what
    tells of the conversation, the names' ends, the parent, the kind and the reason, the ids of sender and event and the time, the
    ids of channel and message. `"truncated": true` in `carillon` says that more than text was left out.
    """
    payload, text = _payload(event, why, loud, milliseconds(event) if written is None else written), event.message.text
    if event.channel.kind is not None:
        payload.converse(event, members)
    if group:
        payload.carillon.group = group
    if count:
        payload.carillon.count = count
        if phrase:
            payload.fold(event, one_sender=one_sender)
            text = phrase
        elif count > 1:
            payload.aps.alert.title += f" ({count})"
    document = payload.encoded(text)
    if len(document) > limit - BADGE_ROOM:
        document = _cut(payload, text, limit - BADGE_ROOM)
    return Rendered(HEAD, document[len(HEAD) :])


def collapse_id(app: str, message_id: str, channel: str = "") -> str:
    """The `apns-collapse-id` of a message, 40 characters: its own, so only a repeat of it replaces its banner.

    The channel is part of it: many chat servers number the messages of each channel by themselves.
    """
    name = _COLLAPSE.copy()
    name.update(f"{len(app)}:{app}{len(channel)}:{channel}{message_id}".encode())
    return name.hexdigest()


def expiration(event: MessageNew, max_age: int, written: int | None = None) -> int:
    """The `apns-expiration`, UNIX seconds: the event's own, or `max_age` seconds after it was sent, however late it is here.

    `written`: its `milliseconds`, where they are known already.
    """
    if event.expires_at is not None:
        return int(event.expires_at.timestamp())
    return (milliseconds(event) if written is None else written) // 1000 + max_age


def milliseconds(event: MessageNew) -> int:
    """Its time, since the epoch."""
    return (event.at - _EPOCH) // _MILLISECOND


class _Alert(msgspec.Struct, omit_defaults=True):
    title: str = ""
    subtitle: str = ""
    body: str = ""


class _Aps(msgspec.Struct, omit_defaults=True, rename="kebab"):
    sound: str | None = None
    thread_id: str | None = None
    mutable_content: int | None = None
    interruption_level: str = ""
    relevance_score: float | None = None
    alert: _Alert = msgspec.field(default_factory=_Alert)


class _Carillon(msgspec.Struct, omit_defaults=True):
    """What is None is left out."""

    event: str | None = None
    kind: str | None = None
    message: str | None = None
    parent: str | None = None
    channel: str | None = None
    at: int | None = None
    why: str | None = None
    sender: Sender | None = None
    data: Mapping[str, Any] | None = None
    name: str | None = None
    channel_kind: str | None = None
    members: int | None = None
    group: str | None = None
    count: int | None = None
    truncated: bool = False


class _Payload(msgspec.Struct):
    """A payload while it is being cut."""

    aps: _Aps
    carillon: _Carillon

    def converse(self, event: MessageNew, members: int) -> None:
        """What a communication notification of Apple's needs, from where the kind of the channel is known."""
        channel, carillon = event.channel, self.carillon
        carillon.name, carillon.channel_kind, carillon.members = channel.name or None, channel.kind, members

    def fold(self, event: MessageNew, *, one_sender: bool) -> None:
        """Several people may have written: the channel is what they have in common. Without its name a phone shows the app's."""
        alert = self.aps.alert
        if event.channel.name:
            alert.title = event.channel.name
            alert.subtitle = ""
        elif not one_sender:
            alert.title = ""

    def encoded(self, body: str) -> bytes:
        self.aps.alert.body = body
        return _encode(self)

    def drop(self, *names: str) -> None:
        for name in names:
            if getattr(self.carillon, name) is not None:
                setattr(self.carillon, name, None)
                self.carillon.truncated = True


def _payload(event: MessageNew, why: str, loud: Loudness, written: int) -> _Payload:
    message, channel, sender = event.message, event.channel, event.sender
    sound, level, relevance, _, _ = loud
    alert = _Alert(sender.name or clean_name(sender.id) or sender.id, channel.name or "")
    aps = _Aps("default" if sound else None, channel.id, 1, level, relevance, alert)
    parent, data = message.parent_id, message.data or None
    return _Payload(aps, _Carillon(event.id, message.kind, message.id, parent, channel.id, written, why, sender, data))


_BODY_KEY: Final = len(',"body":""')


def _cut(payload: _Payload, text: str, room: int) -> bytes:
    """The payload with as much of the text as there is room for."""
    for shrink, least_body in _SHRINKS:
        shrink(payload)
        document = payload.encoded(text)
        if len(document) <= room:
            return document
        left = room - len(payload.encoded(""))
        body = fit(text, max(0, left - _BODY_KEY))
        if left >= 0 and json_size(body) >= min(least_body, len(text)):
            return payload.encoded(body)
    raise ValueError(f"limit: {room + BADGE_ROOM} bytes are too few for a payload")


def _whole(payload: _Payload) -> None:
    """Nothing gives way but the body."""


def _no_data(payload: _Payload) -> None:
    payload.drop("data")


def _no_image(payload: _Payload) -> None:
    sender = payload.carillon.sender
    if sender is not None and sender.image is not None:
        payload.carillon.sender = replace(sender, image=None)
        payload.carillon.truncated = True


def _no_conversation(payload: _Payload) -> None:
    payload.drop(*CONVERSATION)


def _short_names(payload: _Payload) -> None:
    alert, sender = payload.aps.alert, payload.carillon.sender
    alert.title, alert.subtitle = fit(alert.title, SHORT_NAME), fit(alert.subtitle, SHORT_NAME)
    if sender is not None and sender.name and json_size(sender.name) > SHORT_NAME:
        payload.carillon.sender = replace(sender, name=fit(sender.name, SHORT_NAME))
        payload.carillon.truncated = True


def _no_context(payload: _Payload) -> None:
    payload.drop("parent", "kind", "why", "count")


def _no_secondary_ids(payload: _Payload) -> None:
    payload.aps.thread_id = None
    payload.drop("sender", "event", "at")


def _message_alone(payload: _Payload) -> None:
    payload.drop("channel")


def _bare(payload: _Payload) -> None:
    payload.drop("message")


#: What gives way in turn, and the bytes below which the body is not cut then.
_SHRINKS: Final[tuple[tuple[Callable[[_Payload], None], int], ...]] = (
    (_whole, LEAST_BODY),
    (_no_data, LEAST_BODY),
    (_no_image, LEAST_BODY),
    (_no_conversation, LEAST_BODY),
    # From here on only ids are left, and an app needs those more than a reader needs the end of a text.
    (_short_names, 0),
    (_no_context, 0),
    (_no_secondary_ids, 0),
    (_message_alone, 0),
    (_bare, 0),
)
