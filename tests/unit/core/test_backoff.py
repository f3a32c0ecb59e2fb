"""One rule for every wait before another try."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.backoff import LONGEST_DELAY, backoff


def test_a_notifications_delays_begin_at_a_second_and_stay_below_half_a_minute() -> None:
    assert [backoff(n, jitter=0.999999) for n in range(1, 6)] == pytest.approx([1, 1.4, 1.96, 2.744, 3.8416], rel=1e-5)
    assert backoff(10_000, jitter=0.0) == LONGEST_DELAY / 2


def test_who_leaves_nothing_to_chance_waits_the_whole_delay() -> None:
    delays = [backoff(n, base=0.2, longest=5.0, growth=2) for n in range(1, 8)]
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_before_the_first_failure_the_delay_is_the_first() -> None:
    assert backoff(0, base=0.2, longest=5.0) == 0.2


@given(tries=st.integers(1, 10_000), jitter=st.floats(0, 1))
def test_jitter_keeps_a_delay_in_the_upper_half(tries: int, jitter: float) -> None:
    whole = backoff(tries)
    assert whole / 2 <= backoff(tries, jitter=jitter) <= whole <= LONGEST_DELAY
