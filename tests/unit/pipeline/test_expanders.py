"""Few tasks of a process expand at once, and no wake-up that comes meanwhile is forgotten."""

import pytest

from worker.process.expanders import Expanders


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_goes_on_while_there_is_more_and_says_so_when_its_time_is_over():
    clock, pieces = Clock(), []

    def expand() -> bool:
        pieces.append(clock.now)
        clock.now += 0.04
        return len(pieces) < 3

    assert Expanders(clock=clock).work(expand, 1.0) is False
    assert len(pieces) == 3
    assert Expanders(clock=clock).work(lambda: expand() or True, 0.1) is True
    assert len(pieces) == 6


def test_who_comes_when_enough_are_at_it_leaves_its_wake_up_to_them():
    expanders, pieces = Expanders(1), []

    def expand() -> bool:
        pieces.append(1)
        if len(pieces) == 1:
            assert expanders.work(pytest.fail, 9) is False
        return False

    assert expanders.work(expand, 9) is False
    assert pieces == [1, 1], "once more, for the wake-up that came meanwhile"
    assert expanders.work(expand, 9) is False
    assert pieces == [1, 1, 1]


def test_a_fault_frees_its_place():
    expanders = Expanders(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            expanders.work(lambda: bool(1 / 0), 9)
    assert expanders.work(lambda: False, 9) is False


def test_whoever_has_something_else_to_do_leaves_and_says_whether_there_is_more() -> None:
    expanders, pieces = Expanders(1), list[bool]()

    def expand() -> bool:
        assert not expanders.room
        pieces.append(True)
        return True

    assert expanders.work(expand, 60.0, leaves=lambda: len(pieces) == 2)
    assert len(pieces) == 2
    assert expanders.room


def test_who_expands_looks_again_where_it_is_asked_to() -> None:
    expanders, pieces = Expanders(), list[bool]()
    assert not expanders.look_again(), "nobody expands"

    def expand() -> bool:
        pieces.append(True)
        return bool(len(pieces) == 1 and not expanders.look_again())

    assert expanders.work(expand, 9) is False
    assert len(pieces) == 2
