"""What must hold between the journal's keys. Changes nothing.

Keys are read one after another. What a busy system changes meanwhile can look wrong for a moment: a caller looks again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, NamedTuple

from worker.core.batch import devices_in
from worker.core.entry import entries_in
from worker.core.errors import WorkerError
from worker.state import keys
from worker.state.keys import Family
from worker.state.partition import Partition

#: Values of one key, and keys in all, up to which everything is compared.
MOST: Final = 50_000
_KEYS: Final = 4 * MOST
_CHUNK: Final = 1_000
_LANES: Final = ("urgent", "bulk")
#: Families whose keys are looked for, the more special pattern before the one that has its keys as well.
_FAMILIES: Final = (
    *(
        keys.BATCH,
        keys.LINE,
        keys.TURNS_OF_APP,
        keys.TURNS,
        keys.OLD_READY_OF_APP,
        keys.SENDING,
        keys.WAITS,
        keys.FOLLOWERS,
    ),
    *(
        keys.LATER,
        keys.GROUPS_IN_TURN,
        keys.READY_IN_GROUP,
        keys.READY_OF_APP,
        keys.READY,
        keys.TAKEN,
        keys.CHANNEL_LINE,
    ),
)
#: In the name that a batch of another partition has at its app's home. What it has there ends with its lease, whoever holds it.
_ELSEWHERE: Final = "~"
_READ: Final = keys.READ.beginning.encode()


class TooLargeError(WorkerError):
    """There is more than one look compares; the text says what."""


class QueuedBatch(NamedTuple):
    """What the journal has of a batch, without its document."""

    way: str
    lane: str
    app: str
    entries: list[str]
    devices: list[str]
    leased: bool
    claimed: bool


@dataclass(frozen=True, slots=True)
class Look:
    """The journal's keys as one look found them. Keys go by the parts of their names."""

    open: Mapping[str, int]
    expanding: Mapping[str, str]
    due: frozenset[str]
    scheduled: frozenset[str]
    tries: frozenset[str]
    second_looks: frozenset[str]
    second_looks_due: frozenset[str]
    #: Channel -> the entry of it that is expanded.
    channels: Mapping[str, str]
    #: Groups that a task has.
    groups: frozenset[str]
    #: Lane -> ways.
    out_of_turn: Mapping[str, frozenset[str]]
    batches: Mapping[str, QueuedBatch]
    #: Lists, sets, members of sorted sets, and hashes of the other families.
    values: Mapping[Family, Mapping[tuple[str, ...], Any]]

    def of(self, family: Family) -> Mapping[tuple[str, ...], Any]:
        return self.values.get(family, {})


def violations_of(now: Look) -> set[str]:
    """The violations, in words."""
    return set(chain.from_iterable(check(now) for check in CHECKS))


def look(partition: Partition) -> Look:
    """Raises `TooLargeError`."""
    hashes = ((partition.redis.hlen, family) for family in (keys.OPEN, keys.EXPANDING, keys.SECOND_LOOKS))
    for size, family in (*hashes, (partition.redis.zcard, keys.DUE)):
        if (n := int(size(key := family.below(partition.prefix)()))) > MOST:
            raise TooLargeError(f"{n:,} in {key}, and {MOST:,} are compared at most")
    found = _keys(partition)
    batches = dict(_batches(partition, found.pop(keys.BATCH)))
    values = {
        family: dict(zip(named.values(), _read(partition, family, list(named)), strict=True))
        for family, named in found.items()
    }
    return Look(
        {entry: int(n) for entry, n in _hash(partition, partition.keys.OPEN()).items()},
        _hash(partition, partition.keys.EXPANDING()),
        frozenset(_texts(partition.redis.zrange(partition.keys.DUE(), 0, -1))),
        frozenset(_texts(partition.redis.smembers(partition.keys.SCHEDULED()))),
        frozenset(_hash(partition, partition.keys.TRIES())),
        frozenset(_texts(partition.redis.hkeys(partition.keys.SECOND_LOOKS()))),
        frozenset(_texts(partition.redis.zrange(partition.keys.SECOND_LOOKS_DUE(), 0, -1))),
        _hash(partition, partition.keys.EXPANDING_CHANNELS()),
        frozenset(_hash(partition, partition.keys.EXPANDING_GROUPS())),
        {lane: frozenset(_texts(partition.redis.zrange(partition.keys.OUT_OF_TURN(lane), 0, -1))) for lane in _LANES},
        batches,
        values,
    )


def _keys(partition: Partition) -> dict[Family, dict[str, tuple[str, ...]]]:
    """By family its keys, each with the parts of its name."""
    found: dict[Family, dict[str, tuple[str, ...]]] = {family: {} for family in _FAMILIES}
    scanned = (
        key
        for key in partition.redis.scan_iter(match=f"{partition.prefix}[^aov]*", count=_CHUNK)
        if not key.startswith(_READ)
    )
    families = [(family, family.below(partition.prefix)) for family in _FAMILIES]
    for n, one in enumerate(scanned, 1):
        key = one.decode(errors="replace")
        if n > _KEYS:
            raise TooLargeError(f"more than {_KEYS:,} keys")
        for family, bound in families:
            if (parts := bound.parts(key)) is not None:
                found[family][key] = parts
                break
    return found


def _read(partition: Partition, family: Family, named: list[str]) -> list[Any]:
    """The values of keys of one family. A very long value is cut, and not compared."""
    read: Callable[[Any, str], object] = {
        "list": lambda pipe, key: pipe.lrange(key, 0, MOST),
        "zset": lambda pipe, key: pipe.zrange(key, 0, MOST),
        "set": lambda pipe, key: pipe.smembers(key),
        "hash": lambda pipe, key: pipe.hgetall(key),
    }[family.type]
    answers = _pipelined(partition, named, read)
    if family.type == "hash":
        return [{field.decode(): value.decode() for field, value in answer.items()} for answer in answers]
    return [list(_texts(answer)) for answer in answers]


def _batches(partition: Partition, named: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, QueuedBatch]]:
    fields = ("provider", "lane", "app", "entries", "devices", "leased", "claimed")
    answers = _pipelined(partition, list(named), lambda pipe, key: pipe.hmget(key, fields))
    for (id,), answer in zip(named.values(), answers, strict=True):
        way, lane, app, entries, devices, leased, claimed = ((one or b"").decode() for one in answer)
        if lane:  # else it is done by now
            batch = QueuedBatch(way, lane, app, entries_in(entries), devices_in(devices), bool(leased), bool(claimed))
            yield id, batch


def _pipelined(partition: Partition, named: list[str], ask: Callable[[Any, str], object]) -> list[Any]:
    answers: list[Any] = []
    for at in range(0, len(named), _CHUNK):
        with partition.redis.pipeline(transaction=False) as pipe:
            for key in named[at : at + _CHUNK]:
                ask(pipe, key)
            answers += pipe.execute()
    return answers


def _hash(partition: Partition, key: str) -> dict[str, str]:
    found: Any = partition.redis.hgetall(key)
    return {field.decode(): value.decode() for field, value in found.items()}


def _texts(values: Any) -> Iterator[str]:
    return (value.decode() for value in values)


def _units(now: Look) -> Iterator[str]:
    """An entry's open units are its expansion, its second looks and the batches that name it."""
    looks = (look.partition("/")[2] for look in now.second_looks)
    units = Counter(chain(now.expanding, looks, *(batch.entries for batch in now.batches.values())))
    for entry in now.open.keys() | units.keys():
        if (kept := now.open.get(entry, 0)) != units[entry]:
            yield f"entry {entry} has {kept} open units, and {units[entry]} are there"
    for name, entries in (("scheduled", now.scheduled), ("counted as failed", now.tries)):
        yield from (f"entry {entry} is {name} and not open" for entry in entries - now.open.keys())


def _messages(now: Look) -> Iterator[str]:
    """A message that is expanded is ready, or in a task's hands, or due, or in its channel's line: one of these."""
    ready = chain.from_iterable(chain(now.of(keys.READY_OF_APP).values(), now.of(keys.READY_IN_GROUP).values()))
    taken = chain.from_iterable(now.of(keys.TAKEN).values())
    lines = (member.partition("/")[2] for line in now.of(keys.CHANNEL_LINE).values() for member in line)
    due = (member[2:] for member in now.due if member.startswith("e:"))
    places = Counter(chain(ready, taken, lines, due))
    for entry in now.expanding:
        if places[entry] != 1:
            yield f"the message {entry} stands in {places[entry]} places"
    yield from (f"entry {entry} is scheduled and not due" for entry in now.scheduled if f"e:{entry}" not in now.due)


def _second_looks(now: Look) -> Iterator[str]:
    """A second look is ready in its line, or due: one of these. Each due one exists."""
    lines = now.of(keys.READY_OF_APP)
    places = Counter(chain(now.second_looks_due, *(line for (lane, _), line in lines.items() if lane == "looks")))
    for look in now.second_looks | places.keys():
        if places[look] != (look in now.second_looks):
            yield f"the second look {look} stands in {places[look]} places"


def _batches_places(now: Look) -> Iterator[str]:
    """A batch is ready in the line of its lane and way, and in no other, or due; a leased one is due."""
    lines = now.of(keys.LINE)
    before = list(chain.from_iterable(now.of(keys.OLD_READY_OF_APP).values()))
    ready = Counter(chain(chain.from_iterable(lines.values()), before))
    for id, batch in now.batches.items():
        due = f"b:{id}" in now.due
        if ready[id] + due != 1:
            yield f"batch {id} stands in {ready[id]} lines and is {'' if due else 'not '}due"
        if ready[id] and id not in lines.get((batch.lane, batch.way), ()) and id not in before:
            yield f"batch {id} does not stand in the line of its way {batch.way}"
        if batch.leased and not due:
            yield f"batch {id} is leased and not due"


def _due(now: Look) -> Iterator[str]:
    """Each due member exists."""
    known: Mapping[str, Iterable[str]] = {
        "b": now.batches, "e": now.expanding, "g": now.groups, "c": {channel for (channel,) in now.of(keys.CHANNEL_LINE)}
    }  # fmt: skip
    for member in now.due:
        kind, _, name = member.partition(":")
        if name not in known.get(kind, ()):
            yield f"{member} is due and not there"


def _devices(now: Look) -> Iterator[str]:
    """The devices of a batch that was taken are held by it, a later one, or one elsewhere, and by nothing that is done."""
    holders = {way: devices for (way,), devices in now.of(keys.SENDING).items()}
    for id, batch in now.batches.items():
        if batch.claimed:
            free = [device for device in batch.devices if device not in holders.get(batch.way, {})]
            yield from (f"batch {id} was taken, and its device {device} is free" for device in free)
    for way, devices in holders.items():
        for device, holder in devices.items():
            if device and holder not in now.batches and _ELSEWHERE not in holder:
                yield f"device {device} of way {way} is held by batch {holder}, which is done"
    for (way,), members in now.of(keys.LATER).items():
        for batch_id in {member.rpartition("/")[2] for member in members} - now.batches.keys():
            yield f"what is put off on way {way} is of batch {batch_id}, which is done"


def _waits(now: Look) -> Iterator[str]:
    """A batch that waits for another of its partition is one of its followers."""
    followers = {id: members for (id,), members in now.of(keys.FOLLOWERS).items()}
    for (id,), before in now.of(keys.WAITS).items():
        if id not in now.batches:
            yield f"batch {id} waits for others and is done"
        for one in before:
            if one in now.batches and id not in followers.get(one, ()):
                yield f"batch {id} waits for {one}, and does not stand among its followers"
    done = (id for id in followers.keys() - now.batches.keys() if _ELSEWHERE not in id)
    yield from (f"batch {id} has followers and is done" for id in done)


def _groups(now: Look) -> Iterator[str]:
    """A group that a task has holds what the task took, and a lease. Any other with messages has one turn."""
    taken = {group for (group,) in now.of(keys.TAKEN)}
    leased = {member[2:] for member in now.due if member.startswith("g:")}
    for group in now.groups | taken | leased:
        if not (group in now.groups and group in taken and group in leased):
            have = [
                name for name, of in (("a task", now.groups), ("messages", taken), ("a lease", leased)) if group in of
            ]
            yield f"group {group} has only {' and '.join(have)}"
    waiting = {group for (group,) in now.of(keys.READY_IN_GROUP)}
    turns = Counter(chain.from_iterable(now.of(keys.GROUPS_IN_TURN).values()))
    for group in waiting | turns.keys():
        if turns[group] != (group in waiting and group not in now.groups):
            yield f"group {group} has {turns[group]} turns"


def _apps(now: Look) -> Iterator[str]:
    """Each app with anything to take has one turn in its lane."""
    messages = {(lane, app) for lane, app in now.of(keys.READY_OF_APP)}
    messages |= {("urgent", app) for (app,) in now.of(keys.GROUPS_IN_TURN)}
    for what, there, turns in (
        ("messages", messages, now.of(keys.READY)),
        ("batches", set(now.of(keys.TURNS_OF_APP)), now.of(keys.TURNS)),
    ):
        given = Counter((lane, app) for (lane,), apps in turns.items() for app in apps)
        for lane, app in there | given.keys():
            if given[lane, app] != ((lane, app) in there):
                yield f"app {app} has {given[lane, app]} turns for {what} of the {lane} lane"


def _ways(now: Look) -> Iterator[str]:
    """Each line of batches has one turn, or its way is out of turn: it is stopped or over a quota, or its provider is."""
    lines = set(now.of(keys.LINE))
    turns = Counter((lane, way) for (lane, _), ways in now.of(keys.TURNS_OF_APP).items() for way in ways)
    for lane, way in lines | turns.keys():
        if turns[lane, way] + (way in now.out_of_turn.get(lane, ())) != ((lane, way) in lines):
            yield f"way {way} has {turns[lane, way]} turns in the {lane} lane"


def _channels(now: Look) -> Iterator[str]:
    """A channel has a line only while a message of it is expanded, and waits no longer than its time."""
    for channel, entry in now.channels.items():
        if entry not in now.expanding:
            yield f"channel {channel} waits for entry {entry}, which is expanded"
    for (channel,) in now.of(keys.CHANNEL_LINE):
        if channel not in now.channels or f"c:{channel}" not in now.due:
            yield f"channel {channel} has a line, and nothing ends it"


#: Each returns what does not hold; its docstring says what must.
CHECKS: Final = (
    _units,
    _messages,
    _second_looks,
    _batches_places,
    _due,
    _devices,
    _waits,
    _groups,
    _apps,
    _ways,
    _channels,
)
