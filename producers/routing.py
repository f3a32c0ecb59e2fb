"""Where each event of a call goes, and in which order.

Events that are about a channel go to the channel's partition where their app is spread, and all others to its home.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from producers.events import AnyEvent
from producers.partitions import Layout

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


class Place(NamedTuple):
    """Where an event goes."""

    partition: int
    app: str
    #: Of a spread app: the channel that the event is about. None: it goes to the app's home.
    channel: str | None


def places(layout: Layout, apps: Sequence[str], written: Sequence[bytes]) -> Sequence[Place]:
    """Of each document, whose app is given."""
    found = []
    at_home: dict[str, Place] = {}
    for app, document in zip(apps, written, strict=True):
        channel = channel_of(document) if app in layout.spread else None
        if channel is not None:
            found.append(Place(layout.partition_of(app, channel), app, channel))
            continue
        if (place := at_home.get(app)) is None:
            place = at_home[app] = Place(layout.home_of(app), app, None)
        found.append(place)
    return found


def next_part(layout: Layout, found: Sequence[Place], left: Sequence[int]) -> Sequence[int]:
    """Those of `left` that are to be written next, together: all are in the partition of the first of them.

    What a call has before a spread app's message is in force when the message is expanded. So an event about a channel stays
    where one before it has still to go to the app's home.
    """
    partition = found[left[0]].partition
    if not layout.spread:
        return left if not layout.tags else [at for at in left if found[at].partition == partition]
    part, waited_for = [], set()
    for at in left:
        one = found[at]
        if one.partition == partition and (one.channel is None or one.app not in waited_for):
            part.append(at)
        elif one.channel is None:
            waited_for.add(one.app)
    return part
