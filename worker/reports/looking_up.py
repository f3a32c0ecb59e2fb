"""Reads what the stores know of one event, for its delivery report. Changes nothing."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from config.settings import get_settings
from worker.core import batch as batches
from worker.core.broadcast import in_ledger
from worker.core.entry import entries_in, partition_of
from worker.core.ledger_entry import decides
from worker.core.purposes import BROADCAST
from worker.core.way import OTHER, Way, origin_in, way_of
from worker.database import lookups
from worker.database.ledger import Ledger
from worker.database.lookups import Reached
from worker.database.postgres import Connection, Pool
from worker.providers.kinds import kind_stored_as
from worker.reports.delivery_report import Facts, Letter, Part, Recorded, Report, Tried, Via, report
from worker.reports.reading import read
from worker.reports.snapshot import StreamFacts
from worker.state.breaker import Breaker
from worker.state.journal import Journal
from worker.state.limiter import Limiter
from worker.state.origins import Origins
from worker.state.partition import Keyspace, Partition
from worker.state.redis import clock

#: Devices whose providers are looked up.
_DEVICES: Final = 2_000
#: Batches among which those of the event are looked for, and batches of it that are opened.
_BATCHES: Final = 5_000
_OPENED: Final = 100
#: Dead letters of one event that are shown.
_LETTERS: Final = 10
_DAY: Final = 86_400


def write_up(journal: Journal, ledger: Ledger) -> None:
    """Writes what waits for the ledger, so that a report has what is so now. Only for who may write."""
    while ledger.flush(journal):
        pass


def look_up(
    keyspace: Keyspace, pool: Pool, app: str, event: str, *, user: str | None = None, secrets: bool = True
) -> tuple[Facts, Report]:
    """What is known about the event now, and the report of its parts.

    What holds notifications back is looked up for some 2,000 devices; with `user` only for theirs. Without `secrets`, for who may
    read none, it is not known by which of its provider's origins a device is reached.
    """
    with pool.connection() as db:
        parts = [Part(*row) for row in lookups.parts(db, app, event)]
        row = lookups.recorded(db, app, event)
        recorded = None if row is None else Recorded(*row)
        partition = keyspace.of_app(app) if recorded is None else of_entry(keyspace, app, recorded.entry)
        letters = [Letter(*one) for one in lookups.letters(db, app, event, _LETTERS, documents=secrets)]
        kept_since, forgets = _kept(partition, db)
        made = report(parts)
        if not (parts or recorded or letters):
            streams = read(keyspace, db).snapshot.streams
            untaken = max((s.oldest for s in streams if s.oldest is not None), default=None)
            return Facts(untaken=untaken, home=_home(streams, app), kept_since=kept_since, forgets=forgets), made
        is_open, scheduled = (False, None) if recorded is None else _state(partition, recorded.entry)
        # While something of it is to be done, a device without an outcome waits for one.
        pushed = made.pushed if user is None else made.only(user).pushed
        asked = [one for one, of in pushed.items() if is_open or not of][:_DEVICES]
        devices = _without_outcome(made, parts, lookups.devices(db, app, asked, _DEVICES))
        ids = list(dict.fromkeys(id for of in chain(pushed.values(), devices.values()) for id in of))[:_DEVICES]
        reached = (lookups.providers if secrets else lookups.providers_only)(db, ids)
        providers = lookups.provider_names(db)
        names = {id: name for id, (_, name, _) in providers.items()}
        reached |= _channels(pushed, providers)
    entries = () if recorded is None else (recorded.entry,)
    states = waiting(partition, reached, entries)
    following: dict[int, float] = {}
    if recorded is not None and is_open:
        following = {**states.cooldowns, **states.retries.get(recorded.entry, {})}
    of_event = (parts, recorded, letters, scheduled, is_open, states.vias, devices, following)
    return Facts(*of_event, kept_since=kept_since, forgets=forgets, names=names), made


def _home(streams: Sequence[StreamFacts], app: str) -> int | None:
    """The home that the app's messages in other partitions wait for."""
    behind = {one.partition for one in streams if one.app == app and one.oldest is not None}
    homes = (one.home for one in streams if one.app == app and one.partition in behind)
    return next((home for home in homes if home is not None and home in behind), None)


def _channels(
    pushed: Mapping[str, Mapping[int, Sequence[Tried]]], providers: Mapping[int, tuple[str, str, str]]
) -> dict[int, Reached]:
    """Device 0, which stands for a broadcast channel, by the provider that had it last."""
    last = {id: tries[-1].provider for of in pushed.values() for id, tries in of.items() if not id and tries}
    return {
        id: Reached(provider, providers[provider][1], providers[provider][2], "", "", BROADCAST)
        for id, provider in last.items()
        if provider in providers
    }


def _without_outcome(
    made: Report, parts: Sequence[Part], owned: Sequence[tuple[str, int, float]]
) -> dict[str, list[int]]:
    """The users' devices that were registered when the event was expanded, and have no outcome of it."""
    expanded = max((part.at for part in parts if decides(part.name)), default=0.0)
    found: dict[str, list[int]] = {}
    for user, id, registered in owned:
        if registered <= expanded and id not in made.pushed[user]:
            found.setdefault(user, []).append(id)
    return found


class Waiting(NamedTuple):
    """What holds notifications to some devices back. Times in UNIX seconds."""

    #: device id -> its provider
    vias: Mapping[int, Via]
    #: device id -> until when it cools down
    cooldowns: Mapping[int, float]
    #: entry -> device id -> when it is tried again
    retries: Mapping[str, Mapping[int, float]]


def waiting(partition: Partition, reached: Mapping[int, Reached], entries: Collection[str]) -> Waiting:
    """What holds notifications of these entries to these devices back."""
    ways = _ways(partition, reached)
    return Waiting(_vias(partition, reached, ways), _cooldowns(partition, ways), _retries(partition, set(entries)))


def waiting_in(partitions: Sequence[Partition], reached: Mapping[int, Reached], entries: Collection[str]) -> Waiting:
    """The same in several partitions: what holds anything back anywhere."""
    first, *others = [waiting(one, reached, entries) for one in partitions]
    for one in others:
        vias = {**first.vias, **{id: via for id, via in one.vias.items() if via.stopped or id not in first.vias}}
        retries = {entry: {**some, **one.retries.get(entry, {})} for entry, some in first.retries.items()}
        first = Waiting(vias, {**first.cooldowns, **one.cooldowns}, retries)
    return first


def _kept(partition: Partition, db: Connection) -> tuple[float, bool]:
    """Since when events are kept (UNIX seconds), and whether any may have been deleted by now."""
    began, now = lookups.kept_since(db), clock(partition.redis)
    oldest = now - get_settings().message_retention_days * _DAY
    return max(began, oldest), began < oldest


def _state(partition: Partition, entry: str) -> tuple[bool, float | None]:
    """Whether the entry is not done yet, and when it begins if it is scheduled."""
    with partition.redis.pipeline(transaction=False) as pipe:
        pipe.hexists(partition.keys.OPEN(), entry)
        pipe.sismember(partition.keys.SCHEDULED(), entry)
        pipe.zscore(partition.keys.DUE(), f"e:{entry}")
        is_open, scheduled, due = pipe.execute()
    return bool(is_open), float(due) if scheduled and due is not None else None


def of_entry(keyspace: Keyspace, app: str, entry: str) -> Partition:
    """The partition of an app's entry: of a spread app it may be any."""
    number = partition_of(entry)
    return keyspace.partitions[number] if keyspace.layout.is_spread(app) else keyspace.of_app(app)


def still_open(partition: Partition, entries: Sequence[str]) -> set[str]:
    """Those of the entries that are not done yet."""
    with partition.redis.pipeline(transaction=False) as pipe:
        for entry in entries:
            pipe.hexists(partition.keys.OPEN(), entry)
        answers = pipe.execute() if entries else []
    return {entry for entry, is_open in zip(entries, answers, strict=True) if is_open}


def _retries(partition: Partition, entries: set[str]) -> dict[str, dict[int, float]]:
    """When (UNIX seconds) devices are tried again, by entry, from the batches that are due first."""
    found: dict[str, dict[int, float]] = {entry: {} for entry in entries}
    waiting: Any = partition.redis.zrange(partition.keys.DUE(), 0, _BATCHES - 1, withscores=True) if entries else []
    due = [(member[2:].decode(), at) for member, at in waiting if member.startswith(b"b:")]
    with partition.redis.pipeline(transaction=False) as pipe:
        for id, _ in due:
            pipe.hmget(partition.keys.BATCH(id), "entries", "leased")
        answers = pipe.execute() if due else []
    theirs = [
        (id, at)
        for (id, at), (names, leased) in zip(due, answers, strict=True)
        if not leased and entries & set(entries_in((names or b"").decode()))
    ]
    for id, at in theirs[:_OPENED]:
        document: Any = partition.redis.hget(partition.keys.BATCH(id), "doc")
        try:
            batch = batches.decode(document or b"")
        except ValueError:  # done meanwhile, or of another release
            continue
        for job in batch.jobs:
            if (entry := batch.sendings[job.sending].entry) in entries:
                found[entry][in_ledger(job.device)] = at
    return found


def _ways(partition: Partition, providers: Mapping[int, Reached]) -> dict[int, Way]:
    """The way of each device."""
    known = {
        id: set(ways) for id, ways in Origins(partition).ways({one.provider for one in providers.values()}).items()
    }
    found = {}
    for device, one in providers.items():
        kind = kind_stored_as(one.form)
        way = way_of(one.provider, "" if kind is None else kind.origin(one.token, one.platform, one.purpose))
        found[device] = way if way in known[one.provider] else way_of(one.provider, OTHER)
    return found


def _vias(partition: Partition, providers: Mapping[int, Reached], ways: Mapping[int, Way]) -> dict[int, Via]:
    """What holds each device's notifications back: its provider's state, or else that of its own way."""
    every = [*{one.provider for one in providers.values()}, *set(ways.values())]
    stops, now = Breaker(partition).stopped_among(every), clock(partition.redis)
    quotas = {way: quota for way, quota in Limiter(partition).quotas(every).items() if now < quota.until}
    found = {}
    for device, one in providers.items():
        held = one.provider if one.provider in stops or one.provider in quotas else ways[device]
        found[device] = Via(
            one.name, one.form, stops.get(held), quotas.get(held), origin_in(held), one.purpose == BROADCAST
        )
    return found


def _cooldowns(partition: Partition, ways: Mapping[int, Way]) -> dict[int, float]:
    """Until when devices cool down, in UNIX seconds."""
    by_way = defaultdict(list)
    for device, way in ways.items():
        by_way[way].append(device)
    limiter, now = Limiter(partition), clock(partition.redis)
    found: dict[int, float] = {}
    for way, devices in by_way.items():
        found |= {device: now + left for device, left in limiter.cooldowns(way, devices).items() if left}
    return found
