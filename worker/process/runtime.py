"""The connections of one process to Postgres, Redis and the providers, and the pipeline built on them.

They are made on first use, and again after a fork: connections and the sender's thread do not survive one.
"""

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from config.secrets import secret_keys
from config.settings import Settings, get_settings
from producers.partitions import Layout, encoded
from worker.database import kept_layout, postgres
from worker.database.devices import Devices
from worker.database.ledger import Ledger
from worker.database.postgres import Connection, Joined, Pool, open_pool
from worker.database.registry import Registry
from worker.embedded import Urls, attach
from worker.metrics.figures import Figures
from worker.pipeline.apps import Apps
from worker.pipeline.bulkhead import Bulkhead
from worker.pipeline.device_upkeep import Upkeep
from worker.pipeline.spans import Export
from worker.process import extras
from worker.process.hand_over import HandOver
from worker.process.partitions import PartitionRuntime, once
from worker.providers import kinds
from worker.providers.base import Context
from worker.reports.history import Sampler
from worker.reports.notes import Notes
from worker.reports.watch import Watch
from worker.state import layout, redis
from worker.state.breaker import Breakers
from worker.state.partition import Fleet, Keyspace
from worker.state.parts import Parts
from worker.state.provider_tokens import ProviderTokens
from worker.state.redis import Redis, connect

if TYPE_CHECKING:
    from worker.process.broker import Broker
    from worker.process.traces import Traces

#: Seconds that parts of the last tick have to end.
_LAST_PART: Final = 10.0


class Runtime:
    """Everything is made on first use, so that a command that needs only Postgres opens nothing else."""

    def __init__(self, settings: Settings, urls: Urls) -> None:
        self.settings, self.urls = settings, urls
        self.making = threading.RLock()
        #: Whether the layout has to be that of the settings, and of Postgres.
        self.compares = True
        #: Tasks of the bulk lane, and their partitions, that found enough others at work.
        self.turned_away: set[tuple[Any, PartitionRuntime]] = set()

    def within(self, db: Connection) -> "Runtime":
        """A runtime whose stores work within the transaction of `db`. It shares the connections of this one: do not close it."""
        other = type(self)(self.settings, self.urls)
        vars(other).update(redis=self.redis, keyspace=self.keyspace, pool=cast("Pool", Joined(db)))
        return other

    @once
    def redis(self) -> Redis:
        return connect(self.urls.redis)

    @once
    def keyspace(self) -> Keyspace:
        return Keyspace(self.redis, self._layout)

    def _layout(self, redis: Redis) -> Layout:
        """As Redis and Postgres have it; each gets it back from the other where it has none."""
        if not self.compares:
            return layout.read(redis)
        # While Redis is away nobody waits for Postgres as well. A change comes into Redis first, so Redis is read last.
        layout.read(redis)
        found = layout.agree(redis, self.settings.partitions, kept_layout.try_read(self.pool))
        if not found.closed:
            kept_layout.try_keep(self.pool, encoded(found))
        return found

    @property
    def fleet(self) -> Fleet:
        return self.keyspace.fleet

    @once
    def partitions(self) -> Sequence[PartitionRuntime]:
        every = self.keyspace.partitions
        return [PartitionRuntime(self, one, alone=len(every) == 1) for one in every]

    def of_app(self, app: str) -> PartitionRuntime:
        """That of the partition in which the app lives: of a spread app its home."""
        return self.partitions[self.keyspace.of_app(app).index]

    def of_channel(self, app: str, channel: str) -> PartitionRuntime:
        """That of the partition of this channel of the app."""
        return self.partitions[self.keyspace.of_channel(app, channel).index]

    def all_of(self, app: str) -> Sequence[PartitionRuntime]:
        """Those of every partition that may hold work of the app, its home first."""
        return [self.partitions[one.index] for one in self.keyspace.all_of(app)]

    def breakers(self, app: str) -> Breakers:
        """The breakers of the app's providers, in all of its partitions."""
        return Breakers(self.keyspace.all_of(app))

    @once
    def pool(self) -> Pool:
        return open_pool(self.urls.postgres, size=self.settings.postgres_pool)

    @once
    def registry(self) -> Registry:
        return Registry(self.pool, secret_keys(self.settings), kinds)

    @once
    def devices(self) -> Devices:
        return Devices(self.pool)

    @once
    def upkeep(self) -> Upkeep:
        return Upkeep(self.pool, self.keyspace)

    @once
    def ledger(self) -> Ledger:
        return Ledger(self.pool)

    @once
    def apps(self) -> Apps:
        return Apps(self.registry, fleet=self.settings.fleet)

    @once
    def clients(self) -> kinds.Clients:
        return kinds.Clients(Context(self.settings, ProviderTokens(self.fleet), self.registry.device_secrets.unseal))

    @once
    def traces(self) -> "Traces | None":
        sample = self.settings.traces_sample
        return extras.traces()(sample) if sample else None

    @property
    def export(self) -> Export | None:
        """What takes the spans of traced events, if they are exported."""
        return None if self.traces is None else self.traces.export

    @once
    def parts(self) -> Parts:
        return Parts(passing=(postgres.Unavailable, *redis.Unavailable, *postgres.Unready))

    @once
    def hand_over(self) -> HandOver:
        return HandOver(within=self.bulkhead.urgent)

    @once
    def watch(self) -> Watch:
        return Watch(self.keyspace, self.pool)

    @once
    def sampler(self) -> Sampler:
        return Sampler(self.keyspace, self.pool)

    @once
    def notes(self) -> Notes:
        return Notes(self.fleet, self.apps.providers, self.registry.open, self.registry.device_secrets)

    @once
    def bulkhead(self) -> Bulkhead:
        return Bulkhead()

    @once
    def broker(self) -> "Broker":
        from worker.process.broker import Broker  # noqa: PLC0415 most commands have no use for Celery

        return Broker(self.settings, self.redis)

    def figures(self) -> Figures:
        """Numbers of what was made so far."""
        made = vars(self)
        return Figures(
            senders=self.clients.stats() if "clients" in made else {},
            threads=self.bulkhead.figures(),
            batches=sum(one.in_flight for one in self.partitions) if "partitions" in made else 0,
            pool=self.pool.get_stats() if "pool" in made else {},
        )

    def close(self) -> None:
        made = vars(self)
        if "parts" in made:
            self.parts.join(_LAST_PART)
        if "clients" in made:
            self.clients.close()
        if "traces" in made and self.traces is not None:
            self.traces.close()
        if "broker" in made:
            self.broker.close()
        if "pool" in made:
            self.pool.close()
        if "redis" in made:
            self.redis.close()


class _Current:
    """This process's runtime."""

    lock = threading.Lock()
    pid = 0
    runtime: Runtime | None = None


def get_runtime() -> Runtime:
    """The runtime of this process, on the engines that its settings name."""
    if _Current.runtime is None or _Current.pid != os.getpid():
        with _Current.lock:
            if _Current.runtime is None or _Current.pid != os.getpid():
                settings = get_settings()
                _Current.runtime, _Current.pid = Runtime(settings, attach(settings)), os.getpid()
    return _Current.runtime


def close_runtime() -> None:
    """Closes this process's runtime; the next `get_runtime` makes another."""
    with _Current.lock:
        if _Current.runtime is not None and _Current.pid == os.getpid():
            _Current.runtime.close()
        _Current.runtime = None
