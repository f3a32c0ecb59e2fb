"""An app that is spread over the partitions: what a leader of each has, on the engines of one `Pipeline`, whose is the home."""

import secrets
from collections.abc import Sequence
from functools import partial

from producers import Publisher
from producers import events as ev
from tests.integration.pipeline.harness import Pipeline
from worker.database import cursors
from worker.database.lease import Lease, lease_of
from worker.pipeline.barrier import Barrier
from worker.pipeline.expansion.fan_out import FanOut
from worker.pipeline.intake import Intake
from worker.pipeline.rounds import Rounds
from worker.state.journal import Journal
from worker.state.leader_hint import LeaderHint
from worker.state.partition import Partition
from worker.state.streams import Streams


class Leading:
    """One partition's leader, and what expands there. A leader `leads` when it is asked to, and not before."""

    def __init__(self, pipeline: Pipeline, partition: Partition) -> None:
        self.pipeline, self.partition = pipeline, partition
        self.journal = Journal(partition, lease=15.0)
        self.woken: list[int] = []
        self._rounds: Rounds | None = None
        self.lease = self._new_lease()
        self.fan_out = FanOut(
            *(pipeline.pool, partition, self.journal, pipeline.apps),
            page=1000,
            batch=500,
            now=lambda: pipeline.now,
            new_id=lambda: secrets.token_hex(8),
        )

    def _new_lease(self) -> Lease:
        name = lease_of(self.partition.index, tagged=True)
        return Lease(self.pipeline.pool, LeaderHint(self.partition), owner=f"p{self.partition.index}", name=name)

    def killed(self) -> None:
        """The leader ends without a word; the next step is another one's, which need not wait for the lease to end."""
        self.lease.release()
        self._rounds = None

    def step(self, rounds: int = 1) -> int:
        """So many rounds; returns how many entries were applied."""
        pipeline = self.pipeline
        if self._rounds is None:
            assert self.lease.acquire()
            intake = Intake(
                *(self.partition, self.journal, pipeline.apps),
                transaction=self.lease.transaction,
                clock=self.lease.clock,
                at_once=self.lease.at_once,
                draw=partial(cursors.draw_at_once, pipeline.pool),
                wake=self.woken.append,
            )
            self._rounds = Rounds(
                *(Streams(self.partition), intake, self.journal, pipeline.apps, self.lease),
                batch=500,
                max_open=20_000,
                paces={},
                barrier=Barrier(pipeline.keyspace, self.partition, pipeline.pool),
            )
            self._rounds.begin()
        self._rounds.look()
        return sum(self._rounds.step(wait=0.001) for _ in range(rounds))

    def expand(self) -> int:
        """Returns how many batches it made."""
        found = 0
        while opened := self.journal.take_messages("urgent", 100):
            found += self.fan_out.expand(opened).batches.total()
        return found


class SpreadApp:
    """The app `demo` over four partitions; `publisher` is a chat server's."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.leaders: Sequence[Leading] = [Leading(pipeline, of) for of in pipeline.keyspace]
        self.home = self.leaders[pipeline.partition.index]
        self.publisher = Publisher(pipeline.redis_url)

    def of(self, channel: str) -> Leading:
        return self.leaders[self.pipeline.keyspace.of_channel("demo", channel).index]

    def elsewhere(self, n: int = 0) -> str:
        """A channel whose partition is not the home, the `n`-th of these."""
        names = (name for name in map("c{}".format, range(1_000)) if self.of(name) is not self.home)
        return next(name for at, name in enumerate(names) if at == n)

    def publish(self, *events: ev.AnyEvent) -> None:
        self.publisher.publish_many(events)

    def drain(self) -> None:
        """Every leader until nothing is left."""
        while sum(leader.step(2) for leader in (self.home, *self.leaders)):
            pass

    def close(self) -> None:
        self.publisher.close()
