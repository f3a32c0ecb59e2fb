"""Any order of what several partitions do to a device, and of what dies, is slow, or gives no answer.

The notifications of a channel arrive at a device in their order, as they would from one partition, and the last push that arrives
carries the true badge.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from producers.partitions import Layout, tags
from worker.core import recorded_outcome
from worker.core.badges import Cleared
from worker.core.batch import Batch, Job, Sending
from worker.core.batch_run import BatchRun, begin
from worker.core.model import AppSettings
from worker.core.outcome import DELIVERED, Drop, Retry
from worker.core.remainder import remainder
from worker.pipeline.steps.number_at_home import BUSY, NumberAtHome, ReleaseAtHome
from worker.pipeline.steps.uncount import Uncount
from worker.pipeline.steps.wait_for_earlier import WaitForEarlier
from worker.state.homes import AWAY, HomeAwayError, Homes
from worker.state.journal import DONE, Journal, QueuedBatch, Recorded, Taken
from worker.state.partition import Keyspace
from worker.state.redis import Redis, connect

APP = "demo"
DEVICES = (7, 8, 9)
#: The app is at home in partition 1.
LAYOUT = Layout(2, tags(3), spread=frozenset({APP}))
PARTS = some.sampled_from([2, 2, 1, 0])
#: Whether home gets what it is asked, and is heard.
HOME = some.sampled_from(["", "", "", "deaf", "mute"])


class Flight:
    """A batch in a worker's hands."""

    def __init__(self, part: int, run: BatchRun) -> None:
        self.part, self.run = part, run
        #: Its worker was away for longer than the lease: others may have the batch.
        self.late = False

    @property
    def sends(self) -> bool:
        return bool(self.run.sent)


class Device:
    """What is true of one."""

    def __init__(self) -> None:
        #: Places of messages that count.
        self.counts: set[int] = set()
        #: What its icon shows; None: nobody has said since its last message was dropped, or it was cleared.
        self.shows: int | None = None
        #: Places of what has arrived, by channel.
        self.arrived: defaultdict[str, list[int]] = defaultdict(list)

    def arrive(self, channel: str, place: int) -> None:
        """Of one channel the first time in order."""
        if place not in self.arrived[channel]:
            assert place > max(self.arrived[channel], default=0), f"{place} after {self.arrived[channel]}"
            self.arrived[channel].append(place)


class Spread(RuleBasedStateMachine):
    redis: ClassVar[Redis]

    @initialize()
    def begin(self) -> None:
        self.redis.flushall()
        self.keyspace = Keyspace(self.redis, lambda _: LAYOUT)
        self.journals = [Journal(one, lease=60) for one in self.keyspace.partitions]
        self.homes = [Homes(one, lambda: self.keyspace.partitions) for one in self.keyspace.partitions]
        self.home = self.keyspace.of_app(APP)
        self.ear = ""
        for homes in self.homes:
            if (home := homes.of(APP)) is not None:
                home._asked = self._through_its_ear(home._asked)  # type: ignore[method-assign, assignment]
        self.flights: list[Flight] = []
        self.devices = {id: Device() for id in DEVICES}
        self.place, self.dropped = 100, set[int]()

    def _through_its_ear(self, asked: Callable[[Callable[[], Any]], Any]) -> Callable[[Callable[[], Any]], Any]:
        def ask(call: Callable[[], Any]) -> Any:
            if self.ear != "deaf":
                answer = asked(call)
            if self.ear:
                raise HomeAwayError(self.home.index)
            return answer

        return ask

    def _near(self, device: int) -> bool:
        return any(
            job.device == device and one.run.outcomes[n] is None
            for one in self.flights
            for n, job in enumerate(one.run.jobs)
        )

    # messages

    @rule(
        part=PARTS,
        channel=some.sampled_from("xy"),
        devices=some.lists(some.sampled_from(DEVICES), min_size=1, max_size=2),
    )
    def message(self, part: int, channel: str, devices: list[int]) -> None:
        """One for each of these, in one batch."""
        sendings, jobs, entry = [], [], f"{self.place}-0~{part}"
        self.redis.xadd(self.keyspace.partitions[part].names.inlet, {"event": "{}"}, id=f"{self.place}-0")
        for n, device in enumerate(devices):
            self.place += 1
            sendings.append(
                Sending(entry, f"e{self.place}", "", "", 0, "", channel=f"{channel}{part}", place=self.place)
            )
            jobs.append(Job(n, device, "u", "00", 0))
            self.devices[device].counts.add(self.place)
        journal = self.journals[part]
        journal.open([Recorded(entry, APP, self.place)], token=0)
        [opened] = journal.take_messages("urgent", 1)
        queued = QueuedBatch(f"b{self.place}", Batch(APP, 1, "urgent", sendings, jobs))
        assert journal.expand([opened.step(DONE)], [queued], {}, [])[0] == set()

    @rule(device=some.sampled_from(DEVICES))
    def clear(self, device: int) -> None:
        """The user sees all messages; none of it is on its way."""
        if self._near(device):
            return
        self.place += 1
        self.journals[self.home.index].clear_badges([Cleared("", APP, [device], [device], self.place)])
        self.devices[device].counts.clear()
        self.devices[device].shows = None

    # a worker's steps, in the order of `worker/pipeline/delivery.py`

    @rule(
        part=PARTS,
        after=some.booleans(),
        dies=some.sampled_from([False, False, False, True]),
        ear=HOME,
        drops=some.sampled_from(["", "", "", "last", "all"]),
    )
    def take(self, part: int, after: bool, dies: bool, ear: str, drops: str) -> None:
        """`after`: some time. `drops`: the last job is too old, or the provider is gone."""
        if after:
            self._pass(part)
        self.ear = ear
        self._take(part, dies=dies, drops=drops)
        self.ear = ""

    def take_late(self, part: int, *, drops: str = "") -> None:
        self._pass(part)
        self._take(part, drops=drops)

    def _take(self, part: int, *, dies: bool = False, drops: str = "") -> None:
        if (taken := self.journals[part].take_batch("urgent")) is None or dies:
            return
        run = _run(taken)
        flight = Flight(part, run)
        young = [n for n in run.pending() if not self._has_arrived(run, n)]
        if drops == "all" and len(young) == len(run.pending()):
            self._drop(run, young)
            self.flights.append(flight)
            return
        if drops == "last":
            self._drop(run, young[-1:])
        # What is too old stays so, whoever takes it.
        run.set_outcome([n for n in run.pending() if _place(run, n) in self.dropped], Drop("expired"))
        try:
            if NumberAtHome(self.journals[part], self.homes[part])(run) == "wait":
                self._uncount(flight)
                ReleaseAtHome(self.homes[part], 60)(run, done=False)
                self._await_home(flight, BUSY)
                return
            WaitForEarlier(time.time)(run)
            self._uncount(flight)
        except HomeAwayError:
            self._await_home(flight, AWAY)
            return
        self.flights.append(flight)

    def _await_home(self, flight: Flight, seconds: float) -> None:
        run, journal = flight.run, self.journals[flight.part]
        if run.sent or run.uncounted:
            to_uncount = {*run.to_uncount()}
            outcomes = [None if n in to_uncount else outcome for n, outcome in enumerate(run.outcomes)]
            journal.mark(run.id, recorded_outcome.encode(outcomes))
        journal.await_home(run.id, seconds)

    def _has_arrived(self, run: BatchRun, index: int) -> bool:
        return _place(run, index) in self.devices[run.jobs[index].device].arrived[_channel(run, index)]

    def _drop(self, run: BatchRun, indexes: list[int]) -> None:
        run.set_outcome(indexes, Drop("expired"))
        for index in indexes:
            self.dropped.add(_place(run, index))
            # What was tried may be on its way, and counts.
            if not run.jobs[index].tried:
                self.devices[run.jobs[index].device].counts.discard(_place(run, index))

    def _uncount(self, flight: Flight) -> None:
        run = flight.run
        Uncount(self.journals[flight.part], self.homes[flight.part])(run)
        for device in run.devices(n for n, outcome in enumerate(run.outcomes) if isinstance(outcome, Drop)):
            self.devices[device].shows = None

    @precondition(lambda self: any(not one.sends for one in self.flights))
    @rule(data=some.data())
    def drop(self, data: Any) -> None:
        flight = data.draw(some.sampled_from([one for one in self.flights if not one.sends]))
        pending = [n for n in flight.run.pending() if not self._has_arrived(flight.run, n)]
        if not pending or flight.late:
            return
        self._drop(flight.run, [data.draw(some.sampled_from(pending))])
        self._uncount(flight)

    @precondition(lambda self: any(not one.late for one in self.flights))
    @rule(data=some.data())
    def arrive(self, data: Any) -> None:
        """What a batch has for one device."""
        flight = data.draw(some.sampled_from([one for one in self.flights if not one.late]))
        if pending := flight.run.pending():
            self._arrive(flight, flight.run.jobs[data.draw(some.sampled_from(pending))].device)

    def _arrive(self, flight: Flight, device: int | None = None) -> None:
        run = flight.run
        for index in run.pending():
            run.sent.add(index)
            job = run.jobs[index]
            if device in (None, job.device):
                self.devices[job.device].arrive(_channel(run, index), _place(run, index))
                self.devices[job.device].shows = run.badges[index]
                run.outcomes[index] = DELIVERED

    @precondition(lambda self: any(one.sends and not one.late for one in self.flights))
    @rule(data=some.data(), ear=HOME)
    def record(self, data: Any, ear: str) -> None:
        """What has arrived is written down, and its devices are others' again."""
        flight = data.draw(some.sampled_from([one for one in self.flights if one.sends and not one.late]))
        run = flight.run
        self.journals[flight.part].record([(run.id, run.delivered())])
        if not run.claims or (home := self.homes[flight.part].of(APP)) is None:
            return
        self.ear = ear
        free = run.devices(run.delivered()) - run.devices(
            n for n, outcome in enumerate(run.outcomes) if outcome is None
        )
        with suppress(HomeAwayError):
            home.renew([(run.id, sorted(free))], 60)
        self.ear = ""

    @precondition(lambda self: self.flights)
    @rule(
        data=some.data(),
        dies=some.sampled_from(["", "", "before", "after"]),
        refuse=some.sets(some.sampled_from(DEVICES)),
        ear=HOME,
    )
    def finish(self, data: Any, dies: str, refuse: set[int], ear: str) -> None:
        self.ear = ear
        self.send(data.draw(some.sampled_from(self.flights)), dies, refuse)
        self.ear = ""

    def send(self, flight: Flight, dies: str = "", refuse: set[int] | None = None) -> None:
        """`refuse`: devices whose push service wants to be asked again for the first of what is left."""
        self.flights.remove(flight)
        run, journal, homes = flight.run, self.journals[flight.part], self.homes[flight.part]
        if dies == "before" or (flight.late and run.pending()):
            return
        before = run.pending()
        for index in before:
            if run.outcomes[index] is None and run.jobs[index].device in (refuse or ()):
                run.outcomes[index] = Retry(5.0, "TooManyRequests")
                run.sent.add(index)
                run.wait_with_earlier(before)
        self._arrive(flight)
        try:
            self._uncount(flight)
        except HomeAwayError:
            self._await_home(flight, AWAY)
            return
        self.place += 1
        again = [
            QueuedBatch(f"b{self.place}.{n}", rest, how.delay, how.behind, put_off=True, takes_over=how.takes_over)
            for n, (how, rest) in enumerate(remainder(run, time.time()))
        ]
        journal.finish(run.id, again, {}, [])
        if dies != "after":
            ReleaseAtHome(homes, 60)(run)

    @precondition(lambda self: any(not one.sends and not one.late for one in self.flights))
    @rule(data=some.data())
    def return_(self, data: Any) -> None:
        """Too many threads send already."""
        self.give_back(data.draw(some.sampled_from([one for one in self.flights if not one.sends and not one.late])))

    def give_back(self, flight: Flight) -> None:
        self.flights.remove(flight)
        self.journals[flight.part].return_batch(flight.run.id)
        ReleaseAtHome(self.homes[flight.part], 60)(flight.run, done=False)

    def badge(self, device: int) -> int:
        return int(self.redis.hget(self.home.keys.BADGE(APP), str(device)) or 0)

    # time

    def _pass(self, part: int) -> None:
        """Whoever has something has had it for long enough that others go on without these devices. What waits is due."""
        for key in list(self.redis.scan_iter(f"{self.keyspace.partitions[part].prefix}batch:*")):
            if self.redis.hexists(key, "taken"):
                self.redis.hset(key, "taken", "1.000")
        self._due(part, leases=False)

    def _due(self, part: int, *, leases: bool) -> None:
        of = self.keyspace.partitions[part]
        waiting: Any = self.redis.zrange(of.keys.DUE(), 0, -1)
        is_leased = {one: self.redis.hexists(of.keys.BATCH(one[2:].decode()), "leased") for one in waiting}
        due = [one for one in waiting if leases or not is_leased[one]]
        for member in due:
            self.redis.zadd(of.keys.DUE(), {member: 1})
        self.redis.delete(of.keys.ASKED())
        self.journals[part].make_due_ready()

    @precondition(lambda self: all(one.late or not one.sends or not one.run.pending() for one in self.flights))
    @rule()
    def leases_end(self) -> None:
        """Of workers that have not begun to send, or have nothing left to send."""
        for flight in self.flights:
            flight.late = True
        for part in range(LAYOUT.partitions):
            self._due(part, leases=True)
        for claim in list(self.redis.scan_iter(f"{self.home.prefix}batch:*~*")):
            self.redis.delete(claim)

    def teardown(self) -> None:
        """All of it is sent in the end."""
        if not hasattr(self, "flights"):
            return
        for _ in range(100):
            while self.flights:
                self.send(self.flights[-1])
            self.leases_end()
            for part in range(LAYOUT.partitions):
                self._take(part)
            if not self.flights and not any(journal.ready("b", "urgent") for journal in self.journals):
                break
        else:
            raise AssertionError("batches wait for ever")
        for id, device in self.devices.items():
            assert self.badge(id) == len(device.counts), f"the badge of {id}"
            assert device.shows in (None, len(device.counts)), f"what {id} shows"


def _place(run: BatchRun, index: int) -> int:
    return run.batch.sendings[run.jobs[index].sending].place


def _channel(run: BatchRun, index: int) -> str:
    return run.batch.sendings[run.jobs[index].sending].channel


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


def test_a_channel_stays_in_order_and_the_last_push_carries_the_true_badge(valkey: Redis) -> None:
    Spread.redis = valkey
    run_state_machine_as_test(
        Spread,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.fixture
def spread(valkey: Redis) -> Iterator[Spread]:
    """What must hold does when all of it is sent."""
    Spread.redis = valkey
    state = Spread()
    state.begin()
    yield state
    state.teardown()


OTHER = 2


def test_what_is_handed_back_stays_before_what_waits_for_it(spread: Spread) -> None:
    """While the last of three is sent without the device that it waits for, the one before it is returned unsent."""
    for devices in ([7], [7, 8], [7, 9]):
        spread.message(OTHER, "x", devices)
    for flights in (1, 2, 3):
        spread.take_late(OTHER)
        assert len(spread.flights) == flights
    first, second, third = spread.flights
    spread.give_back(second)
    spread.take_late(OTHER)
    spread.send(third)
    spread.take_late(OTHER)
    assert len(spread.flights) == 2
    spread.send(first)


def test_a_part_that_is_dropped_before_home_is_asked_gives_its_numbers_back(spread: Spread) -> None:
    """As where its provider is gone."""
    spread.message(spread.home.index, "x", [7])
    spread.message(OTHER, "x", [7, 8])
    spread.take_late(spread.home.index)
    spread.take_late(OTHER)
    spread.send(spread.flights[-1])
    assert spread.badge(7) == 2
    spread.take_late(OTHER, drops="all")
    spread.send(spread.flights[-1])
    assert spread.badge(7) == 1


def test_a_batch_that_waits_for_devices_has_given_back_what_it_drops(spread: Spread) -> None:
    spread.message(spread.home.index, "x", [7])
    spread.take_late(spread.home.index)
    spread.message(OTHER, "x", [7, 8])
    spread.take_late(OTHER, drops="last")
    assert len(spread.flights) == 1
    assert (spread.badge(7), spread.badge(8)) == (2, 0)
