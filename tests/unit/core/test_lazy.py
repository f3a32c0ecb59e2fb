"""Values that are worked out when they are first asked for."""

import threading

import pytest

from worker.core.lazy import lazy


class Holder:
    def __init__(self) -> None:
        self.asked, self.go_on, self.works_out = 0, threading.Event(), threading.Event()

    @lazy
    def value(self) -> object:
        """What it is."""
        self.asked += 1
        return object()

    @lazy
    def slow(self) -> object:
        self.asked += 1
        if self.asked == 1:
            self.works_out.set()
            self.go_on.wait(60)
        return object()

    @lazy
    def fails(self) -> object:
        self.asked += 1
        raise ConnectionError


def test_it_is_worked_out_once_for_each_object() -> None:
    one, other = Holder(), Holder()
    assert one.value is one.value is not other.value
    assert one.asked == other.asked == 1
    assert Holder.value.__doc__ == "What it is."


def test_nobody_waits_for_another_and_the_first_value_stays() -> None:
    held = Holder()
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(held.slow))
    thread.start()
    assert held.works_out.wait(60)
    first = held.slow
    held.go_on.set()
    thread.join(60)
    assert found == [first]
    assert held.slow is first


def test_a_fault_is_not_kept() -> None:
    held = Holder()
    for _ in range(2):
        with pytest.raises(ConnectionError):
            _ = held.fails
    assert held.asked == 2
