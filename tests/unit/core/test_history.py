"""Samples of the counters: what is merged, what stays, and which percentiles a histogram has."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.core.history import ALL, BUSIEST, STEPS, Sample, merged, percentiles, quantile, sampled, seconds_since
from worker.core.tally import ACCEPT_BOUNDS, Histogram, bucket_name

AT = 1_800_000_000


def of(app: str, provider: int = 0, at: int = AT, **counts: float) -> Sample:
    return Sample(STEPS[0], at, app, provider, 30, counts, {})


def buckets(values: list[float]) -> dict[str, float]:
    histogram = Histogram({}, 0.0)
    for value in values:
        histogram.add(ACCEPT_BOUNDS, value)
    return {bucket_name("accept_seconds", "urgent", bucket): n for bucket, n in histogram.buckets.items()}


@pytest.mark.parametrize(("part", "expected"), [(0.50, 0.5), (0.95, 0.95), (0.99, 0.99)])
def test_percentiles_of_a_known_histogram_are_right(part: float, expected: float) -> None:
    """A thousand values from 1 ms to 1 s, evenly."""
    found = percentiles(buckets([n / 1_000 for n in range(1, 1_001)]))
    assert found[f"accept.p{round(part * 100)}"] == pytest.approx(expected, abs=0.001)


@given(st.lists(st.floats(0.0001, 119), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99]))
@settings(max_examples=50, deadline=None)
def test_a_percentile_is_in_the_bucket_of_the_true_one(values: list[float], part: float) -> None:
    rank = max(0, -(-round(part * 100) * len(values) // 100) - 1)
    true = sorted(values)[rank]
    upper = next(bound for bound in ACCEPT_BOUNDS if true <= bound)
    lower = max((bound for bound in (0.0, *ACCEPT_BOUNDS) if bound < true), default=0.0)
    found = percentiles(buckets(values))[f"accept.p{round(part * 100)}"]
    assert lower - 1e-6 <= found <= upper + 1e-6


def test_no_values_have_no_percentile_and_longer_ones_have_the_last_bound() -> None:
    assert percentiles({"accepted": 3}) == {}
    assert quantile({len(ACCEPT_BOUNDS): 5}, ACCEPT_BOUNDS, 0.5) == ACCEPT_BOUNDS[-1]


def test_both_lanes_of_a_histogram_count() -> None:
    found = percentiles({"answer_seconds.urgent.0": 98, "answer_seconds.bulk.17": 2, "answer_seconds.bulk.sum": 2.0})
    assert found["answer.p50"] < 0.001
    assert 0.75 <= found["answer.p99"] <= 1.0


def test_O10_counts_add_up_and_of_peaks_the_highest_stays() -> None:
    samples = [
        Sample(30, AT, ALL, 0, 30, {"accepted": 5, "retry.busy": 1}, {"waiting.held": 9, "accept.p99": 0.1}),
        Sample(30, AT + 30, ALL, 0, 30, {"accepted": 7}, {"waiting.held": 3, "accept.p99": 4.8, "release.1.0": 1}),
        Sample(30, AT + 180, ALL, 0, 30, {"accepted": 1}, {}),
    ]
    assert merged(samples, 180) == [
        Sample(
            180,
            AT,
            ALL,
            0,
            60,
            {"accepted": 12, "retry.busy": 1},
            {"waiting.held": 9, "accept.p99": 4.8, "release.1.0": 1},
        ),
        Sample(180, AT + 180, ALL, 0, 30, {"accepted": 1}, {}),
    ]


@given(st.lists(st.tuples(st.integers(0, 59), st.sampled_from(["", "a", "b"]), st.integers(0, 1_000)), max_size=40))
@settings(max_examples=50, deadline=None)
def test_rolling_up_in_two_steps_is_rolling_up_in_one(rows: list[tuple[int, str, int]]) -> None:
    samples = [of(app, 0, AT + 30 * slot, accepted=n) for slot, app, n in rows]
    assert merged(merged(samples, 180), 900) == merged(samples, 900)
    assert sum(one.counts["accepted"] for one in merged(samples, 900)) == sum(n for *_, n in rows)


def test_the_busiest_apps_have_samples_and_all_are_in_the_sum() -> None:
    names = [f"app-{n:03}" for n in range(BUSIEST + 50)]
    random.Random(3).shuffle(names)
    counted = {(name, 1): {"accepted": float(n)} for n, name in enumerate(names)}
    rows = sampled(AT, 30, counted, {(names[0], 1): {"waiting.held": 4}, (ALL, 0): {"waiting.held": 4}})
    assert {row.app for row in rows} == {ALL, *names[50:]}
    assert rows[0] == Sample(30, AT, ALL, 0, 30, {"accepted": sum(range(BUSIEST + 50))}, {"waiting.held": 4})
    assert {row.app for row in merged([*rows, of("late", 0, AT + 30, accepted=9_999)], 180)} == {
        ALL,
        "late",
        *names[51:],
    }


def test_what_only_waits_has_a_sample_too() -> None:
    rows = sampled(AT, 30, {}, {("demo", 7): {"waiting.held": 4}})
    assert rows == [Sample(30, AT, ALL, 0, 30, {}, {}), Sample(30, AT, "demo", 7, 30, {}, {"waiting.held": 4})]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        pytest.param(None, 30, id="the first of all"),
        pytest.param(AT - 30, 30, id="one after the other"),
        pytest.param(AT - 120, 120, id="after a gap it counts for the gap"),
        pytest.param(AT - 86_400, 30, id="but not for a night without workers"),
        pytest.param(AT + 3_600, 30, id="the clock was set back"),
    ],
)
def test_a_sample_counts_for_the_time_since_the_one_before(before: int | None, expected: int) -> None:
    assert seconds_since(before, AT) == expected
