"""What is written to Redis, and what its answers mean. Touches no socket: both publishers share it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import uuid4

from producers.documents import document
from producers.errors import EventError, PublishError
from producers.events import (
    FIELD,
    active_key,
    online_key,
    read_key,
    reply_key,
    shown_key,
    shown_name,
    viewing_key,
)
from producers.partitions import LAYOUT_KEY, UNTAGGED

#: Events that one command writes. More gain little, fewer keep the server's other clients waiting less.
CHUNK_EVENTS: Final = 200
CHUNK_BYTES: Final = 512 * 1024
#: Events of an app that may wait unread before publishing more of its is refused.
MAX_BACKLOG: Final = 1_000_000
#: Seconds for which one call may keep a user online.
MAX_ONLINE: Final = 7 * 24 * 3600
#: Seconds for which what was read in a channel is known after the last time that anybody read there.
MARKED: Final = 25 * 3600
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_EVENT: Final = {"v": 1, "id": "-", "at": "2000-01-01T00:00:00Z"}

#: Percent of Redis' `maxmemory` at which publishing is refused. The rest is for workers, whose batches need room before
#: they can take anything off the stream.
FULL: Final = 80

#: Hash that workers write each second: `redis_percent`, `at`, and for each app how many of its events wait unread.
PRESSURE: Final = UNTAGGED.pressure("")
#: Fields of it that are no app's.
RESERVED: Final = frozenset({"redis_percent", "at"})


class Command(NamedTuple):
    """A packed command, and how many answers come; the last one tells."""

    packed: bytes
    answers: int = 1
    #: Of a transaction: the commands in it.
    parts: Sequence[bytes] = ()
    #: How many replicas are to have it before it counts.
    replicas: int = 0


class Piece(NamedTuple):
    """What of a command goes to one slot: the places of its answers among those of the whole."""

    slot: int
    command: Command
    places: Sequence[int]


def pieces(command: Command, slot: Callable[[bytes], int] | None) -> list[Piece]:
    """The command, split where its keys lie in several slots: each is done or not by itself. In the order of the first keys.

    `slot`: the slot of a key; None: one server has them all.
    """
    parts = command.parts or (command.packed,)
    if slot is None:
        return [Piece(0, command, range(len(parts)))]
    slots: dict[int, list[int]] = {}
    for place, part in enumerate(parts):
        slots.setdefault(slot(key_of(part)), []).append(place)
    if len(slots) == 1:
        return [Piece(next(iter(slots)), command, range(len(parts)))]
    return [
        Piece(one, _together([parts[place] for place in places])._replace(replicas=command.replicas), places)
        for one, places in slots.items()
    ]


def joined(answered: Sequence[tuple[Piece, Any]]) -> Any:
    """The answers to the pieces of a command as one server would have given them."""
    if len(answered) == 1:
        return answered[0][1]
    found = {
        place: one
        for piece, answer in answered
        for place, one in zip(piece.places, answer if len(piece.places) > 1 else [answer], strict=True)
    }
    return [found[place] for place in sorted(found)]


def checked_replicas(replicas: int) -> int:
    """The number, or ValueError."""
    if type(replicas) is not int or not 0 <= replicas <= 16:
        raise ValueError("wait_replicas: expected a whole number from 0 to 16")
    return replicas


def asking(command: Command) -> Command:
    """The command for a node that is taking the slot over and has its keys already."""
    return command._replace(packed=packed(b"ASKING") + command.packed, answers=command.answers + 1)


def key_of(packed: bytes) -> bytes:
    """The key of a packed command: its first argument."""
    start = packed.index(b"$", packed.index(b"\r\n", packed.index(b"$")) + 2) + 1
    end = packed.index(b"\r\n", start)
    return packed[end + 2 : end + 2 + int(packed[start:end])]


#: The command that asks for the layout.
ASK_LAYOUT: Final = Command(b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(LAYOUT_KEY), LAYOUT_KEY.encode()))


class ClosedError(PublishError):
    """A stream takes no events: the partitions were changed, or something else has its name."""


class NotAllowedError(PublishError):
    """This Redis user may not do this."""


def pressure(key: str, apps: Sequence[str]) -> Command:
    """The command that asks how much waits of these apps, and how full Redis is. Nothing is written while no worker runs."""
    return Command(packed(b"HMGET", key.encode(), b"redis_percent", *(app.encode() for app in apps)))


def append(streams: Sequence[str], written: Sequence[bytes], replicas: int = 0) -> Command:
    """Puts all of the documents on their streams or, where Redis refuses one, none; nobody else's come in between.

    `replicas`: so many are to have them.
    """
    adding = {stream: _adding(stream) for stream in set(streams)}
    added = [
        b"%b%d\r\n%b\r\n" % (adding[stream], len(document), document)
        for stream, document in zip(streams, written, strict=True)
    ]
    return _together(added)._replace(replicas=replicas)


def _adding(stream: str) -> bytes:
    """The command that adds a document to the stream, up to the document's length."""
    return packed(b"XADD", stream.encode(), b"*", FIELD.encode(), b"").removesuffix(b"0\r\n\r\n")


def _together(commands: Sequence[bytes]) -> Command:
    """All of them, or none."""
    if len(commands) == 1:
        return Command(commands[0])
    return Command(b"".join([packed(b"MULTI"), *commands, packed(b"EXEC")]), len(commands) + 2, tuple(commands))


def online(
    app: str, user: str, seconds: int, active: bool = False, viewing: str | tuple[str, str] | None = None
) -> Command:
    """The command that keeps the user online for so many seconds. Raises `EventError` for what cannot be."""
    if type(seconds) is not int or not 1 <= seconds <= MAX_ONLINE:
        raise EventError(f"seconds: expected a whole number from 1 to {MAX_ONLINE:,}")
    _check_user(app, user)
    values = {online_key(app, user): b"1"}
    if active:
        values[active_key(app, user)] = b"1"
    if viewing is not None:
        channel, thread = (viewing, None) if isinstance(viewing, str) else viewing
        _check_channel(app, user, channel, thread)
        values[viewing_key(app, user)] = (channel if thread is None else f"{channel}\n{thread}").encode()
    return _together([packed(b"SET", key.encode(), value, b"EX", b"%d" % seconds) for key, value in values.items()])


def offline(app: str, user: str) -> Command:
    """The command after which the user is offline. Raises `EventError` for an id that cannot be."""
    _check_user(app, user)
    return _together([packed(b"DEL", key(app, user).encode()) for key in (online_key, active_key, viewing_key)])


def mark_read(app: str, user: str, channel: str, until: datetime, thread: str | None = None) -> Command:
    """The command that marks what the user has read. Raises `EventError` for what cannot be."""
    return _together(_marking(app, user, channel, until, thread))


def mark_read_where_shown(
    app: str, user: str, channel: str, until: datetime, thread: str | None, shown: str
) -> Sequence[Command]:
    """The same. The last result of the last command is None where no notification of it may be shown.

    `shown` is the key of the app's `shown_key`. With a tag it may be on another server than the marker.
    """
    marking = _marking(app, user, channel, until, thread)
    seen = packed(b"ZSCORE", shown.encode(), shown_name(channel, user, thread).encode())
    if shown == shown_key(app):
        return [_together([*marking, seen])]
    return [_together(marking), Command(seen)]


def _marking(app: str, user: str, channel: str, until: datetime, thread: str | None) -> list[bytes]:
    _check_channel(app, user, channel, thread)
    try:
        milliseconds = (until - _EPOCH) // _MILLISECOND
    except TypeError:  # without a time zone, or no datetime at all
        raise EventError("until: expected a datetime with a time zone") from None
    key = read_key(app, channel, thread).encode()
    marked = packed(b"ZADD", key, b"GT", b"%d" % milliseconds, user.encode())
    return [marked, packed(b"EXPIRE", key, b"%d" % MARKED)]


def channel_read(app: str, user: str, channel: str, until: datetime, more: Mapping[str, Any]) -> dict[str, Any]:
    """The `channel.read` for the call, not yet checked."""
    given = {name: value for name, value in more.items() if value is not None}
    envelope = {"v": 1, "type": "channel.read", "id": f"read-{uuid4().hex}", "app": app, "at": datetime.now(UTC)}
    return {**envelope, "user": user, "channel": {"id": channel}, "until": until, **given}


def await_reply(id: str, seconds: float) -> Command:
    """The command that waits for the answer to a device event."""
    return Command(packed(b"BRPOP", reply_key(id).encode(), b"%g" % seconds))


def entries(answer: Any) -> list[str]:
    """The entry ids in the answer to a chunk."""
    ids = answer if isinstance(answer, list) else [answer]
    return [entry.decode() if isinstance(entry, bytes) else entry for entry in ids]


def chunks(written: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The documents in order, in pieces of at most `CHUNK_EVENTS`, and of `CHUNK_BYTES` unless one alone is longer."""
    start = size = 0
    for index, one in enumerate(written):
        if index > start and (index - start == CHUNK_EVENTS or size + len(one) > CHUNK_BYTES):
            yield written[start:index]
            start, size = index, 0
        size += len(one)
    if start < len(written):
        yield written[start:]


def midway(fault: PublishError, accepted: Sequence[str], total: int) -> PublishError:
    """The same fault, telling how far the call had come."""
    return type(fault)(f"{fault} ({len(accepted):,} of {total:,} events were accepted)", accepted)


# The rules for ids are the contract's: an event that has them is checked in their place.


def _check_user(app: str, user: str) -> None:
    document({**_EVENT, "type": "badge.cleared", "app": app, "user": user})


def _check_channel(app: str, user: str, channel: str, thread: str | None) -> None:
    read = {**_EVENT, "type": "channel.read", "app": app, "user": user, "channel": {"id": channel}}
    document(read if thread is None else {**read, "thread": thread})


def packed(*parts: bytes) -> bytes:
    """A command as it is sent."""
    return b"".join([b"*%d\r\n" % len(parts), *[b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]])
