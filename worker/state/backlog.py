"""How much waits, where, of whom, and since when.

Messages and batches are counted. What is in batches, and bytes, are estimated from a bounded number of them where there are more.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

from worker.core.batch import Lane
from worker.core.entry import entry_of, ms_of
from worker.core.way import Way, way_in
from worker.state.partition import Partition
from worker.state.redis import clock
from worker.state.streams import Figures, Streams

#: Where it waits. `stream`: the leader has not taken it. `ready`: a worker can take it. `leased`: a worker has it. `due`: it is
#: taken later, for example to be tried again. `held`: its way is stopped, paused or over a quota. `scheduled`: a push for later,
#: or a second look.
State = Literal["stream", "ready", "leased", "due", "held", "scheduled"]

#: Batches that are looked at in lines, and among what is due; at least one of each line.
_IN_LINES: Final = 1_000
_DUE: Final = 2_000
#: Documents of each stream whose size is looked at.
_DOCUMENTS: Final = 4
#: What one call asks about.
_CHUNK: Final = 200
_MANY: Final = 5_000


class Waiting(NamedTuple):
    """What waits in one state, of one app, in one lane, for one way."""

    state: State
    #: '': entries of the inlet, which may be of any app.
    app: str = ""
    #: 'urgent' or 'bulk'; '' for what has no lane yet.
    lane: str = ""
    #: Of batches.
    way: Way | None = None
    #: Entries of streams, and messages to expand.
    messages: int = 0
    batches: int = 0
    #: In the batches.
    notifications: int = 0
    #: Of documents of messages and batches.
    octets: int = 0
    #: Age in seconds of the oldest, since it was published; None: not known.
    oldest: float | None = None


class Backlog(NamedTuple):
    waiting: Sequence[Waiting]
    #: Whether notifications are estimated, and of what is due the apps: not every batch was looked at. Octets always are.
    estimated: bool = False

    def by(self, key: Callable[[Waiting], tuple[str, ...]]) -> dict[tuple[str, ...], Waiting]:
        """Sums by what `key` returns of each, for example `(w.state, w.lane)`. A sum has the oldest of its parts."""
        parts: defaultdict[tuple[str, ...], list[Waiting]] = defaultdict(list)
        for one in self.waiting:
            parts[key(one)].append(one)
        return {of: _sum(some) for of, some in parts.items()}

    @property
    def total(self) -> Waiting:
        """Everything but what is scheduled for later. Its state is that of some part."""
        return _sum([one for one in self.waiting if one.state != "scheduled"])


def read(partitions: Iterable[Partition], taken: Mapping[str, tuple[str, int | None]]) -> Backlog:
    """The backlog of these partitions now.

    `taken`: stream -> the id up to which the leader took it, and how many entries that were in all.
    Keys are read one after another, so what moves meanwhile may be seen twice or not at all.
    """
    found: list[Waiting] = []
    estimated = False
    for partition in partitions:
        look = _Look(partition, taken)
        found += [*look.on_streams(), *look.messages(), *look.in_lines(), *look.due()]
        estimated |= look.estimated
    parts: defaultdict[tuple[State, str, str, Way | None], list[Waiting]] = defaultdict(list)
    for one in found:
        if one.messages or one.batches:
            parts[one[:4]].append(one)
    return Backlog([_sum(some) for some in parts.values()], estimated)


class _Group(NamedTuple):
    """A list of entries or ids: how many, and the first."""

    n: int
    first: bytes | None


class _Batch(NamedTuple):
    app: str
    lane: str
    way: Way
    leased: bool
    came: int
    jobs: int
    octets: int


class _Look:
    def __init__(self, partition: Partition, taken: Mapping[str, tuple[str, int | None]]) -> None:
        self._redis, self._keys, self._scripts = partition.redis, partition.keys, partition.scripts
        self._names = partition.names
        self._now = clock(self._redis)
        self.estimated = False
        apps: Any = self._redis.smembers(self._keys.APPS())
        beginning: tuple[str, int | None] = ("0-0", None)
        streams = self._names.streams(app.decode() for app in apps)
        ours = {stream: of for stream, of in taken.items() if self._names.has(stream)}
        self._taken = {**dict.fromkeys(streams, beginning), **ours}
        self._figures: Mapping[str, Figures] = Streams(partition).figures({s: id for s, (id, _) in self._taken.items()})
        #: Mean size of a document, by stream.
        self._sizes = self._mean_sizes()

    def _mean_sizes(self) -> dict[str, float]:
        asked = [
            (stream, self._taken[stream][0] if of.unread else "0-0")
            for stream, of in self._figures.items()
            if of.length
        ]
        found: dict[str, float] = {}
        for some in _chunks(asked, _CHUNK):
            answers = self._scripts.octets(most=_DOCUMENTS, streams=some)
            found |= {stream: octets / n for (stream, _), (n, octets) in zip(some, answers, strict=True) if n}
        return found

    def on_streams(self) -> Iterator[Waiting]:
        for stream, of in self._figures.items():
            if of.unread is not None:
                n = of.behind(self._taken[stream][1])
                octets = round(n * self._sizes.get(stream, 0.0))
                yield Waiting(
                    "stream",
                    self._names.app_of(stream) or "",
                    messages=n,
                    octets=octets,
                    oldest=self._age(ms_of(of.unread)),
                )

    def messages(self) -> Iterator[Waiting]:
        """Those that workers can take, and those of groups that a task has."""
        held: Any = self._redis.hkeys(self._keys.EXPANDING_GROUPS())
        lines = [("bulk", app, self._keys.READY_OF_APP("bulk", app)) for app in self._list(self._keys.READY("bulk"))]
        urgent = self._list(self._keys.READY("urgent"))
        lines += [("urgent", app, self._keys.READY_OF_APP("urgent", app)) for app in urgent]
        lines += [
            ("urgent", app, self._keys.READY_OF_APP("looks", app)) for app in self._list(self._keys.READY("looks"))
        ]
        groups = self._pipelined(urgent, lambda pipe, app: pipe.lrange(self._keys.GROUPS_IN_TURN(app), 0, -1))
        for group in {*held, *(group for of_app in groups for group in of_app)}:
            name = group.decode()
            lines.append(("urgent", name.partition("@")[2], self._keys.READY_IN_GROUP(name)))
        for (lane, app, _), of in zip(lines, self._lists([key for _, _, key in lines]), strict=True):
            yield self._entries("ready", app, lane, of)
        names = [group.decode() for group in held]
        for name, of in zip(names, self._lists([self._keys.TAKEN(name) for name in names]), strict=True):
            yield self._entries("leased", name.partition("@")[2], "urgent", of)

    def in_lines(self) -> Iterator[Waiting]:
        """Batches that wait for a worker, or for their way."""
        lines: list[tuple[str, str]] = []
        for lane in get_args(Lane):
            apps = self._list(self._keys.TURNS(lane))
            turns = self._pipelined([self._keys.TURNS_OF_APP(lane, app) for app in apps], _ask_list)
            out: Any = self._redis.zrange(self._keys.OUT_OF_TURN(lane), 0, -1)
            lines += [(lane, way.decode()) for way in {*out, *(way for of_app in turns for way in of_app)}]
        most = max(1, _IN_LINES // max(1, len(lines)))
        found = [one for some in _chunks(lines, _CHUNK) for one in self._scripts.lines(most=most, lines=some)]
        known = self._weighed([id for _, _, ids in found for id in ids])
        for (lane, way), (n, held, ids) in zip(lines, found, strict=True):
            if looked := [known[id] for id in ids if id in known]:
                state: State = "held" if held else "ready"
                yield self._batches(state, looked[0].app, lane, way_in(way.encode()), looked, n)

    def due(self) -> Iterator[Waiting]:
        """What a worker has, and what is taken later."""
        entries: list[str] = []
        batches: list[bytes] = []
        channels: list[str] = []
        for member in self._due_members():
            match member[:2]:
                case b"e:":
                    entries.append(member[2:].decode())
                case b"b:":
                    batches.append(member[2:])
                case b"c:":
                    channels.append(member[2:].decode())
        yield from self._due_messages(entries)
        # Those that a worker has are among them.
        yield Waiting("scheduled", messages=int(self._redis.zcard(self._keys.SECOND_LOOKS_DUE())))
        lines = self._pipelined(channels, lambda pipe, channel: pipe.zrange(self._keys.CHANNEL_LINE(channel), 0, -1))
        for channel, line in zip(channels, lines, strict=True):
            first = line[0].partition(b"/")[2] if line else None
            yield self._entries("due", channel.partition("@")[2], "urgent", _Group(len(line), first))
        yield from self._due_batches(batches)

    def _due_members(self) -> Iterator[bytes]:
        at = 0
        while True:
            some: Any = self._redis.zrange(self._keys.DUE(), at, at + _MANY - 1)
            yield from some
            if len(some) < _MANY:
                return
            at += _MANY

    def _due_messages(self, entries: Sequence[str]) -> Iterator[Waiting]:
        """By state, app and lane. A message whose expansion failed before is tried again."""
        tries: Any = self._redis.hkeys(self._keys.TRIES())
        again = {entry.decode() for entry in tries}
        found: defaultdict[tuple[State, str, str], list[str]] = defaultdict(list)
        for some in _chunks(entries, _MANY):
            scheduled = self._redis.smismember(self._keys.SCHEDULED(), some)
            states: Any = self._redis.hmget(self._keys.EXPANDING(), some)
            for entry, later, state in zip(some, scheduled, states, strict=True):
                if state is not None:
                    app, cursor, *_ = state.decode().split("\n", 2)
                    where: State = "scheduled" if later else "due" if entry in again else "leased"
                    found[where, app, "bulk" if cursor else "urgent"].append(entry)
        for (where, app, lane), of in found.items():
            octets = sum(
                n * self._sizes.get(stream, 0.0) for stream, n in Counter(map(self._names.stream_of, of)).items()
            )
            oldest = self._age(min(map(ms_of, of)))
            yield Waiting(where, app, lane, messages=len(of), octets=round(octets), oldest=oldest)

    def _due_batches(self, ids: Sequence[bytes]) -> Iterator[Waiting]:
        """By state, app, lane and way: of so many, evenly spread over all, and the oldest."""
        looked = ids
        if len(ids) > _DUE:
            self.estimated = True
            looked = [min(ids), *(ids[n * len(ids) // _DUE] for n in range(_DUE))]
        found: defaultdict[tuple[State, str, str, Way], list[_Batch]] = defaultdict(list)
        known = self._weighed(looked)
        for batch in known.values():
            found["leased" if batch.leased else "due", batch.app, batch.lane, batch.way].append(batch)
        for (state, app, lane, way), some in found.items():
            n = len(some) if looked is ids else round(len(some) * len(ids) / len(known))
            yield self._batches(state, app, lane, way, some, n)

    def _batches(self, state: State, app: str, lane: str, way: Way, looked: Sequence[_Batch], n: int) -> Waiting:
        self.estimated |= n > len(looked)
        part = n / len(looked)
        return Waiting(
            *(state, app, lane, way),
            batches=n,
            notifications=round(sum(one.jobs for one in looked) * part),
            octets=round(sum(one.octets for one in looked) * part),
            oldest=self._age(min(one.came for one in looked)),
        )

    def _entries(self, state: State, app: str, lane: str, of: _Group) -> Waiting:
        if of.first is None:
            return Waiting(state, app, lane)
        entry = entry_of(of.first.decode())
        octets = round(of.n * self._sizes.get(self._names.stream_of(entry), 0.0))
        return Waiting(state, app, lane, messages=of.n, octets=octets, oldest=self._age(ms_of(entry)))

    def _weighed(self, ids: Sequence[bytes]) -> dict[bytes, _Batch]:
        found: dict[bytes, _Batch] = {}
        for some in _chunks(ids, _CHUNK):
            for id, app, lane, way, leased, entry, jobs, octets in self._scripts.weigh(batches=some):
                # What is of no entry is not known to be old.
                came = ms_of(entry.decode()) if entry else int(self._now * 1000)
                found[id] = _Batch(app.decode(), lane.decode(), way_in(way), bool(leased), came, jobs, octets)
        return found

    def _list(self, key: str) -> list[str]:
        found: Any = self._redis.lrange(key, 0, -1)
        return [one.decode() for one in found]

    def _lists(self, names: Sequence[str]) -> list[_Group]:
        return [
            _Group(n, first or None) for some in _chunks(names, _CHUNK) for n, first in self._scripts.heads(lists=some)
        ]

    def _pipelined(self, asked: Sequence[Any], ask: Callable[[Any, Any], object]) -> list[Any]:
        answers: list[Any] = []
        for some in _chunks(asked, _MANY):
            with self._redis.pipeline(transaction=False) as pipe:
                for one in some:
                    ask(pipe, one)
                answers += pipe.execute()
        return answers

    def _age(self, ms: int) -> float:
        """A producer's ids may be ahead of the clock."""
        return max(0.0, self._now - ms / 1000)


def _ask_list(pipe: Any, key: str) -> None:
    pipe.lrange(key, 0, -1)


def _sum(parts: Sequence[Waiting]) -> Waiting:
    """Of no app, lane or way where the parts have several."""
    one = parts[0] if parts else Waiting("ready")
    return Waiting(
        one.state,
        one.app if all(part.app == one.app for part in parts) else "",
        one.lane if all(part.lane == one.lane for part in parts) else "",
        one.way if all(part.way == one.way for part in parts) else None,
        sum(part.messages for part in parts),
        sum(part.batches for part in parts),
        sum(part.notifications for part in parts),
        sum(part.octets for part in parts),
        max((part.oldest for part in parts if part.oldest is not None), default=None),
    )


def _chunks(items: Sequence[Any], size: int) -> Iterator[Any]:
    return (items[at : at + size] for at in range(0, len(items), size))
