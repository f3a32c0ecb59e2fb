"""The short mix: the real system, broken in every way for a minute, loses nothing and doubles nothing."""

import pytest

from tests.chaos import report
from tests.chaos.run import Options, run
from tests.chaos.verdict import judge

#: Figures of time belong to the machine and to what else it does: `make chaos` judges them.
OF_TIME = (
    "every worker consumes again",
    "work of a killed worker resumed",
    "direct messages in a blast",
    "direct messages in others' load",
    "last of a burst amid 429",
    "answered before a kill and sent again",
)


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_nothing_is_lost_or_doubled_and_no_good_device_retired_in_a_short_mix(tmp_path):
    found = run(Options(seconds=45, seed=1, kill_every=6, scale=0.01, settle=150), tmp_path)
    verdict = judge(found)
    broken = [bar.name for bar in verdict.bars if not bar.kept and bar.name not in OF_TIME]
    assert not broken, report.as_text(found, verdict)
