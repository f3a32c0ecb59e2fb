"""Looks for the fleet: keeps which conditions are open and since when, logs each when it begins and ends, and writes incidents.

A condition opens when it has lasted for as long as `AFTER` says, and is over after `OVER` seconds without it. `current` is what
everybody reads; who looks for itself asks `agreed`, so that name, time and sentence are the same everywhere.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from worker.database import incidents, postgres
from worker.database.incidents import Incident
from worker.database.postgres import Pool
from worker.reports.checks import Check, checks
from worker.reports.conditions import AFTER, AFTERMATH, FLOW, OVER, Condition, Severity, blocked, find
from worker.reports.faults import sentence
from worker.reports.reading import Reading, read
from worker.reports.snapshot import Snapshot
from worker.state import redis
from worker.state.partition import Fleet, Keyspace

log = logging.getLogger(__name__)

#: Milliseconds between two looks of the fleet.
_EVERY: Final = 4_500
#: Seconds without a look after which that is a condition, and for which the last look is kept.
UNWATCHED: Final = 30.0
_KEPT: Final = 86_400
#: Conditions whose beginning one look logs; further ones are counted.
_MOST: Final = 50
_LEVELS: Final[Mapping[Severity, int]] = {
    "critical": logging.ERROR,
    "warning": logging.WARNING,
    "notice": logging.INFO,
}


class Seen(msgspec.Struct, frozen=True, omit_defaults=True):
    """A condition that was seen `first` and `last` (UNIX seconds). It counts once it is `opened`."""

    condition: Condition
    first: float
    last: float
    opened: bool = False


class Look(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a look found out beside the conditions: every check that it made, and the parts that it could not read, with why.

    `blocked_at`: when a look last found that an engine keeps everything from moving, or was the first for long; UNIX seconds.
    """

    checks: list[Check] = []
    unknown: list[tuple[str, str]] = []
    blocked_at: float = 0.0


class Known(NamedTuple):
    """What the last look left, and how many seconds ago it was; None: nobody looked within a day."""

    seen: dict[str, Seen]
    look: Look
    ago: float | None

    @property
    def watched(self) -> bool:
        return self.ago is not None and self.ago <= UNWATCHED


class Current(NamedTuple):
    """The open conditions, the worst first; the rest as of `Look` and `Known`."""

    conditions: list[Condition]
    checks: Sequence[Check]
    unknown: Sequence[tuple[str, str]]
    ago: float | None


_encode: Final = msgspec.json.Encoder().encode
_decode_seen: Final = msgspec.json.Decoder(Seen).decode
_decode_look: Final = msgspec.json.Decoder(Look).decode


def known(fleet: Fleet) -> Known:
    """What the last look left. Raises Redis' errors."""
    with fleet.redis.pipeline(transaction=False) as pipe:
        pipe.hgetall(fleet.keys.CONDITIONS())
        pipe.get(fleet.keys.LOOK())
        pipe.pttl(fleet.keys.LOOK())
        found, look, left = pipe.execute()
    seen = {key.decode(): _decode_seen(document) for key, document in found.items()}
    return Known(
        seen, Look() if look is None else _decode_look(look), None if look is None else max(0.0, _KEPT - left / 1000)
    )


def current(fleet: Fleet) -> Current:
    """The open conditions by the last look, and whether nobody looks or Redis is away. A few milliseconds; raises nothing."""
    try:
        last = known(fleet)
    except redis.Error as fault:
        return Current(find(Snapshot(time.time(), redis_fault=sentence(fault))), (), (), None)
    opened = [one.condition for one in last.seen.values() if one.opened]
    if not last.watched:
        opened += find(Snapshot(time.time(), unwatched=inf if last.ago is None else last.ago))
    return Current(sorted(opened, key=lambda one: one.order), last.look.checks, last.look.unknown, last.ago)


def agreed(reading: Reading, last: Known) -> list[Condition]:
    """What somebody else has read, as the watch has it: with its times and sentences, and without what has not lasted yet.

    Where nobody watches, what was read counts at once.
    """
    now = reading.snapshot.now
    watched = last.watched
    if not watched and last.ago is not None:
        reading = reading.with_unwatched(last.ago)
    seen = merged(reading, last.seen, last.look.blocked_at)
    opened = (one.condition for one in seen.values() if (one.opened if watched else one.last == now))
    return sorted(opened, key=lambda one: one.order)


def merged(reading: Reading, seen: Mapping[str, Seen], blocked_at: float) -> dict[str, Seen]:
    """By key: what was seen before, and what this reading shows. What it could not show is as it was."""
    now, made = reading.snapshot.now, {}
    follows = FLOW if now - blocked_at < AFTERMATH else ()
    for one in find(reading.snapshot):
        before = seen.get(one.key)
        first = now if before is None else before.first
        since = first if one.since is None else one.since
        if before is not None and before.opened:
            was = before.condition
            same = replace(one, what=was.what, do=was.do, since=was.since or since)
            made[one.key] = Seen(same, first, now, opened=True)
        else:
            opened = one.name not in follows and now - min(first, since) >= AFTER.get(one.name, 0.0)
            made[one.key] = Seen(replace(one, since=since), first, now, opened)
    for key, before in seen.items():
        lasts = before.opened and now - before.last < OVER
        if key not in made and (lasts or not reading.tells(before.condition.name)):
            made[key] = before
    return made


class Watch:
    """The fleet looks once every five seconds, whichever worker it is. `now` gives UNIX seconds.

    `alone`: what this process has found by itself while the fleet could not look.
    """

    def __init__(self, keyspace: Keyspace, pool: Pool, *, now: Callable[[], float] = time.time) -> None:
        self._keyspace, self._fleet, self._pool, self._now = keyspace, keyspace.fleet.brief, pool, now
        #: What this process sees while nobody can look for all, since when (UNIX seconds), and what it has opened.
        self._seen: dict[str, Seen] = {}
        self._alone_since: float | None = None
        self.alone: Current | None = None
        #: That Redis was away, since the last look of this process.
        self._was_away = False

    def look(self) -> int:
        """Logs conditions that begin and end; returns how many are open, 0 if another process has just looked."""
        if not self._fleet.scripts.while_full(
            command="SET", key=self._fleet.keys.CONDITIONS_LOOKED(), arguments=[1, "NX", "PX", _EVERY]
        ):
            return 0
        reading, last = self._read(), known(self._fleet)
        before, now = last.seen, reading.snapshot.now
        was_blocked = blocked(reading.snapshot) or self._was_away or not last.watched
        blocked_at, self._was_away = now if was_blocked else last.look.blocked_at, False
        seen = merged(reading, before, blocked_at)
        look = Look(checks(reading.snapshot), list(reading.unknown), blocked_at)
        self._keep(seen, [key for key in before if key not in seen], look)
        self._log(seen, before, now)
        opened = [one.condition for one in seen.values() if one.opened]
        if reading.snapshot.postgres_fault is None:
            self._record(opened, {_incident(one.condition).key: _utc(one.last) for one in before.values()})
        return len(opened)

    def redis_is_away(self, fault: Exception) -> None:
        """Call it while the server of what processes tell each other does not answer: nobody can look for all then.

        Each process looks by itself, as far as servers answer. It says in its log what it finds, and shows it as `alone`.
        """
        reading = self._reading_alone(sentence(fault))
        now = reading.snapshot.now
        if self._alone_since is None:
            self._alone_since = now
        before, self._seen = self._seen, merged(reading, self._seen, self._alone_since)
        self._log(self._seen, before, now)
        opened = sorted((one.condition for one in self._seen.values() if one.opened), key=lambda one: one.order)
        self.alone = Current(opened, checks(reading.snapshot), reading.unknown, 0.0) if opened else None

    def redis_is_back(self) -> None:
        """Call it while Redis answers: what nobody could write is written now, and the next looks end it."""
        if self._alone_since is None:
            return
        for key, one in self._seen.items():
            if one.opened:
                self._fleet.redis.hsetnx(self._fleet.keys.CONDITIONS(), key, _encode(one))
        self._seen, self._alone_since, self.alone, self._was_away = {}, None, None, True

    def _reading_alone(self, fault: str) -> Reading:
        if len(self._keyspace.partitions) > 1:
            reading = self._read()
            if len(reading.snapshot.silent) < len(self._keyspace.partitions):
                return reading
        return Reading(Snapshot(self._now(), redis_fault=fault), redis=False, postgres=False)

    def _read(self) -> Reading:
        try:
            with self._pool.connection() as db:
                return read(self._keyspace, db, now=self._now())
        except postgres.Unavailable as fault:
            return read(self._keyspace, None, postgres_fault=sentence(fault), now=self._now())

    def _keep(self, seen: Mapping[str, Seen], over: Sequence[str], look: Look) -> None:
        """A full Redis takes it too."""
        fields = [part for key, one in seen.items() for part in (key, _encode(one))]
        if fields:
            self._fleet.scripts.while_full(command="HSET", key=self._fleet.keys.CONDITIONS(), arguments=fields)
        if over:
            self._fleet.redis.hdel(self._fleet.keys.CONDITIONS(), *over)
        self._fleet.scripts.while_full(
            command="SET", key=self._fleet.keys.LOOK(), arguments=[_encode(look), "EX", _KEPT]
        )
        self._fleet.redis.expire(self._fleet.keys.OLD_CONDITIONS(), _KEPT, nx=True)

    def _log(self, seen: Mapping[str, Seen], before: Mapping[str, Seen], now: float) -> None:
        opened = {key: one.condition for key, one in seen.items() if one.opened}
        was = {key: one.condition for key, one in before.items() if one.opened}
        begun = [one for key, one in opened.items() if key not in was]
        for one in begun[:_MOST]:
            _log("condition begins", one)
        if len(begun) > _MOST:
            log.error("further conditions begin: see carillon health", extra={"count": len(begun) - _MOST})
        for key, one in opened.items():
            if key in was and was[key].severity != one.severity:
                _log(f"condition is {one.severity} now", one)
        for key, one in was.items():
            if key not in opened:
                level = min(_LEVELS[one.severity], logging.WARNING)
                log.log(level, "condition is over", extra=_fields(one) | {"seconds": round(now - (one.since or now))})

    def _record(self, opened: Sequence[Condition], ended: Mapping[incidents.Key, datetime]) -> None:
        try:
            with postgres.transaction(self._pool) as db:
                incidents.reconcile(db, [_incident(one) for one in opened], ended)
        except (postgres.Unavailable, *postgres.Unready):
            return  # the next look writes it


def _incident(one: Condition) -> Incident:
    return Incident(
        *(one.name, one.app or "", one.provider or "", one.origin, one.place),
        *(one.severity, one.what, _utc(one.since or time.time())),
        waited=one.waiting or 0,
    )


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _log(phrase: str, one: Condition) -> None:
    log.log(_LEVELS[one.severity], phrase, extra=_fields(one) | {"what": one.text} | _figures(one))


def _fields(one: Condition) -> dict[str, object]:
    fields: dict[str, object] = {"app": one.app, "provider": one.provider, "origin": one.origin, "place": one.place}
    return {"condition": one.name} | {name: value for name, value in fields.items() if value}


def _figures(one: Condition) -> dict[str, object]:
    fields: dict[str, object] = {"waiting": one.waiting, "figures": one.figures}
    return {name: value for name, value in fields.items() if value}
