"""The streams that events wait on: the inlet, which every app may write to, and one stream an app.

A stream is never deleted, because its ids must not start again.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import redis

from producers.events import FIELD, MAX_DOCUMENT
from producers.wire import RESERVED
from worker.core.errors import LeaseLost
from worker.state.partition import Partition

#: Octets that are kept of a document that is too long to be an event.
KEPT: Final = 1024
#: Entries, and octets of them, that one call looks at: Redis serves no other client meanwhile.
_WALK_ENTRIES: Final = 2_000
_OCTETS: Final = 4 << 20
#: Streams that one call asks about.
_FIGURES: Final = 200
_END: Final = "+"
#: Entries of each stream that come with the news that there are some, whatever their size.
_AT_ONCE: Final = 2
_FIELD: Final = FIELD.encode()


class RawEntry(msgspec.Struct, frozen=True):
    """An entry as it was read. `fault`: why its document is none, or ''; `size`: its bytes where only a beginning was read."""

    id: str
    document: bytes
    fault: str = ""
    size: int | None = None


class Read(NamedTuple):
    """Entries of a stream; the id of the last that was looked at; and whether the look ended before the stream did."""

    entries: Sequence[RawEntry]
    last: str
    more: bool


class Walked(NamedTuple):
    """How far a walk over the inlet came, whether it ended before the inlet did, and how many entries it moved to which app."""

    last: str
    more: bool
    moved: Mapping[str, int]
    #: From the first entry on whose app only its document tells: id, app or '', document.
    unclear: Sequence[tuple[str, str, bytes]]


class Figures(NamedTuple):
    """A stream as it is."""

    length: int
    #: The last id that was given, also where its entry is gone.
    last: str
    #: Entries ever added; None: an older server, which does not count them.
    added: int | None
    #: Entries that the leader moved to other streams.
    moved: int
    #: Id of the first entry behind the cursor.
    unread: str | None

    def behind(self, read: int | None) -> int:
        """Entries behind the cursor, up to which so many were read; at most the whole stream's, where nobody counts."""
        if self.unread is None:
            return 0
        if self.added is None or read is None:
            return self.length
        return min(self.length, max(1, self.added - self.moved - read))


class _App(msgspec.Struct):
    app: str = ""


_decode_app: Final = msgspec.json.Decoder(_App).decode


def app_named(document: bytes) -> str | None:
    """The app that a document names, whatever else is wrong with it; None where it names none."""
    try:
        return _decode_app(document).app or None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class Look(NamedTuple):
    """What a leader looks at each second."""

    #: As of `lineage`.
    lineage: str
    #: As of `Journal.load`.
    load: Mapping[str, tuple[int, int]]
    #: As of `figures`.
    figures: Mapping[str, Figures]


class Streams:
    """`token` is that of the leader's lease."""

    def __init__(self, partition: Partition) -> None:
        self._redis, self._keys, self._scripts = partition.redis, partition.keys, partition.scripts
        self.names, self.owns = partition.names, partition.owns
        self._token = 0

    def lead(self, token: int) -> None:
        """From now on only a leader with this token or a higher one moves entries. Raises LeaseLost where one has led."""
        self._token = token
        if not self._scripts.lead(token=token):
            raise LeaseLost("a newer leader moves entries")

    def lineage(self) -> str:
        """Whose data the server has: another answer after a failover, or a restart; '' where it does not say."""
        try:
            found: Any = self._redis.info("replication")
        except redis.ResponseError:  # INFO was renamed away
            return ""
        return str(found.get("master_replid", ""))

    def read(self, stream: str, after: str, *, entries: int, octets: int) -> Read:
        """Up to so many entries behind `after`, and at least one where there is any."""
        return self._look(stream, after, _END, entries, octets, unopened=False)

    def unopened(self, stream: str, after: str, till: str) -> Read:
        """Entries behind `after` and up to `till` that are not open, as far as one call looks."""
        return self._look(stream, after, till, _WALK_ENTRIES, _OCTETS, unopened=True)

    def _look(self, stream: str, after: str, till: str, entries: int, octets: int, *, unopened: bool) -> Read:
        name = self.names.entry(stream, "")
        last, more, found = self._scripts.read_stream(
            stream=stream,
            after=after,
            till=till,
            entries=entries,
            octets=octets,
            longest=MAX_DOCUMENT,
            kept=KEPT,
            name=name,
            unopened=int(unopened),
        )
        parts = iter(found)
        return Read(
            [
                RawEntry(id.decode(), document)
                if not fault
                else RawEntry(id.decode(), document, _fault(fault), int(fault) if fault.isdigit() else None)
                for id, document, fault in zip(parts, parts, parts, strict=True)
            ],
            last.decode(),
            bool(more),
        )

    def wait(self, after: Mapping[str, str], seconds: float) -> dict[str, Read]:
        """Waits until one of the streams has an entry behind its id, at most so long.

        Returns the first `_AT_ONCE` entries of those that have.
        """
        block, count = max(1, int(seconds * 1000)), ("COUNT", _AT_ONCE)
        # With two words for the command the client keeps every field, also one that is there twice.
        found: Any = self._redis.execute_command(  # type: ignore[no-untyped-call]
            "XREAD BLOCK", block, *count, "STREAMS", *after, *after.values()
        )
        return {
            stream.decode(): Read(
                [_raw(id, fields) for id, fields in some], some[-1][0].decode(), len(some) == _AT_ONCE
            )
            for stream, some in found or ()
        }

    def walk(self, after: str, head: str | None) -> Walked:
        """Moves entries of other apps than `head` from the inlet, after `after`, a bounded number a call. May raise LeaseLost."""
        answer: Any = self._scripts.walk(
            token=self._token, after=after, head=head or "", entries=_WALK_ENTRIES, octets=_OCTETS, longest=MAX_DOCUMENT
        )
        if not answer:
            raise LeaseLost("a newer leader moves entries")
        last, more, counted, unclear = answer
        moved = {app.decode(): int(n) for app, n in zip(counted[::2], counted[1::2], strict=True)}
        return Walked(
            last.decode(), bool(more), moved, [(id.decode(), app.decode(), document) for id, app, document in unclear]
        )

    def move(self, entries: Sequence[tuple[str, str]]) -> None:
        """Moves these (id, app) of the inlet behind the streams of their apps, in this order. May raise LeaseLost."""
        for at in range(0, len(entries), _WALK_ENTRIES):
            if not self._scripts.move(token=self._token, entries=entries[at : at + _WALK_ENTRIES]):
                raise LeaseLost("a newer leader moves entries")

    def figures(self, cursors: Mapping[str, str]) -> dict[str, Figures]:
        """Of each stream that there is, by its name. Given is the id up to which it was read."""
        found: dict[str, Figures] = {}
        streams = list(cursors.items())
        for at in range(0, len(streams), _FIGURES):
            found |= _figures(self._scripts.figures(streams=streams[at : at + _FIGURES]))
        return found

    def look(self, cursors: Mapping[str, str]) -> Look:
        """All that a leader asks each second; of a few hundred streams in one round trip. `cursors` as of `figures`."""
        streams = list(cursors.items())
        lineage, load, figures = self._scripts.look(streams=streams[:_FIGURES])
        return Look(lineage.decode(), loaded(load), _figures(figures) | self.figures(dict(streams[_FIGURES:])))

    def note_finished(self, stream: str, last: str) -> None:
        """All entries of the stream up to this one are open or done, and what they change in Redis is changed."""
        self._scripts.finished(stream=stream, last=last)

    def finished(self, stream: str) -> str:
        """The last entry that was noted so, or that was opened since."""
        found: Any = self._redis.hget(self._keys.OPENED(), stream)
        return found.decode() if found else "0-0"

    def know(self, apps: Collection[str], before: Collection[str]) -> None:
        """These are the apps whose events may be moved; `before` were."""
        with self._redis.pipeline(transaction=False) as pipe:
            if gone := set(before) - set(apps):
                pipe.srem(self._keys.APPS(), *gone)
            if fresh := set(apps) - set(before):
                pipe.sadd(self._keys.APPS(), *fresh)
            pipe.execute(raise_on_error=False)

    def known(self) -> set[str]:
        found: Any = self._redis.smembers(self._keys.APPS())
        return {app.decode() for app in found}

    def tell_pressure(self, unread: Mapping[str, int] | None = None) -> int:
        """Writes what publishers look at; returns how many percent of its memory Redis uses. Without `unread` that part stays."""
        rows = [(app, n) for app, n in (unread or {}).items() if app not in RESERVED]
        return int(self._scripts.pressure(pressure=self._keys.PRESSURE(), replace=int(unread is not None), unread=rows))

    def note_trimmed(self, stream: str, n: int) -> None:
        """Remembers that so many entries left the stream unread."""
        self._scripts.trimmed(stream=stream, entries=n)


def trimmed(partition: Partition) -> dict[str, tuple[int, float]]:
    """Entries that somebody else took off each stream before their time, and when the last was noticed (UNIX seconds)."""
    found: Any = partition.redis.hgetall(partition.keys.TRIMMED())
    return {stream.decode(): (int(n), float(at)) for stream, (n, at) in ((s, v.split()) for s, v in found.items())}


def pressure(partition: Partition) -> tuple[int, dict[str, int]] | None:
    """How many percent of its memory Redis uses, and entries that wait unread by app; None while nobody writes it."""
    found: Any = partition.redis.hgetall(partition.keys.PRESSURE())
    if not found:
        return None
    apps = {name.decode(): int(n) for name, n in found.items() if name.decode() not in RESERVED}
    return int(found[b"redis_percent"]), apps


def loaded(answer: Any) -> dict[str, tuple[int, int]]:
    """What waits to be taken: messages and batches, by app."""
    return {app.decode(): (int(messages), int(batches)) for app, messages, batches in answer}


def _figures(answer: Any) -> dict[str, Figures]:
    return {
        stream.decode(): Figures(
            length, last.decode(), None if added == b"" else int(added), int(moved), unread.decode() or None
        )
        for stream, length, last, added, moved, unread in answer
    }


def _raw(id: bytes, fields: Sequence[bytes]) -> RawEntry:
    """An entry as read_stream.lua has it."""
    documents = [value for name, value in zip(fields[::2], fields[1::2], strict=True) if name == _FIELD]
    document = documents[-1] if documents else b""
    size = len(document) if len(document) > MAX_DOCUMENT else None
    fault = "" if size is None else _fault(b"%d" % size)
    if len(documents) != 1:
        fault, size = _fault(b"twice" if documents else b"none"), None
    return RawEntry(id.decode(), document if len(document) <= MAX_DOCUMENT else document[:KEPT], fault, size)


def _fault(answer: bytes) -> str:
    """What is wrong with an entry, in the words of its dead letter."""
    match answer:
        case b"none":
            return "entry: has no field `event`"
        case b"twice":
            return "entry: has the field `event` more than once; every event is an entry of its own"
        case length:
            return f"document: {int(length):,} bytes, at most {MAX_DOCUMENT:,} are taken; the first {KEPT:,} are kept"
