"""The contract: every event that a chat server may publish, and nothing else.

One JSON document an event. Decoding checks it whole; a fault names the field. Knows no Redis, no worker.

What changes later: within `v: 1` a release may add an optional field or a new `type`, so workers are upgraded before the
producers that use them; anything that changes the meaning of a document gets a new `v`. Unknown fields are refused, because
a misspelt `mentioned` that is silently ignored is a phone that stays silent.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec

STREAM: Final = "carillon:events"
#: The stream entry's one field.
FIELD: Final = "event"
#: Largest document accepted, in bytes of UTF-8 JSON.
MAX_DOCUMENT: Final = 1024 * 1024

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Name = Annotated[str, msgspec.Meta(max_length=255)]
Url = Annotated[str, msgspec.Meta(max_length=2048)]
Text = Annotated[str, msgspec.Meta(max_length=40_000)]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
Users = Annotated[list[Id], msgspec.Meta(min_length=1, max_length=10_000)]
Mentioned = Annotated[list[Id], msgspec.Meta(max_length=1_000)]
Recipients = Annotated[list[Id], msgspec.Meta(max_length=10_000)]
Attributes = Annotated[dict[str, Any], msgspec.Meta(max_length=64)]
#: An instant with its offset from UTC; a time without one is refused.
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class EventError(ValueError):
    """A document breaks the contract; the text names the field and the rule."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Channel(_Part):
    id: Id
    name: Name | None = None


class Message(_Part):
    id: Id
    text: Text = ""
    #: The id of the thread's root message, for a reply.
    parent_id: Id | None = None
    mentioned: Mentioned = []
    skip_push: bool = False
    kind: Id = "regular"
    #: Handed to the app untouched.
    data: dict[str, Any] = {}


class Sender(_Part):
    id: Id
    name: Name | None = None
    image: Url | None = None


class Device(_Part):
    token: Token
    #: Name of one of the app's providers; may be left out where the app has only one.
    provider: Id | None = None
    environment: Literal["production", "sandbox"] | None = None
    locale: Annotated[str, msgspec.Meta(max_length=35)] | None = None
    attributes: Attributes = {}


class DeviceToken(_Part):
    token: Token


class ChannelId(_Part):
    id: Id


class ChannelSettings(_Part):
    id: Id
    name: Name | None = None
    push_notifications: bool | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """The envelope every event shares. `id` is the idempotency key within its app."""

    id: Id
    app: Id
    at: Instant
    v: Literal[1] = 1


class MessageNew(Event, tag="message.new"):
    channel: Channel
    message: Message
    sender: Sender
    #: Replaces the stored membership where the chat server keeps it itself.
    recipients: Recipients | None = None


class DeviceRegistered(Event, tag="device.registered"):
    user: Id
    device: Device


class DeviceUnregistered(Event, tag="device.unregistered"):
    device: DeviceToken
    #: Unregister only if the device is this user's; None: whoever owns it.
    user: Id | None = None


class MemberAdded(Event, tag="member.added"):
    channel: ChannelId
    users: Users


class MemberRemoved(Event, tag="member.removed"):
    channel: ChannelId
    users: Users


class ChannelUpdated(Event, tag="channel.updated"):
    channel: ChannelSettings


class UserMuted(Event, tag="user.muted"):
    user: Id
    target: Id


class UserUnmuted(Event, tag="user.unmuted"):
    user: Id
    target: Id


class BadgeCleared(Event, tag="badge.cleared"):
    user: Id
    #: Only this device; None: all of the user's.
    device: DeviceToken | None = None


AnyEvent = (
    MessageNew
    | DeviceRegistered
    | DeviceUnregistered
    | MemberAdded
    | MemberRemoved
    | ChannelUpdated
    | UserMuted
    | UserUnmuted
    | BadgeCleared
)

_decoder: Final = msgspec.json.Decoder(AnyEvent)
_encoder: Final = msgspec.json.Encoder()


def decode(document: bytes | str) -> AnyEvent:
    """The event in a JSON document of at most `MAX_DOCUMENT` bytes, or `EventError` naming the field."""
    if len(document) > MAX_DOCUMENT:
        raise EventError(f"document: {len(document)} bytes, at most {MAX_DOCUMENT} are taken")
    try:
        return _decoder.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise EventError(str(fault)) from None


def encode(event: AnyEvent) -> bytes:
    """The event as its JSON document, after the same checks that `decode` makes."""
    document = _encoder.encode(event)
    decode(document)
    return document
