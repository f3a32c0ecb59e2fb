"""Which events are about a channel. Where an app is spread they go to the channel's partition, and all others to its home."""

from typing import Final

import msgspec

from producers.events import AnyEvent

#: Types whose `channel.id` is the channel that they change, or that they say something in. `docs/contract.md` has the same table.
#: A call is not among them: its end does not name the channel, and has to follow its beginning. Nor are preferences: they are
#: a user's. The `channel` of `activity.updated` is Apple's.
OF_CHANNELS: Final = frozenset(
    {
        "channel.read",
        "channel.updated",
        "member.added",
        "member.removed",
        "members.replaced",
        "message.deleted",
        "message.new",
        "message.updated",
        "ptt.speaking",
    }
)


class _Head(msgspec.Struct):
    type: str = ""
    channel: msgspec.Raw = msgspec.Raw(b"{}")


class _Channel(msgspec.Struct):
    id: str | None = None


_decode_head: Final = msgspec.json.Decoder(_Head).decode
_decode_channel: Final = msgspec.json.Decoder(_Channel).decode


def channel_of(document: bytes) -> str | None:
    """The channel that an event's document is about; None: none, or it is no event, which any partition may refuse."""
    try:
        head = _decode_head(document)
        return _decode_channel(head.channel).id if head.type in OF_CHANNELS else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def channel_in(event: AnyEvent) -> str | None:
    """The same of an event that was decoded."""
    if event.__struct_config__.tag not in OF_CHANNELS:
        return None
    id: str = event.channel.id  # type: ignore[union-attr]
    return id
