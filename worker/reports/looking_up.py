"""Reads what the stores know of one event, for its delivery report. Changes nothing but that the ledger is written up first."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from worker.core import batch as batches
from worker.core.entry import entries_in
from worker.core.way import OTHER, Way, origin_in, way_of
from worker.database import lookups
from worker.database.ledger import Ledger
from worker.database.lookups import Reached
from worker.database.postgres import Pool
from worker.providers.kinds import kind_stored_as
from worker.reports.delivery_report import Facts, Letter, Part, Recorded, Report, Via, report
from worker.reports.reading import read
from worker.state import keys
from worker.state.breaker import Breaker
from worker.state.journal import Journal
from worker.state.limiter import Limiter
from worker.state.origins import Origins
from worker.state.redis import Redis

#: Devices whose providers are looked up.
_DEVICES: Final = 2_000
#: Batches among which those of the event are looked for, and batches of it that are opened.
_BATCHES: Final = 5_000
_OPENED: Final = 100
#: Dead letters of one event that are shown.
_LETTERS: Final = 10


def look_up(redis: Redis, pool: Pool, journal: Journal, ledger: Ledger, app: str, event: str) -> tuple[Facts, Report]:
    """What is known about the event now, and the report of its parts."""
    while ledger.flush(journal):
        pass
    with pool.connection() as db:
        parts = [Part(*row) for row in lookups.parts(db, app, event)]
        row = lookups.recorded(db, app, event)
        recorded = None if row is None else Recorded(*row)
        letters = [Letter(*one) for one in lookups.letters(db, app, event, _LETTERS)]
        made = report(parts)
        if not (parts or recorded or letters):
            streams = read(redis, db).snapshot.streams
            return Facts(untaken=max((s.oldest for s in streams if s.oldest is not None), default=None)), made
        devices = defaultdict(list)
        for user, id in lookups.devices(db, app, [user for user, of in made.pushed.items() if not of], _DEVICES):
            devices[user].append(id)
        ids = [id for of in (*made.pushed.values(), *devices.values()) for id in of][:_DEVICES]
        providers = lookups.providers(db, ids)
    of_devices = _ways(redis, providers)
    vias = _vias(redis, providers, of_devices)
    is_open, scheduled = (False, None) if recorded is None else _state(redis, recorded.entry)
    following: dict[int, float] = {}
    if recorded is not None and is_open:
        following = _cooldowns(redis, of_devices) | dict(_retries(redis, recorded.entry))
    return Facts(parts, recorded, letters, scheduled, is_open, vias, devices, following), made


def _state(redis: Redis, entry: str) -> tuple[bool, float | None]:
    """Whether the entry is not done yet, and when it begins if it is scheduled."""
    with redis.pipeline(transaction=False) as pipe:
        pipe.hexists(keys.OPEN(), entry)
        pipe.sismember(keys.SCHEDULED(), entry)
        pipe.zscore(keys.DUE(), f"e:{entry}")
        is_open, scheduled, due = pipe.execute()
    return bool(is_open), float(due) if scheduled and due is not None else None


def _retries(redis: Redis, entry: str) -> Iterator[tuple[int, float]]:
    """Device and time (UNIX seconds) of retries, from the batches that are due first."""
    waiting: Any = redis.zrange(keys.DUE(), 0, _BATCHES - 1, withscores=True)
    due = [(member[2:].decode(), at) for member, at in waiting if member.startswith(b"b:")]
    with redis.pipeline(transaction=False) as pipe:
        for id, _ in due:
            pipe.hmget(keys.BATCH(id), "entries", "leased")
        answers = pipe.execute() if due else []
    found = [
        (id, at)
        for (id, at), (entries, leased) in zip(due, answers, strict=True)
        if not leased and entry in entries_in((entries or b"").decode())
    ]
    for id, at in found[:_OPENED]:
        document: Any = redis.hget(keys.BATCH(id), "doc")
        try:
            batch = batches.decode(document or b"")
        except ValueError:  # done meanwhile, or of another release
            continue
        yield from ((job.device, at) for job in batch.jobs if batch.sendings[job.sending].entry == entry)


def _ways(redis: Redis, providers: Mapping[int, Reached]) -> dict[int, Way]:
    """The way of each device."""
    known = {id: set(ways) for id, ways in Origins(redis).ways({one.provider for one in providers.values()}).items()}
    found = {}
    for device, one in providers.items():
        kind = kind_stored_as(one.form)
        way = way_of(one.provider, "" if kind is None else kind.origin(one.token, one.platform))
        found[device] = way if way in known[one.provider] else way_of(one.provider, OTHER)
    return found


def _vias(redis: Redis, providers: Mapping[int, Reached], ways: Mapping[int, Way]) -> dict[int, Via]:
    """What holds each device's notifications back: its provider's state, or else that of its own way."""
    every = [*{one.provider for one in providers.values()}, *set(ways.values())]
    stops, now = Breaker(redis).stopped_among(every), _clock(redis)
    quotas = {way: quota for way, quota in Limiter(redis).quotas(every).items() if now < quota.until}
    found = {}
    for device, one in providers.items():
        held = one.provider if one.provider in stops or one.provider in quotas else ways[device]
        found[device] = Via(one.name, one.form, stops.get(held), quotas.get(held), origin_in(held))
    return found


def _clock(redis: Redis) -> float:
    seconds, micros = redis.time()
    return float(seconds) + float(micros) / 1e6


def _cooldowns(redis: Redis, ways: Mapping[int, Way]) -> dict[int, float]:
    """Until when devices cool down, in UNIX seconds."""
    by_way = defaultdict(list)
    for device, way in ways.items():
        by_way[way].append(device)
    limiter, now = Limiter(redis), _clock(redis)
    found: dict[int, float] = {}
    for way, devices in by_way.items():
        found |= {device: now + left for device, left in limiter.cooldowns(way, devices).items()}
    return found
