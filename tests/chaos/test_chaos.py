"""The short mix: the real system, broken in every way for a minute, loses nothing and doubles nothing."""

import pytest

from tests.chaos import report
from tests.chaos.run import Options, run
from tests.chaos.verdict import judge
from tests.processes import PATIENCE

#: Figures of time belong to the machine and to what else it does: `make chaos` judges them.
OF_TIME = (
    "every worker consumes again",
    "work of a killed worker resumed",
    "median beside another way's fault",
    "direct messages in a blast",
    "direct messages in others' load",
    "last of a burst amid 429",
    "last of a blast amid 429",
    "answered before a kill and sent again",
)
#: These take minutes on a busy machine, wait for Redis to come down by itself, or meet too few pushes in so short a time to be
#: known from devices that are gone: `make chaos` inflicts them.
LONG = (
    *("redis_filled", "id_jump", "huge_entry", "silent_webhooks", "black_holes"),
    *("kill_at_full_speed", "reset_at_full_speed", "apns_random_429", "web_other_key"),
)
#: Judged by `make chaos`.
OF_LONG_RUNS = ("out of order", "devices whose last push has a wrong badge", "times that a full Redis stayed full")


@pytest.mark.slow
@pytest.mark.chaos
def test_nothing_is_lost_or_doubled_and_no_good_device_retired_in_a_short_mix(tmp_path):
    found = run(Options(seconds=45, seed=1, kill_every=6, scale=0.01, idle_within=PATIENCE, without=LONG), tmp_path)
    verdict = judge(found)
    broken = [bar.name for bar in verdict.bars if not bar.kept and bar.name not in (*OF_TIME, *OF_LONG_RUNS)]
    assert not broken, report.as_text(found, verdict)
