"""What computes for the bulk lane pauses while others compute for urgent messages, and goes on all the same."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from worker.pipeline.precedence import Precedence

#: Seconds that a pause takes here, and some that no pause takes on the slowest machine.
MOST, AT_ONCE = 4.0, 2.0


@pytest.fixture
def precedence() -> Precedence:
    return Precedence(most=MOST)


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


def seconds_of(pauses: int, precedence: Precedence) -> float:
    began = time.monotonic()
    for _ in range(pauses):
        precedence.pause()
    return time.monotonic() - began


def test_a_bulk_thread_pauses_while_others_compute_for_urgent_messages(precedence: Precedence) -> None:
    with elsewhere(precedence):
        assert seconds_of(1, precedence) >= MOST


def test_it_goes_on_when_they_have_ended(precedence: Precedence) -> None:
    went_on: list[bool] = []
    with elsewhere(precedence) as ends:

        def pause() -> None:
            precedence.pause()
            went_on.append(ends.is_set())

        thread = threading.Thread(target=pause)
        thread.start()
        ends.set()
        thread.join()
    assert went_on == [True]


def test_it_pauses_for_no_longer_than_it_has_worked(precedence: Precedence) -> None:
    with elsewhere(precedence):
        seconds_of(1, precedence)
        assert seconds_of(100, precedence) < AT_ONCE, "it has done nothing since"
        time.sleep(0.2)
        assert seconds_of(1, precedence) >= 0.2


def test_whoever_waits_for_a_provider_keeps_nobody(precedence: Precedence) -> None:
    with elsewhere(precedence, waits=True):
        assert seconds_of(1, precedence) < AT_ONCE


def test_what_is_not_urgent_waits_for_a_provider_as_ever(precedence: Precedence) -> None:
    with precedence.waiting():
        pass
    assert seconds_of(1, precedence) < AT_ONCE
