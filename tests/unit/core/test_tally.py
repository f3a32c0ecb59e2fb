"""What a tally adds, by the names of the counters, and how its histograms are read back."""

from itertools import pairwise

import msgspec
import pytest

from worker.core.ledger_entry import Entry, account
from worker.core.tally import BOUNDS, Histogram, Tally, counters, encode, histograms, is_tally, tally_in


def test_bounds_grow_by_a_factor_of_two_and_a_half_at_most() -> None:
    for bounds in BOUNDS.values():
        assert all(1.3 <= above / below <= 3 for below, above in pairwise(bounds))
    assert (BOUNDS["answer_seconds"][0], BOUNDS["answer_seconds"][-1]) == (0.001, 30.0)
    assert (BOUNDS["accept_seconds"][0], BOUNDS["accept_seconds"][-1]) == (0.005, 120.0)


@pytest.mark.parametrize(("seconds", "bucket"), [(-3.0, 0), (0.0, 0), (1.0, 0), (1.001, 1), (2.0, 1), (9.0, 2)])
def test_a_bucket_has_what_took_no_longer_than_its_bound(seconds: float, bucket: int) -> None:
    histogram = Histogram()
    histogram.add((1.0, 2.0), seconds, 3)
    assert histogram == Histogram({bucket: 3}, 3 * max(0.0, seconds))


def test_a_tally_is_a_ledger_entry_of_no_event() -> None:
    histogram = Histogram({2: 3}, 1.5)
    tally = Tally("b1", 7, "urgent", {"accepted": 3, "retry": 0}, answer=histogram)
    entry = msgspec.json.decode(encode("demo", tally), type=Entry)
    assert is_tally(entry)
    assert (entry.app, tally_in(entry)) == ("demo", tally)
    assert tally.named() == {"accepted": 3, "answer_seconds.urgent.2": 3, "answer_seconds.urgent.sum": 1.5}
    other = msgspec.json.decode(account("demo", "e1", "tally", {}), type=Entry)
    assert not is_tally(other)


def test_histograms_are_found_among_the_counters_also_those_of_a_later_release() -> None:
    named = {"accepted": 3, "answer_seconds.bulk.2": 3, "answer_seconds.bulk.99": 1, "answer_seconds.bulk.sum": 1.5}
    assert histograms(named) == {("answer_seconds", "bulk"): Histogram({2: 3, len(BOUNDS["answer_seconds"]): 1}, 1.5)}
    assert counters(named) == {"accepted": 3}
