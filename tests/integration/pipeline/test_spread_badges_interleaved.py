"""Any order of what two partitions do to a device, and of what dies: the last push that arrives carries the true badge."""

from collections import defaultdict
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from producers.partitions import Layout, tags
from worker.core.badges import Cleared
from worker.core.batch import Batch, Job, Sending
from worker.core.batch_run import BatchRun, begin
from worker.core.model import AppSettings
from worker.core.outcome import DELIVERED, Drop
from worker.core.remainder import remainder
from worker.pipeline.steps.number_at_home import NumberAtHome, ReleaseAtHome
from worker.pipeline.steps.uncount import Uncount
from worker.pipeline.steps.wait_for_earlier import WaitForEarlier
from worker.state.homes import Homes
from worker.state.journal import DONE, Journal, QueuedBatch, Recorded, Taken
from worker.state.partition import Keyspace
from worker.state.redis import Redis, connect

APP = "demo"
DEVICES = (7, 8)
LAYOUT = Layout(2, tags(2), spread=frozenset({APP}))
NOW = 1_800_000_000.0


class Flight:
    """A batch in a worker's hands."""

    def __init__(self, part: int, run: BatchRun) -> None:
        self.part, self.run, self.sends = part, run, False


class Device:
    """What is true of one."""

    def __init__(self) -> None:
        #: Places of messages that count.
        self.counts: set[int] = set()
        #: What its icon shows; None: nobody has said since its last message was dropped, or it was cleared.
        self.shows: int | None = None
        #: Places of what has arrived, by partition.
        self.arrived: defaultdict[int, list[int]] = defaultdict(list)

    def arrive(self, part: int, place: int) -> None:
        """Of one partition the first time in order."""
        if place not in self.arrived[part]:
            assert place > max(self.arrived[part], default=0)
            self.arrived[part].append(place)


class Badges(RuleBasedStateMachine):
    redis: ClassVar[Redis]

    @initialize()
    def begin(self) -> None:
        self.redis.flushall()
        self.keyspace = Keyspace(self.redis, lambda _: LAYOUT)
        self.journals = [Journal(one, lease=60) for one in self.keyspace.partitions]
        self.homes = [Homes(one, lambda: self.keyspace.partitions) for one in self.keyspace.partitions]
        self.home = self.keyspace.of_app(APP)
        self.flights: list[Flight] = []
        self.devices = {id: Device() for id in DEVICES}
        self.place, self.dropped = 100, set[int]()

    def busy(self, device: int) -> bool:
        return any(
            job.device == device and one.run.outcomes[n] is None
            for one in self.flights
            for n, job in enumerate(one.run.jobs)
        )

    @rule(part=some.integers(0, 1), devices=some.lists(some.sampled_from(DEVICES), min_size=1, max_size=3))
    def message(self, part: int, devices: list[int]) -> None:
        """One for each of these, in one batch."""
        sendings, jobs, entry = [], [], f"{self.place}-0~{part}"
        self.redis.xadd(self.keyspace.partitions[part].names.inlet, {"event": "{}"}, id=f"{self.place}-0")
        for n, device in enumerate(devices):
            self.place += 1
            sendings.append(Sending(entry, f"e{self.place}", "", "", 0, "", place=self.place))
            jobs.append(Job(n, device, "u", "00", 0))
            self.devices[device].counts.add(self.place)
        journal = self.journals[part]
        journal.open([Recorded(entry, APP, self.place)], token=0)
        [opened] = journal.take_messages("urgent", 1)
        queued = QueuedBatch(f"b{self.place}", Batch(APP, 1, "urgent", sendings, jobs))
        assert journal.expand([opened.step(DONE)], [queued], {}, [])[0] == set()

    @rule(part=some.integers(0, 1), dies=some.sampled_from(["", "before", "noted"]))
    def take(self, part: int, dies: str) -> None:
        self._take(part, dies)

    def _take(self, part: int, dies: str = "") -> None:
        taken = self.journals[part].take_batch("urgent")
        if taken is None or dies == "before":
            return
        run = _run(taken)
        step = NumberAtHome(self.journals[part], self.homes[part])
        if dies == "noted" and (home := self.homes[part].of(APP)) is not None:
            home.number(run.id, run.batch, again=run.numbered, lease=60)
            return
        if step(run) == "wait":
            self.journals[part].await_home(run.id, 10.0)
            return
        WaitForEarlier(lambda: NOW)(run)
        flight = Flight(part, run)
        # What is too old stays so, whoever takes it.
        self._drop(flight, [n for n in run.pending() if _place(run, n) in self.dropped])
        self.flights.append(flight)

    @precondition(lambda self: any(not one.sends for one in self.flights))
    @rule(data=some.data())
    def drop(self, data: Any) -> None:
        flight = data.draw(some.sampled_from([one for one in self.flights if not one.sends]))
        if not (pending := flight.run.pending()):
            return
        index = data.draw(some.sampled_from(pending))
        place, device = _place(flight.run, index), self.devices[flight.run.jobs[index].device]
        if place in device.arrived[flight.part]:
            return
        self._drop(flight, [index])
        self.dropped.add(place)
        device.counts.discard(place)
        device.shows = None

    def _drop(self, flight: Flight, indexes: list[int]) -> None:
        flight.run.set_outcome(indexes, Drop("expired"))
        Uncount(self.journals[flight.part], self.homes[flight.part])(flight.run)

    @precondition(lambda self: self.flights)
    @rule(data=some.data())
    def send(self, data: Any) -> None:
        """The pushes of a batch arrive."""
        self._send(data.draw(some.sampled_from(self.flights)))

    def _send(self, flight: Flight) -> None:
        flight.sends = True
        for index in flight.run.pending():
            job = flight.run.jobs[index]
            self.devices[job.device].arrive(flight.part, _place(flight.run, index))
            self.devices[job.device].shows = job.badge
            flight.run.outcomes[index] = DELIVERED

    @precondition(lambda self: self.flights)
    @rule(data=some.data(), dies=some.sampled_from(["", "before", "after"]))
    def finish(self, data: Any, dies: str) -> None:
        self._finish(data.draw(some.sampled_from(self.flights)), dies)

    def _finish(self, flight: Flight, dies: str = "") -> None:
        self.flights.remove(flight)
        if dies == "before":
            return
        if flight.run.pending():
            self._send(flight)
        run = flight.run
        self.place += 1
        again = [
            QueuedBatch(f"b{self.place}.{n}", rest, 0.0, how.behind, put_off=True, takes_over=how.takes_over)
            for n, (how, rest) in enumerate(remainder(run, NOW))
        ]
        self.journals[flight.part].finish(run.id, again, {}, [])
        if dies != "after":
            ReleaseAtHome(self.homes[flight.part], 60)(run)

    @rule(device=some.sampled_from(DEVICES))
    def clear(self, device: int) -> None:
        """The user sees all messages; none of it is on its way."""
        if self.busy(device):
            return
        self.place += 1
        self.journals[self.home.index].clear_badges([Cleared("", APP, [device], [device], self.place)])
        self.devices[device].counts.clear()
        self.devices[device].shows = None

    @rule()
    def what_waits_is_due(self) -> None:
        self._due(leases=False)

    def _due(self, *, leases: bool) -> None:
        for part, journal in zip(self.keyspace, self.journals, strict=True):
            due: Any = self.redis.zrange(part.keys.DUE(), 0, -1)
            for member in due:
                if leases or not self.redis.hexists(part.keys.BATCH(member[2:].decode()), "leased"):
                    self.redis.zadd(part.keys.DUE(), {member: 1})
            self.redis.delete(part.keys.ASKED())
            journal.make_due_ready()

    @precondition(lambda self: not self.flights)
    @rule()
    def leases_end(self) -> None:
        self._due(leases=True)
        for claim in list(self.redis.scan_iter(f"{self.home.prefix}batch:*~*")):
            self.redis.delete(claim)

    def teardown(self) -> None:
        """All of it is sent in the end."""
        if not hasattr(self, "flights"):
            return
        for _ in range(100):
            while self.flights:
                self._finish(self.flights[-1])
            self.leases_end()
            for part in (0, 1):
                self._take(part)
            if not self.flights and not any(journal.ready("b", "urgent") for journal in self.journals):
                break
        else:
            raise AssertionError("batches wait for ever")
        badges: Any = self.redis.hgetall(self.home.keys.BADGE(APP))
        for id, device in self.devices.items():
            assert int(badges.get(str(id).encode(), 0)) == len(device.counts)
            assert device.shows in (None, len(device.counts))


def _place(run: BatchRun, index: int) -> int:
    return run.batch.sendings[run.jobs[index].sending].place


def _run(taken: Taken) -> BatchRun:
    run = begin(taken.id, taken.batch, taken.badges, taken.outcomes, taken.accepted)
    run.app = AppSettings(APP)
    run.numbered, run.waits, run.blocked = taken.numbered, taken.waits, taken.blocked
    return run


@pytest.fixture
def valkey(engine_urls: Any) -> Any:
    client = connect(engine_urls.redis)
    yield client
    client.close()


def test_the_last_push_that_arrives_carries_the_true_badge(valkey: Redis) -> None:
    Badges.redis = valkey
    run_state_machine_as_test(
        Badges,
        settings=settings(
            max_examples=60, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
