"""Readings are shared and never waited for without end."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker.metrics.cached import Cached


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_reading_is_good_for_so_long() -> None:
    clock, read = Clock(), iter(range(9))
    cached = Cached(lambda: next(read), seconds=1.0, patience=5.0, clock=clock)
    assert [cached.get(), cached.get()] == [0, 0]
    clock.now = 0.9
    assert cached.get() == 0
    clock.now = 1.0
    assert cached.get() == 1


def test_those_who_ask_at_once_share_one_reading() -> None:
    began, go, read = threading.Event(), threading.Event(), iter(range(9))

    def wait() -> int:
        began.set()
        assert go.wait(10)
        return next(read)

    cached = Cached(wait, seconds=60, patience=10)
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(cached.get) for _ in range(8)]
        assert began.wait(10)
        go.set()
        assert {one.result(10) for one in asked} == {0}


def test_nobody_waits_longer_than_the_patience_and_the_next_gets_what_came() -> None:
    go = threading.Event()
    cached = Cached(lambda: go.wait(10), seconds=60, patience=0.05)
    with pytest.raises(TimeoutError):
        cached.get()
    value = cached.begin()
    go.set()
    assert value.result(10) is True
    assert cached.get() is True


def test_a_fault_is_everybody_s_and_is_tried_again_later() -> None:
    clock, faults = Clock(), [OSError("away")]

    def read() -> str:
        if faults:
            raise faults.pop()
        return "there"

    cached = Cached(read, seconds=1.0, patience=5.0, clock=clock)
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            cached.get()
    clock.now = 1.0
    assert cached.get() == "there"
