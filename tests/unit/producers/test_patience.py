"""How long a call goes on: its tries, its pauses, and the end of both."""

import pytest

from producers import PublishError
from producers.patience import AwayError, Patience

AWAY = AwayError("connection refused")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def pauses(patience: Patience, count: int, *, chance: float = 1.0) -> list[float]:
    return [round(patience.pause(AWAY, chance=lambda: chance), 6) for _ in range(count)]


def test_the_first_retry_is_at_once_and_the_pauses_double_up_to_a_second() -> None:
    assert pauses(Patience(60, Clock()), 8) == [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_chance_takes_up_to_half_of_a_pause_so_that_producers_do_not_come_back_as_one() -> None:
    assert pauses(Patience(60, Clock()), 3, chance=0.0) == [0.0, 0.025, 0.05]


def test_no_pause_reaches_beyond_the_end() -> None:
    clock = Clock()
    patience = Patience(1, clock)
    assert pauses(patience, 2) == [0.0, 0.05]
    clock.now += 0.95
    with pytest.raises(PublishError, match=r"in 1 s and 3 tries: connection refused\. See that it runs") as caught:
        patience.pause(AWAY)
    assert caught.value.__cause__ is AWAY


def test_the_time_left_is_never_zero_which_a_socket_takes_for_not_waiting() -> None:
    clock = Clock()
    patience = Patience(1, clock)
    clock.now += 0.75
    assert patience.left() == pytest.approx(0.25)
    clock.now += 10
    assert patience.left() > 0
