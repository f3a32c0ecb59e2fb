"""A wake-up is not needed where enough threads deliver one batch after another, and none is forgotten."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.processes import PATIENCE as LONG
from worker.process.deliverers import ENOUGH, PATIENCE, Deliverers


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def delivering(deliverers: Deliverers) -> Iterator[Callable[[], None]]:
    """A thread that has a batch. Gives what ends that batch; no other follows."""
    has_one, over, pieces = threading.Event(), threading.Event(), list[int]()

    def deliver() -> bool:
        pieces.append(1)
        has_one.set()
        over.wait(LONG)
        return False

    thread = threading.Thread(target=deliverers.work, args=(deliver, 9))
    thread.start()
    assert has_one.wait(LONG)
    yield over.set
    over.set()
    thread.join(LONG)


def test_it_goes_on_while_there_is_more_and_says_so_when_its_time_is_over() -> None:
    clock, pieces = Clock(), list[float]()

    def deliver() -> dict[str, int]:
        pieces.append(clock.now)
        clock.now += 0.04
        return {"accepted": 1} if len(pieces) < 3 else {}

    assert not Deliverers(clock=clock).work(deliver, 1.0)
    assert len(pieces) == 3
    assert Deliverers(clock=clock).work(lambda: deliver() or True, 0.1)
    assert len(pieces) == 6


def test_enough_threads_that_get_on_take_over_what_is_ready() -> None:
    clock = Clock()
    deliverers = Deliverers(clock=clock)
    with ExitStack() as threads:
        for n in range(ENOUGH):
            assert not deliverers.take_over(), n
            threads.enter_context(delivering(deliverers))
        assert deliverers.take_over()
        assert not deliverers.is_left()
        clock.now += 2 * PATIENCE
        assert deliverers.is_left(), "their batches wait for answers"
        assert not deliverers.is_left(), "others were woken"
        assert not deliverers.take_over()


def test_who_took_over_looks_once_more_before_it_ends() -> None:
    deliverers, pieces = Deliverers(), list[int]()

    def deliver() -> bool:
        pieces.append(1)
        if len(pieces) == 1:
            assert deliverers.take_over()
        return False

    with ExitStack() as threads:
        for _ in range(ENOUGH - 1):
            threads.enter_context(delivering(deliverers))
        assert not deliverers.work(deliver, 9)
    assert len(pieces) == 2
    assert not deliverers.is_left()


def test_a_fault_leaves_no_thread_that_seems_to_deliver() -> None:
    deliverers = Deliverers()
    for _ in range(ENOUGH):
        with pytest.raises(ZeroDivisionError):
            deliverers.work(lambda: 1 / 0, 9)
    assert not deliverers.take_over()


def test_it_looks_again_while_others_were_ready_as_the_last_batch_was_taken_whoever_took_it() -> None:
    deliverers, ready, taken = Deliverers(), [3], list[int]()

    def take() -> None:
        ready[0] -= 1
        taken.append(ready[0])
        deliverers.note(ready[0])

    def deliver() -> bool:
        take()
        if len(taken) == 2:
            take()  # as another thread does
        return False

    assert not deliverers.work(deliver, 9)
    assert taken == [2, 1, 0], "and none looks in vain"


def test_who_begins_while_another_counts_waits_for_it() -> None:
    class Looked(float):
        """A moment that is compared only after another thread had time to begin."""

        def __ge__(self, since: float) -> bool:
            with suppress(IndexError):
                late.pop().start()
                begun.wait(0.3)
            return float(self) >= since

    begun, threads = threading.Event(), ExitStack()
    deliverers = Deliverers(clock=lambda: Looked(1.0))
    late = [threading.Thread(target=deliverers.work, args=(begun.set, 9))]
    [last] = late
    with threads:
        for _ in range(2):
            threads.enter_context(delivering(deliverers))
        assert not deliverers.take_over()
        assert begun.wait(LONG)
    last.join(LONG)
