"""The pipeline of one app whose channels are spread over all partitions: one of each partition, in one thread."""

from collections.abc import Iterator
from typing import Any

from producers import events as ev
from producers.partitions import Layout, tags
from producers.routing import channel_in
from tests.integration.pipeline.harness import Pipeline
from worker.core.model import Notification
from worker.reports.invariants import check_invariants
from worker.state.partition import Keyspace


class Spread:
    """`demo` over so many partitions, or those of a layout."""

    def __init__(
        self,
        postgres_url: str,
        redis_url: str,
        partitions: int = 4,
        layout: Layout | None = None,
        keyspace: Keyspace | None = None,
        **settings: Any,
    ) -> None:
        self.layout = layout or Layout(2, tags(partitions), spread=frozenset({"demo"}))
        partitions = self.layout.partitions
        self.home = Pipeline(postgres_url, redis_url, layout=self.layout, keyspace=keyspace, **settings)
        of_home = self.home.partition.index
        self.parts = [
            self.home
            if n == of_home
            else Pipeline(
                postgres_url, redis_url, layout=self.layout, home=self.home, at=n, keyspace=keyspace, **settings
            )
            for n in range(partitions)
        ]
        self.others = [part for part in self.parts if part is not self.home]
        self.redis, self.apns = self.home.redis, self.home.apns

    def channel(self, part: Pipeline, n: int = 0) -> str:
        """The name of the `n`th channel of this partition."""
        names = (f"c{number}" for number in range(10_000))
        of_part = (name for name in names if self.layout.partition_of("demo", name) == part.partition.index)
        return [next(of_part) for _ in range(n + 1)][-1]

    def part_of(self, channel: str) -> Pipeline:
        return self.parts[self.layout.partition_of("demo", channel)]

    def publish(self, *events: ev.AnyEvent) -> None:
        for event in events:
            channel = channel_in(event)
            part = self.home if channel is None else self.part_of(channel)
            part.partition.redis.xadd(part.partition.names.stream_for("demo"), {ev.FIELD: ev.encode(event)})

    def take(self) -> None:
        """What is in the home first, so that no message waits for it."""
        for part in (self.home, *self.others):
            part.partition.redis.sadd(part.partition.keys.APPS(), "demo")
            part.take()

    def expand(self) -> None:
        for part in self.parts:
            part.expand()

    def deliver(self) -> list[dict[str, int]]:
        return [counts for part in self.parts for counts in part.deliver()]

    def run(self) -> list[Notification]:
        """All of it, until nothing waits."""
        before = len(self.apns.sent)
        self.take()
        self.expand()
        self.deliver()
        for part in self.parts:
            part.retire_deferred()
        return self.apns.sent[before:]

    def later(self, seconds: float = 1000.0, *, leases: bool = True) -> None:
        """Time passes, also for what batches have at home. Without `leases` whoever has taken something keeps it."""
        for part in self.parts:
            part.later(seconds, leases=leases)
        if not leases:
            return
        for key in [*self.redis.scan_iter(f"{self.home.partition.prefix}batch:*~*")]:
            self.redis.delete(key)

    def badge(self, device: int) -> int:
        return int(self.home.partition.redis.hget(self.home.partition.keys.BADGE("demo"), str(device)) or 0)

    def check(self) -> list[str]:
        with self.home.pool.connection() as db:
            return check_invariants(self.home.keyspace, db, looks=1)

    def close(self) -> None:
        for part in self.parts:
            part.close()


def used(spread: Spread) -> Iterator[Spread]:
    """Whatever a test did with it, what must hold does when it is over."""
    yield spread
    found = spread.check()
    spread.close()
    assert found == []
