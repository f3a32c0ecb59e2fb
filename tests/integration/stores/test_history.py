"""The history: each count is in it once, however samples fall, and old samples are rolled up and dropped."""

import random

import pytest

from worker.core.history import KEPT, Sample
from worker.database import history, locks, tallies
from worker.database.history import read, roll_up, sample
from worker.database.postgres import Pool

AT = 1_800_000_000
NOTHING: dict[tuple[str, int], dict[str, float]] = {}


def add(pool: Pool, app: str, provider: int = 0, **counts: float) -> None:
    with pool.connection() as db:
        tallies.add(db, "ledger", {(app, provider): counts})


def total(pool: Pool) -> list[Sample]:
    with pool.connection() as db:
        return read(db, [("", 0)], 0, 1e11)


def counted(pool: Pool, app: str = "", provider: int = 0) -> float:
    with pool.connection() as db:
        return sum(one.counts.get("accepted", 0) for one in read(db, [(app, provider)], 0, 1e11))


def rows(pool: Pool) -> int:
    with pool.connection() as db:
        found = db.execute("SELECT count(*) FROM carillon.history").fetchone()
    assert found is not None
    return int(found[0])


def test_a_sample_has_what_was_counted_since_the_one_before(pool: Pool) -> None:
    add(pool, "demo", 7, accepted=3)
    add(pool, "demo", 0, messages=1)
    add(pool, "other", 8, accepted=1)
    assert sample(pool, AT, {("", 0): {"waiting.ready": 4}}) == 4
    add(pool, "demo", 7, accepted=2)
    sample(pool, AT + 30, NOTHING)
    sample(pool, AT + 60, NOTHING)
    with pool.connection() as db:
        assert read(db, [("demo", 7)], AT, AT + 90) == [
            Sample(30, AT, "demo", 7, 30, {"accepted": 3}, {}),
            Sample(30, AT + 30, "demo", 7, 30, {"accepted": 2}, {}),
        ]
    assert total(pool) == [
        Sample(30, AT, "", 0, 30, {"accepted": 4, "messages": 1}, {"waiting.ready": 4}),
        Sample(30, AT + 30, "", 0, 30, {"accepted": 2}, {}),
        Sample(30, AT + 60, "", 0, 30, {}, {}),
    ]


def test_sampling_locks_no_counter(pool: Pool) -> None:
    """The leader and the ledger count while a sample is taken, and none of them waits."""
    add(pool, "demo", 7, accepted=1)
    with pool.connection() as db, db.transaction():
        db.execute("SELECT FROM carillon.tallies FOR UPDATE")
        sample(pool, AT, NOTHING)
    assert counted(pool) == 1


def test_a_second_process_does_not_sample_at_the_same_time(pool: Pool) -> None:
    add(pool, "demo", accepted=1)
    with pool.connection() as db, db.transaction():
        assert locks.try_acquire(db, locks.HISTORY)
        assert sample(pool, AT, NOTHING) == 0
    assert total(pool) == []


def test_a_sample_that_did_not_commit_counts_nothing(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    add(pool, "demo", accepted=1)
    with monkeypatch.context() as patch:
        patch.setattr(history, "_write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sample(pool, AT, NOTHING)
    sample(pool, AT, NOTHING)
    assert counted(pool) == 1


def test_a_counter_that_began_anew_counts_from_nothing(pool: Pool) -> None:
    add(pool, "demo", accepted=10)
    sample(pool, AT, NOTHING)
    with pool.connection() as db:
        db.execute("DELETE FROM carillon.tallies")
    add(pool, "demo", accepted=4)
    sample(pool, AT + 30, NOTHING)
    assert [one.counts for one in total(pool)] == [{"accepted": 10}, {"accepted": 4}]


@pytest.mark.parametrize(
    "clock",
    [
        pytest.param([0, 30, 60, 90], id="steady"),
        pytest.param([0, 30, 3_630, 3_660], id="an hour ahead"),
        pytest.param([3_600, 3_630, 0, 30, 60], id="an hour back"),
        pytest.param([3_600, 3_630, 3_600, 3_630], id="back into what was sampled"),
        pytest.param([86_340, 86_370, 86_400, 86_430], id="over midnight"),
    ],
)
def test_whatever_the_clock_does_each_count_is_there_once(pool: Pool, clock: list[int]) -> None:
    midnight = AT - AT % 86_400
    for at in clock:
        add(pool, "demo", 7, accepted=5)
        sample(pool, midnight + at, NOTHING)
        roll_up(pool, midnight + at)
    assert counted(pool) == counted(pool, "demo", 7) == 5 * len(clock)
    for step in (7_200, 172_800):
        roll_up(pool, midnight + 90_000 + step)
    assert counted(pool) == 5 * len(clock)


def test_after_a_gap_a_sample_counts_for_it(pool: Pool) -> None:
    sample(pool, AT, NOTHING)
    add(pool, "demo", accepted=600)
    sample(pool, AT + 300, NOTHING)
    assert [(one.at - AT, one.seconds) for one in total(pool)] == [(0, 30), (300, 300)]


def test_samples_are_rolled_up_and_dropped_in_bounded_steps(pool: Pool) -> None:
    chance, times = random.Random(5), [AT + 30 * n for n in range(60)]
    for at in times:
        add(pool, "demo", 7, accepted=chance.randrange(1, 9))
        sample(pool, at, {("", 0): {"waiting.held": chance.randrange(100)}})
    before, worst = counted(pool), max(one.peaks["waiting.held"] for one in total(pool))
    late = AT + 1_800 + KEPT[30]

    calls = 0
    while roll_up(pool, late):
        calls += 1
    assert calls == 2, "six groups at a time"
    assert [(one.step, one.seconds) for one in total(pool)] == [(180, 180)] * 10
    assert rows(pool) == 20

    while roll_up(pool, AT + 1_800 + KEPT[180]):
        pass
    assert [(one.step, one.at, one.seconds) for one in total(pool)] == [(900, AT, 900), (900, AT + 900, 900)]
    assert counted(pool) == counted(pool, "demo", 7) == before
    assert max(one.peaks["waiting.held"] for one in total(pool)) == worst

    for after, left in ((0, 4), (1, 2), (901, 0)):
        roll_up(pool, AT + KEPT[900] + after)
        assert rows(pool) == left


def test_the_youngest_samples_stay_as_they_are(pool: Pool) -> None:
    for n in range(10):
        sample(pool, AT + 30 * n, NOTHING)
    assert roll_up(pool, AT + 300) == 0
    assert len(total(pool)) == 10
