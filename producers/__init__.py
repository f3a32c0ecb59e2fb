"""What a chat server needs to publish to Carillon. Importing it loads nothing until a name is used.

`Publisher(redis_url).publish(event)` is all that most need; `docs/contract.md` says what an event is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from producers.aio import AsyncPublisher
    from producers.errors import (
        BackPressureError,
        EventError,
        NoReplyError,
        PublishError,
        RateLimitError,
        RefusedError,
        SupersededError,
    )
    from producers.events import (
        FIELD,
        MAX_DOCUMENT,
        STREAM,
        Alert,
        AnyEvent,
        BadgeCleared,
        Channel,
        ChannelId,
        ChannelRead,
        ChannelSettings,
        ChannelUpdated,
        Device,
        DeviceRegistered,
        DeviceToken,
        DeviceUnregistered,
        EditedMessage,
        Event,
        MemberAdded,
        MemberRemoved,
        MembersReplaced,
        Message,
        MessageDeleted,
        MessageId,
        MessageNew,
        MessageUpdated,
        OneOf,
        PushSend,
        Sender,
        Subscription,
        SubscriptionKeys,
        UserMuted,
        UserUnmuted,
        Where,
        decode,
        encode,
        online_key,
        reply_key,
    )
    from producers.json_schema import schema
    from producers.members import members_replaced
    from producers.publisher import Publisher

__all__ = [
    "FIELD",
    "MAX_DOCUMENT",
    "STREAM",
    "Alert",
    "AnyEvent",
    "AsyncPublisher",
    "BackPressureError",
    "BadgeCleared",
    "Channel",
    "ChannelId",
    "ChannelRead",
    "ChannelSettings",
    "ChannelUpdated",
    "Device",
    "DeviceRegistered",
    "DeviceToken",
    "DeviceUnregistered",
    "EditedMessage",
    "Event",
    "EventError",
    "MemberAdded",
    "MemberRemoved",
    "MembersReplaced",
    "Message",
    "MessageDeleted",
    "MessageId",
    "MessageNew",
    "MessageUpdated",
    "NoReplyError",
    "OneOf",
    "PublishError",
    "Publisher",
    "PushSend",
    "RateLimitError",
    "RefusedError",
    "Sender",
    "Subscription",
    "SubscriptionKeys",
    "SupersededError",
    "UserMuted",
    "UserUnmuted",
    "Where",
    "decode",
    "encode",
    "members_replaced",
    "online_key",
    "reply_key",
    "schema",
]

_ELSEWHERE = {
    "AsyncPublisher": "producers.aio",
    "BackPressureError": "producers.errors",
    "EventError": "producers.errors",
    "NoReplyError": "producers.errors",
    "PublishError": "producers.errors",
    "Publisher": "producers.publisher",
    "RateLimitError": "producers.errors",
    "RefusedError": "producers.errors",
    "SupersededError": "producers.errors",
    "members_replaced": "producers.members",
    "schema": "producers.json_schema",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_ELSEWHERE.get(name, "producers.events")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
