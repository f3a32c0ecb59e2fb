"""The panels of charts: their numbers are those of now, their layers are never more than what there was."""

from collections.abc import Mapping

import pytest

from worker.dashboard import flow
from worker.reports.history import Bucket, Series

START = 1_800_000_000.0


def series(*buckets: tuple[Mapping[str, float], Mapping[str, float]] | None, width: int = 30) -> Series:
    made = [None if one is None else Bucket(width, *one) for one in buckets]
    padded = [None] * (12 - len(made)) + made
    return Series(START, START + 12 * width, padded)


def test_numbers_are_those_of_now_whatever_the_range() -> None:
    long = series(({"accepted": 72_000.0}, {}), width=720)
    chart = flow.outcomes(long, series(({"accepted": 90.0, "retry.busy": 30.0}, {})), [], "a")
    assert chart.numbers == [("3.0", "accepted a second")]
    assert [(key.label, key.value) for key in chart.key] == [
        ("accepted", "3.0"), ("refused", "0.0"), ("to be retried", "1.0"), ("no data", ""),
    ]  # fmt: skip
    assert chart.rows[-1][:2] == ["10:12", "100"]


def test_what_waited_is_never_more_than_waited_at_once() -> None:
    """All was held, then all was ready: the highest values are those of two moments."""
    both: tuple[dict[str, float], dict[str, float]] = (
        {},
        {"waiting.held": 600.0, "waiting.ready": 400.0, "waiting.all": 600.0},
    )
    chart = flow.waiting(series(both), series(({}, {"waiting.ready": 5.0, "waiting.all": 5.0})), [], "b")
    assert chart.rows[-1][1:] == ["240", "0", "360"]
    assert chart.numbers == [("5", "notifications")]


def test_ages_have_the_limit_and_the_worst_of_now() -> None:
    old = series(({}, {"oldest.held": 366.0, "oldest.urgent": 0.3, "oldest.paused": 2_640.0}))
    chart = flow.ages(old, old, [], "c")
    assert chart.numbers == [("6 min 06 s", "held back")]
    assert "paused by hand (not drawn)" in {key.label for key in chart.key}
    assert "warns at 60 s" in chart.drawing


@pytest.mark.parametrize(("waits", "hatched"), [(0.0, False), (40.0, True)])
def test_no_answers_are_no_data_only_while_something_is_held_back(waits: float, hatched: bool) -> None:
    known = [({"answer_seconds.urgent.4": 30.0}, {"answer.p50": 0.01, "answer.p95": 0.02, "answer.p99": 0.03})] * 11
    silent = series(*known, ({}, {"waiting.held": waits}))
    chart = flow.answering(silent, silent, [])
    assert ("no data" in {key.label for key in chart.key}) == hatched
    assert chart.numbers[0][0] == "–"


def test_axes_that_are_remembered_are_bounded() -> None:
    axes = flow.Axes()
    for n in range(1_100):
        axes.linear(str(n), 5.0, str)
    assert len(axes._tops) == 1_000
