"""Whatever stops, refuses and dies while four workers deliver, each conversation keeps its order and the last badge is true."""

import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.integration.pipeline.harness import START, Pipeline, message, user_of
from worker.core.model import ACCEPTED, HELD_UP, Answer, NoAnswer, Response
from worker.state import journal
from worker.state.breaker import Breaker
from worker.state.journal import PATIENCE, SOON

USERS = [f"u{n}" for n in range(12)]
CHANNELS = [f"c{n}" for n in range(4)]
FAULTS = (
    Answer(503, "ServiceUnavailable"),
    Answer(429, "TooManyRequests"),
    NoAnswer("unknown", "reset"),
    NoAnswer("not_sent", "connect failed"),
)


class Died(BaseException):
    """The worker is gone in the middle of a batch."""


class Trouble:
    """APNs that refuses a tenth, with `bad` all; workers die in the middle of some batches. `over` ends it."""

    def __init__(self, seed: int) -> None:
        self.chance, self.lock = random.Random(seed), threading.Lock()
        self.accepted: dict[str, list[tuple[str, str, int]]] = {user: [] for user in USERS}
        self.bad = self.over = False

    def send(self, provider, notifications, *, following, seen, **how):
        before = {after: place for place, after in following.items()}
        dies = not self.over and self.chance.random() < 0.03
        for place, one in enumerate(notifications):
            held = place in before and seen[before[place]] is not ACCEPTED
            seen[place] = HELD_UP if held else self.arrive(one)
            time.sleep(self.chance.random() * 0.002)
            if dies and place > len(notifications) / 2:
                time.sleep(0.08)  # what was answered is written down meanwhile
                raise Died
        return list(seen)

    def arrive(self, notification) -> Response:
        with self.lock:
            if not self.over and self.bad:
                return Answer(403, "InvalidProviderToken")
            if not self.over and self.chance.random() < 0.1:
                return self.chance.choice(FAULTS)
            document = json.loads(notification.payload)
            carried = document["carillon"]
            self.accepted[user_of(notification)].append(
                (carried["channel"], carried["event"], document["aps"]["badge"])
            )
            return ACCEPTED


class Between:
    """Lets time pass only between batches: on a slow machine a worker that lives would lose its lease as well."""

    def __init__(self) -> None:
        self.changed, self.working, self.wanted = threading.Condition(), 0, False

    @contextmanager
    def batch(self) -> Iterator[None]:
        with self.changed:
            self.changed.wait_for(lambda: not self.wanted)
            self.working += 1
        try:
            yield
        finally:
            with self.changed:
                self.working -= 1
                self.changed.notify_all()

    @contextmanager
    def batches(self) -> Iterator[None]:
        with self.changed:
            self.wanted = True
            self.changed.wait_for(lambda: self.working == 0)
            try:
                yield
            finally:
                self.wanted = False
                self.changed.notify_all()


@contextmanager
def workers(pipeline: Pipeline, between: Between) -> Iterator[None]:
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                with between.batch():
                    worked = pipeline.delivery.deliver("urgent") or pipeline.delivery.deliver("bulk")
            except Died:
                continue
            if not worked:
                time.sleep(0.003)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(work) for _ in range(4)]
        try:
            yield
        finally:
            over.set()
        for one in running:
            one.result()


def probe_soon(pipeline: Pipeline) -> None:
    pipeline.redis.delete(f"carillon:probe:{pipeline.provider.id}")


def talk(pipeline: Pipeline, trouble: Trouble, chance: random.Random) -> dict[str, list[str]]:
    """Sixty messages, a credential that ends, a pause; returns the events by channel."""
    said: dict[str, list[str]] = {channel: [] for channel in CHANNELS}
    breaker = Breaker(pipeline.partition)
    for n in range(60):
        channel = chance.choice(CHANNELS)
        said[channel].append(f"e{n}")
        pipeline.publish(message(channel, id=f"e{n}", seconds=pipeline.now - START.timestamp()))
        trouble.bad = 20 <= n < 30
        if n >= 30:
            probe_soon(pipeline)
        if n == 40:
            breaker.stop(pipeline.provider.id, "by hand", time.time(), manual=True)
        if n == 45:
            breaker.resume(pipeline.provider.id, by_hand=True)
        if chance.random() < 0.5:
            pipeline.take()
            pipeline.expand()
        if n % 4 == 0:
            pipeline.later(2.0, leases=n % 16 == 0)
        time.sleep(0.01)
    return said


def drain(pipeline: Pipeline, trouble: Trouble, between: Between) -> None:
    trouble.over = True
    ends = time.monotonic() + 60
    while True:
        pipeline.take()
        pipeline.expand()
        if pipeline.journal.backlog()[1] == 0:
            return
        assert time.monotonic() < ends, "something waits for ever"
        probe_soon(pipeline)
        with between.batches():
            pipeline.later(9.0)  # whoever died has lost its lease by then
        time.sleep(0.05)


# Without patience each batch is sent without the devices that an earlier one has in flight.
@pytest.mark.parametrize(
    ("patience", "soon"),
    [
        pytest.param(PATIENCE, SOON, id="patient"),
        pytest.param(PATIENCE, 0.0, id="at once where most are free"),
        pytest.param(0.0, 0.0, id="at once"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_order_and_badges_hold(
    pipeline: Pipeline, seed: int, patience: float, soon: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PATIENCE", patience)
    monkeypatch.setattr(journal, "SOON", soon)
    trouble, chance, between = Trouble(seed), random.Random(seed + 100), Between()
    apns: Any = pipeline.apns
    apns.send = trouble.send
    pipeline.now = time.time()
    pipeline.member("all", "leia", *USERS)
    for channel in CHANNELS:
        pipeline.member(channel, "leia", *chance.sample(USERS, 8))
    pipeline.take()
    with workers(pipeline, between):
        said = talk(pipeline, trouble, chance)
        drain(pipeline, trouble, between)
    badges = pipeline.redis.hgetall("carillon:badge:demo")
    for user, accepted in trouble.accepted.items():
        [device] = pipeline.devices.user_devices("demo", [user])
        assert not accepted or accepted[-1][2] == int(badges[str(device).encode()])
        for channel, events in said.items():
            arrived = list(dict.fromkeys(event for of, event, _ in accepted if of == channel))
            assert arrived in ([], events)


def test_a_device_that_an_earlier_batch_has_is_still_that_one_s_when_a_later_one_is_done(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "PATIENCE", 0.0)
    pipeline.member("one", "leia", "u0", "u1")
    pipeline.member("two", "leia", "u0", "u2")
    taken: list[Any] = []
    for n, channel in enumerate(("one", "two", "two")):
        pipeline.publish(message(channel, id=f"e{n}"))
        pipeline.take()
        pipeline.expand()
        taken.append(pipeline.journal.take_batch("urgent"))
        if n == 1:
            # It was sent without u0's device, and nothing is left of it.
            pipeline.journal.finish(taken[1].id, [], {}, [])
    [device] = [job.device for job in taken[1].batch.jobs if job.user == "u0"]
    assert taken[1].blocked == {device}
    assert taken[2] is None or device in taken[2].blocked
    assert pipeline.journal.take_batch("urgent") is None
