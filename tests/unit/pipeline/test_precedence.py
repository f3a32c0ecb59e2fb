"""What computes for the bulk lane pauses while others compute for urgent messages, and goes on all the same."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from worker.pipeline.precedence import NEXT, Precedence

#: Seconds that a pause takes at most.
MOST = 4.0


class Clock:
    """Stands still but for `now`, which a wait takes on by its length."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class AtOnce(threading.Condition):
    """Nobody waits: the clock is there at once."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None, "a pause has an end"
        self._clock.now += timeout
        return False


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def precedence(clock: Clock) -> Precedence:
    made = Precedence(clock=clock, most=MOST)
    made._changed = AtOnce(clock)
    return made


@contextmanager
def elsewhere(precedence: Precedence, *, waits: bool = False) -> Iterator[threading.Event]:
    """Another thread works on urgent messages until the block ends or the event is set; with `waits` for a provider's answers."""
    begun, ends = threading.Event(), threading.Event()

    def work() -> None:
        with precedence.urgent():
            if not waits:
                begun.set()
                ends.wait()
                return
            with precedence.waiting():
                begun.set()
                ends.wait()

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    try:
        yield ends
    finally:
        ends.set()
        thread.join()


def seconds_of(pauses: int, precedence: Precedence, clock: Callable[[], float]) -> float:
    began = clock()
    for _ in range(pauses):
        precedence.pause()
    return clock() - began


def test_a_bulk_thread_pauses_while_others_compute_for_urgent_messages(precedence: Precedence, clock: Clock) -> None:
    with elsewhere(precedence):
        assert seconds_of(1, precedence, clock) == MOST


def test_a_pause_takes_its_time() -> None:
    precedence = Precedence(most=0.1)
    with elsewhere(precedence):
        assert seconds_of(1, precedence, time.monotonic) >= 0.1


def test_it_goes_on_when_they_have_ended() -> None:
    precedence = Precedence(most=60.0)
    went_on: list[bool] = []
    with elsewhere(precedence) as ends:

        def pause() -> None:
            precedence.pause()
            went_on.append(ends.is_set())

        thread = threading.Thread(target=pause)
        thread.start()
        ends.set()
        thread.join(30)
    assert went_on == [True]


def test_it_pauses_for_no_longer_than_it_has_worked(precedence: Precedence, clock: Clock) -> None:
    with elsewhere(precedence):
        seconds_of(1, precedence, clock)
        assert seconds_of(100, precedence, clock) == 0, "it has done nothing since"
        clock.now += 0.2
        assert seconds_of(1, precedence, clock) == pytest.approx(0.2)


def test_whoever_waits_for_a_provider_keeps_nobody(precedence: Precedence, clock: Clock) -> None:
    with elsewhere(precedence, waits=True):
        assert seconds_of(1, precedence, clock) == pytest.approx(NEXT)


def test_what_is_not_urgent_waits_for_a_provider_as_ever(precedence: Precedence, clock: Clock) -> None:
    with precedence.waiting():
        pass
    assert seconds_of(1, precedence, clock) == 0
