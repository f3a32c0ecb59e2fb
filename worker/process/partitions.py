"""What a process has of each partition: its journal and streams, and the pipeline built on them. All is made on first use."""

import random
import secrets
import threading
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeVar, cast

from config.settings import Settings
from worker.core.lazy import lazy
from worker.database.devices import Devices
from worker.database.ledger import Ledger
from worker.database.postgres import Pool
from worker.database.standings import Standings
from worker.facts.base import Sources
from worker.pipeline.apps import Apps
from worker.pipeline.bulkhead import Bulkhead
from worker.pipeline.deferred_retirement import DeferredRetirement
from worker.pipeline.delivery import Delivery
from worker.pipeline.digests import Digests
from worker.pipeline.due_users import DueUsers
from worker.pipeline.expansion.fan_out import FanOut
from worker.pipeline.origins import DeviceOrigins
from worker.pipeline.recorder import Recorder
from worker.pipeline.reminders import Reminders
from worker.pipeline.spans import Export
from worker.process.deliverers import Deliverers
from worker.process.expanders import EXPANDERS, Expanders
from worker.providers import kinds
from worker.state.breaker import Breaker
from worker.state.deferred import DeferredDevices
from worker.state.homes import Homes
from worker.state.journal import Journal
from worker.state.limiter import Limiter
from worker.state.origins import Origins
from worker.state.partition import Keyspace, Partition
from worker.state.streams import Streams

#: Jobs in a batch over httpx, which sends some hundreds a second. In a larger batch some would miss their deadline.
HTTPX_BATCH: Final = 50

_T = TypeVar("_T")


class Maker(Protocol):
    """What makes its parts on first use. `making` is the lock that it holds meanwhile."""

    making: threading.RLock


class Process(Maker, Protocol):
    """What all partitions of a process share: its `Runtime`."""

    settings: Settings

    @property
    def keyspace(self) -> Keyspace: ...
    @property
    def partitions(self) -> "Sequence[PartitionRuntime]": ...
    @property
    def pool(self) -> Pool: ...
    @property
    def apps(self) -> Apps: ...
    @property
    def devices(self) -> Devices: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def clients(self) -> kinds.Clients: ...
    @property
    def bulkhead(self) -> Bulkhead: ...
    @property
    def export(self) -> Export | None: ...


class once(lazy[_T]):  # noqa: N801 used as the decorator that it extends
    """A `lazy` value of a `Maker` that threads do not work out twice."""

    def of(self, instance: object) -> _T:
        with cast("Maker", instance).making:
            return super().of(instance)


class PartitionRuntime:
    """One partition's part of a `Runtime`. Apps, providers, clients and the bulkhead are those of the process."""

    def __init__(self, runtime: Process, partition: Partition, *, alone: bool) -> None:
        self._runtime, self.partition, self._alone = runtime, partition, alone
        self.making = runtime.making

    @property
    def index(self) -> int:
        return self.partition.index

    @once
    def journal(self) -> Journal:
        # Where there are others, what is ready of these must not wait for the server of this one.
        gate = None if self._alone else self.partition.gate
        return Journal(self.partition, lease=self._runtime.settings.lease_seconds, gate=gate)

    @once
    def streams(self) -> Streams:
        return Streams(self.partition)

    @once
    def breaker(self) -> Breaker:
        return Breaker(self.partition)

    @once
    def sources(self) -> Sources:
        return Sources(self._runtime.pool, self.partition)

    @once
    def homes(self) -> Homes:
        return Homes(self.partition, None if self._alone else lambda: self._runtime.keyspace.partitions)

    @once
    def expanders(self) -> Expanders:
        # With several partitions each is expanded on its own, by one task a process.
        return Expanders(EXPANDERS if self._alone else 1)

    @once
    def deliverers(self) -> Deliverers:
        return Deliverers()

    @once
    def fan_out(self) -> FanOut:
        runtime = self._runtime
        return FanOut(
            runtime.pool,
            self.partition,
            self.journal,
            runtime.apps,
            page=runtime.settings.fan_out_page,
            batch=self._batch,
            now=time.time,
            new_id=_new_id,
            export=runtime.export,
            homes=self.homes,
        )

    @once
    def due_users(self) -> Sequence[DueUsers[Any]]:
        """What tells users whose time has come."""
        apps = self._runtime.apps
        origins = DeviceOrigins(apps, Origins(self.partition)).of
        return [
            of(self.sources, self.journal, apps, origins, batch=self._batch, now=time.time, new_id=_new_id)
            for of in (Digests, Reminders)
        ]

    @once
    def deferred_retirement(self) -> DeferredRetirement:
        runtime = self._runtime
        deferred = DeferredDevices(self.partition)
        return DeferredRetirement(deferred, self.breaker, runtime.devices, name=runtime.apps.provider_name)

    @once
    def delivery(self) -> Delivery:
        runtime = self._runtime
        delivery = Delivery(
            self.journal,
            runtime.devices,
            runtime.apps,
            runtime.clients.of,
            self.breaker,
            Limiter(self.partition),
            self.deferred_retirement,
            Standings(runtime.pool),
            self.sources,
            timeout=runtime.settings.apns_timeout,
            now=time.time,
            random=random.random,
            new_id=_new_id,
            add_dead_letter=runtime.ledger.add_dead_letter,
            bulkhead=runtime.bulkhead,
            export=runtime.export,
            homes=self.homes,
            recorder=self.recorder,
        )
        self.recorder.is_left = self.deliverers.is_left
        return delivery

    @once
    def recorder(self) -> Recorder:
        # One thread writes for all partitions of one server; it must not wait for another server.
        first = self._runtime.partitions[0]
        with_first = first is not self and first.partition.redis is self.partition.redis
        return Recorder(self.journal, time.time, first.recorder if with_first else None)

    @property
    def in_flight(self) -> int:
        """Batches that this process sends now."""
        return self.recorder.in_flight if "delivery" in vars(self) else 0

    @property
    def _batch(self) -> int:
        """Jobs in a batch: within a deadline httpx sends a tenth of what our own engine sends."""
        settings = self._runtime.settings
        chosen = settings.deliver_batch
        return chosen if settings.apns_transport == "http2" else min(chosen, HTTPX_BATCH)


def _new_id() -> str:
    return secrets.token_hex(8)
