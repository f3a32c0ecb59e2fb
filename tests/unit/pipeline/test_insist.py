"""Outcomes are kept for a Redis that is away, for a bounded time."""

import pytest
import redis

from worker.pipeline.insist import INSIST_SECONDS, Insist


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def insist(clock: Clock) -> Insist:
    return Insist(lambda: clock.now, sleep=clock.sleep)


def test_what_was_answered_is_written_once_redis_is_back(clock, insist):
    def write(batch, *, seconds):
        if clock.now < seconds:
            raise redis.ConnectionError
        return batch

    assert insist(write, "b1", seconds=60.0) == "b1"
    assert 60.0 <= clock.now < 61.0


def test_a_redis_that_stays_away_does_not_hold_the_worker_for_ever(clock, insist):
    def write():
        raise redis.ConnectionError

    with pytest.raises(redis.ConnectionError):
        insist(write)
    assert INSIST_SECONDS < clock.now < INSIST_SECONDS + 1


def test_a_fault_of_ours_is_not_repeated(clock, insist):
    def write():
        raise KeyError

    with pytest.raises(KeyError):
        insist(write)
    assert clock.now == 0.0
