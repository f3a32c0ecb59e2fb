"""Exports the state that the whole fleet shares. One process does it: what it exports says nothing of that process.

Each part is read by itself, once a second at most, and no scrape waits longer than a few seconds for it. So a scrape has what
can be read while an engine is away or slow, and says which parts are missing.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from config.settings import Settings
from worker.database import census, cursors, lease, named_apps
from worker.database.census import DeadLetters, ProviderRow
from worker.database.named_apps import Counted
from worker.database.outbox import Missing, Outbox, State
from worker.database.postgres import open_pool
from worker.embedded import Urls
from worker.metrics import families, health, pages, state, tallied
from worker.metrics.cached import Cached
from worker.metrics.engines import of_carillon
from worker.metrics.http import Page
from worker.metrics.own import build_info
from worker.metrics.samples import Samples, one
from worker.metrics.state import Named
from worker.providers.kinds import kind_stored_as
from worker.reports import reading, signs, watch
from worker.reports.faults import sentence
from worker.reports.snapshot import RedisFacts, WorkerFacts
from worker.reports.watch import Current
from worker.state import backlog
from worker.state.backlog import Backlog
from worker.state.partition import Keyspace
from worker.state.redis import Error as RedisError
from worker.state.redis import connect

log = logging.getLogger(__name__)

#: Seconds for which a reading is good, and for which a scrape waits for one.
FRESH: Final = 1.0
PATIENCE: Final = 4.0
#: Seconds between two choices of the apps that have names.
CHOICE: Final = 60.0
#: Seconds that Redis may take for one answer, and Postgres to give a connection.
_TIMEOUT: Final = 2.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where what is exported is. `outbox` may be in another database than Carillon's own."""

    redis: str
    postgres: str
    outbox: str


def addresses(settings: Settings, urls: Urls) -> Addresses:
    return Addresses(urls.redis, urls.postgres, settings.outbox_url or urls.postgres)


class _Counters(NamedTuple):
    counted: Counted
    providers: list[ProviderRow]
    apps: int


class _OfRedis(NamedTuple):
    facts: RedisFacts
    workers: list[WorkerFacts]
    beat: bool
    #: Provider -> when its certificate ends, in UNIX seconds.
    ends: dict[int, float]


class _OfPostgres(NamedTuple):
    leads: bool
    dead_letters: DeadLetters


class Target:
    """The pages of the shared state. `apps`: how many have their names. `close` ends its connections."""

    def __init__(self, at: Addresses, *, apps: int) -> None:
        self._limit, self._outbox = apps, at.outbox
        self._redis = connect(at.redis, timeout=_TIMEOUT, retries=0)
        self._known = Keyspace(self._redis)
        self._pool = open_pool(at.postgres, size=4, timeout=_TIMEOUT)
        self._engines = of_carillon(at.redis, at.postgres)
        self._chosen_at = -CHOICE
        self._registry = CollectorRegistry()
        self._registry.register(Shared(self._parts()))

    def pages(self) -> dict[str, Page]:
        """By path. Each may be called from any thread, and bounds its own waits."""
        return {
            "/metrics": pages.metrics(self._registry),
            "/livez": pages.checks(lambda: {"process": None}),
            "/readyz": pages.checks(self._engines.faults),
            "/healthz": health.page(lambda: self._keyspace().fleet),
        }

    def close(self) -> None:
        self._pool.close()
        self._redis.close()

    def _keyspace(self) -> Keyspace:
        """As it is now: the partitions may have been changed."""
        self._known = self._known.renewed()
        return self._known

    def _parts(self) -> "Parts":
        return Parts(
            counters=_cached(self._counters),
            backlog=_cached(self._backlog),
            conditions=_cached(lambda: watch.current(self._keyspace().fleet)),
            redis=_cached(lambda: _of_redis(self._keyspace())),
            silent=_cached(lambda: self._keyspace().answering()[1]),
            postgres=_cached(self._of_postgres),
            outbox=_cached(self._waiting),
        )

    def _counters(self) -> _Counters:
        with self._pool.connection() as db:
            counted = named_apps.read(db)
            fresh = any(app not in counted.sides for app in counted.totals)
            if fresh or time.monotonic() - self._chosen_at >= CHOICE:
                self._chosen_at = time.monotonic()
                named_apps.try_choose(db, self._limit, time.time())
                counted = named_apps.read(db)
            return _Counters(counted, census.providers(db), census.apps(db))

    def _backlog(self) -> Backlog:
        with self._pool.connection() as db:
            taken = cursors.taken(db)
        return backlog.read(self._keyspace().answering()[0], taken)

    def _of_postgres(self) -> "_OfPostgres":
        with self._pool.connection() as db:
            holders = [lease.holder(db, name) for name in self._leases()]
            leads = all(one is not None and one.until > one.now for one in holders)
            return _OfPostgres(leads, census.dead_letters(db))

    def _leases(self) -> Sequence[str]:
        """One a partition. While Redis has never said how many there are, the one of a single partition."""
        try:
            return [lease.lease_of(of.index, tagged=bool(of.names.mark)) for of in self._known]
        except RedisError:
            return [lease.INTAKE]

    def _waiting(self) -> State | None:
        """None: there is no outbox."""
        table = Outbox(self._outbox)
        try:
            return table.state(0)
        except Missing:
            return None
        finally:
            table.close()


@dataclass(frozen=True, slots=True)
class Parts:
    """What is read, each by itself."""

    counters: Cached[_Counters]
    backlog: Cached[Backlog]
    conditions: Cached[Current]
    redis: Cached[_OfRedis]
    #: Partitions whose server does not answer: nothing else has them.
    silent: Cached[dict[int, str]]
    postgres: Cached[_OfPostgres]
    outbox: Cached[State | None]


class Shared(Collector):
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def describe(self) -> list[Metric]:
        """Nothing, so that a registry does not collect to learn names."""
        return []

    def collect(self) -> Iterator[Metric]:
        began, parts, up = time.monotonic(), self._parts, Samples(families.PART_UP)
        of_both = (parts.redis, parts.silent, parts.postgres, parts.outbox)
        for part in (parts.counters, parts.backlog, parts.conditions, *of_both):
            part.begin()
        counters = _value("counters", parts.counters, up)
        of_redis = _value("redis", parts.redis, up)
        there: dict[int, Named] = {}
        if counters is not None:
            kinds = {row.id: _kind(row) for row in counters.providers}
            there = {row.id: Named(row.app, row.name, kinds[row.id]) for row in counters.providers if not row.removed}
            yield from tallied.metrics(counters.counted, kinds)
            ends = {} if of_redis is None else of_redis.ends
            known = {provider: ends[id] for id, provider in there.items() if id in ends}
            yield from state.providers(there.values(), counters.apps, known, time.time())
        for number in _value("partitions", parts.silent, up) or ():
            up.add(0, reading.partition_part(number))
        if of_redis is not None:
            yield from state.engine(of_redis.facts)
            yield from state.fleet(of_redis.workers, beat=of_redis.beat)
        if (of_postgres := _value("postgres", parts.postgres, up)) is not None:
            yield from state.work(of_postgres.leads, of_postgres.dead_letters)
        if (waiting := _value("backlog", parts.backlog, up)) is not None:
            yield from state.backlog(waiting, _named(counters))
        if (current := _value("conditions", parts.conditions, up)) is not None:
            yield from state.conditions(current.conditions, {(one.app, one.name): one.kind for one in there.values()})
        if (outbox := _value("outbox", parts.outbox, up)) is not None:
            yield from state.outbox(outbox)
        yield up.metric()
        yield one(families.SCRAPE_SECONDS, time.monotonic() - began)
        yield build_info()


def _cached(read: Callable[[], Any]) -> Cached[Any]:
    return Cached(read, seconds=FRESH, patience=PATIENCE)


def _value(part: str, cached: Cached[Any], up: Samples) -> Any:
    """What was read; None, and a word in `up`, if it could not be."""
    try:
        found = cached.get()
    except Exception as fault:  # noqa: BLE001 - whatever it is, the other parts are exported
        log.debug("a part of the shared state is not exported", extra={"part": part, "fault": sentence(fault)})
        up.add(0, part)
        return None
    up.add(1, part)
    return found


def _kind(row: ProviderRow) -> str:
    kind = kind_stored_as(row.form)
    return "unknown" if kind is None else kind.name


def _named(counters: _Counters | None) -> set[str]:
    return set() if counters is None else {app for app, side in counters.counted.sides.items() if side.named}


def _of_redis(keyspace: Keyspace) -> _OfRedis:
    fleet = keyspace.fleet
    return _OfRedis(
        reading.of_redis(keyspace.answering()[0]), signs.read(fleet), signs.beat(fleet), reading.certificates(fleet)
    )
