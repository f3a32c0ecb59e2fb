"""The connections of one process to Postgres, Redis and the providers, and the pipeline built on them.

They are made on first use, and again after a fork: connections and the sender's thread do not survive one.
"""

import os
import random
import secrets
import threading
import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast, overload

from config.secrets import secret_keys
from config.settings import Settings, get_settings
from worker.database.devices import Devices
from worker.database.ledger import Ledger
from worker.database.postgres import Connection, Joined, Pool, open_pool
from worker.database.registry import Registry
from worker.database.standings import Standings
from worker.embedded import Urls, attach
from worker.facts.base import Sources
from worker.metrics.figures import Figures
from worker.pipeline.apps import Apps
from worker.pipeline.bulkhead import Bulkhead
from worker.pipeline.deferred_retirement import DeferredRetirement
from worker.pipeline.delivery import Delivery
from worker.pipeline.device_upkeep import Upkeep
from worker.pipeline.digests import Digests
from worker.pipeline.due_users import DueUsers
from worker.pipeline.expansion.fan_out import FanOut
from worker.pipeline.origins import DeviceOrigins
from worker.pipeline.reminders import Reminders
from worker.pipeline.spans import Export
from worker.process import extras
from worker.process.expanders import Expanders
from worker.process.hand_over import HandOver
from worker.providers import kinds
from worker.providers.base import Context
from worker.reports.history import Sampler
from worker.reports.notes import Notes
from worker.reports.watch import Watch
from worker.state.breaker import Breaker
from worker.state.deferred import DeferredDevices
from worker.state.journal import Journal
from worker.state.limiter import Limiter
from worker.state.origins import Origins
from worker.state.partition import Fleet, Keyspace, Partition
from worker.state.provider_tokens import ProviderTokens
from worker.state.redis import Redis, connect
from worker.state.streams import Streams

if TYPE_CHECKING:
    from worker.process.broker import Broker
    from worker.process.traces import Traces

#: Jobs in a batch over httpx, which sends some hundreds a second. In a larger batch some would miss their deadline.
HTTPX_BATCH: Final = 50


_T = TypeVar("_T")


class once(cached_property[_T]):  # noqa: N801 used as the decorator that it extends
    """A `cached_property` that threads do not make twice; since Python 3.12 the standard one lets them."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> _T: ...
    def __get__(self, instance: object, owner: type[Any] | None = None) -> Self | _T:
        if not isinstance(instance, Runtime):
            return self
        with instance.making:
            return super().__get__(instance, owner)


class Runtime:
    """Everything is made on first use, so that a command that needs only Postgres opens nothing else."""

    def __init__(self, settings: Settings, urls: Urls) -> None:
        self.settings, self.urls = settings, urls
        self.making = threading.RLock()

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
        return Keyspace(self.redis)

    @property
    def fleet(self) -> Fleet:
        return self.keyspace.fleet

    @property
    def partition(self) -> Partition:
        return self.keyspace.partitions[0]

    @once
    def pool(self) -> Pool:
        return open_pool(self.urls.postgres, size=self.settings.postgres_pool)

    @once
    def journal(self) -> Journal:
        return Journal(self.partition, lease=self.settings.lease_seconds)

    @once
    def streams(self) -> Streams:
        return Streams(self.partition)

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
    def expanders(self) -> Expanders:
        return Expanders()

    @once
    def hand_over(self) -> HandOver:
        return HandOver()

    @once
    def fan_out(self) -> FanOut:
        return FanOut(
            self.pool,
            self.partition,
            self.journal,
            self.apps,
            page=self.settings.fan_out_page,
            batch=self._batch,
            now=time.time,
            new_id=_new_id,
            export=self.export,
        )

    @once
    def due_users(self) -> Sequence[DueUsers[Any]]:
        """What tells users whose time has come."""
        origins = DeviceOrigins(self.apps, Origins(self.partition)).of
        sources = Sources(self.pool, self.partition)
        return [
            of(sources, self.journal, self.apps, origins, batch=self._batch, now=time.time, new_id=_new_id)
            for of in (Digests, Reminders)
        ]

    @once
    def breaker(self) -> Breaker:
        return Breaker(self.partition)

    @once
    def watch(self) -> Watch:
        return Watch(self.keyspace, self.pool)

    @once
    def sampler(self) -> Sampler:
        return Sampler(self.keyspace, self.pool)

    @once
    def notes(self) -> Notes:
        return Notes(self.fleet, self.apps.providers, self.registry.device_secrets)

    @once
    def deferred_retirement(self) -> DeferredRetirement:
        return DeferredRetirement(
            DeferredDevices(self.partition), self.breaker, self.devices, name=self.apps.provider_name
        )

    @once
    def bulkhead(self) -> Bulkhead:
        return Bulkhead()

    @once
    def delivery(self) -> Delivery:
        return Delivery(
            self.journal,
            self.devices,
            self.apps,
            self.clients.of,
            self.breaker,
            Limiter(self.partition),
            self.deferred_retirement,
            Standings(self.pool),
            Sources(self.pool, self.partition),
            timeout=self.settings.apns_timeout,
            now=time.time,
            random=random.random,
            new_id=_new_id,
            add_dead_letter=self.ledger.add_dead_letter,
            bulkhead=self.bulkhead,
            export=self.export,
        )

    @property
    def _batch(self) -> int:
        """Jobs in a batch: within a deadline httpx sends a tenth of what our own engine sends."""
        chosen = self.settings.deliver_batch
        return chosen if self.settings.apns_transport == "http2" else min(chosen, HTTPX_BATCH)

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
            batches=self.delivery.recorder.in_flight if "delivery" in made else 0,
            pool=self.pool.get_stats() if "pool" in made else {},
        )

    def close(self) -> None:
        made = vars(self)
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


def _new_id() -> str:
    return secrets.token_hex(8)


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
