import pytest

from worker.reports.skew import skew


@pytest.mark.parametrize(
    ("began", "theirs", "ended", "ahead"),
    [
        pytest.param(100.0, 100.01, 100.02, 0.0, id="the same time"),
        pytest.param(100.0, 107.0, 100.02, 6.98, id="ahead"),
        pytest.param(100.0, 93.0, 100.02, -7.0, id="behind"),
        pytest.param(100.0, 119.9, 120.0, 0.0, id="an engine that stood still before it looked at its clock"),
        pytest.param(100.0, 100.1, 120.0, 0.0, id="an answer that was long on its way"),
        pytest.param(100.0, 90.0, 120.0, -10.0, id="behind, and long on its way"),
    ],
)
def test_a_clock_is_off_by_what_is_certain(began: float, theirs: float, ended: float, ahead: float) -> None:
    assert skew(lambda: theirs, iter((began, ended)).__next__) == pytest.approx(ahead)
