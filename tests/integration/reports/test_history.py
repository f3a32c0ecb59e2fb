"""The tick samples the counters once in 30 s, and what is read is as long as was asked for: no sample is no data, never 0."""

import pytest

from worker.core.history import Sample
from worker.database import history as rows
from worker.database import tallies
from worker.database.postgres import Pool, open_pool
from worker.reports import history
from worker.reports.history import BUCKETS, OUTCOMES, RANGES, Sampler, Series, gauges
from worker.reports.words import release
from worker.state.backlog import Waiting
from worker.state.partition import Keyspace
from worker.state.redis import Redis, connect

AT = 1_800_000_000
ALL = ("", 0)


class Clock:
    def __init__(self) -> None:
        self.now = AT + 30.5

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def pool(postgres_url: str):
    made = open_pool(postgres_url, size=2)
    yield made
    made.close()


@pytest.fixture
def redis(redis_url: str):
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sampler(redis: Redis, pool: Pool, clock: Clock) -> Sampler:
    return Sampler(Keyspace(redis), pool, now=clock)


def add(pool: Pool, app: str, provider: int, **counts: float) -> None:
    with pool.connection() as db:
        tallies.add(db, "ledger", {(app, provider): counts})


def read(pool: Pool, wanted: str, now: float, *of: tuple[str, int]) -> dict[tuple[str, int], Series]:
    with pool.connection() as db:
        return history.read(db, wanted, of, now=now)


def write(pool: Pool, *samples: Sample) -> None:
    with pool.connection() as db:
        rows._write(db, samples)


def test_the_fleet_samples_once_in_30_seconds(sampler: Sampler, pool: Pool, redis: Redis, clock: Clock) -> None:
    other = Sampler(Keyspace(redis), pool, now=clock)
    add(pool, "demo", 7, accepted=60)
    assert sampler.sample() == 2
    assert (sampler.sample(), other.sample()) == (0, 0)
    clock.now += 30
    assert other.sample() == 1
    [*before, first, second] = read(pool, "1h", AT + 71)[ALL].buckets
    assert set(before) == {None}
    assert first is not None and second is not None
    assert (first.counts, first.peaks) == ({"accepted": 60}, {f"release.{release()}": 1})
    assert first.rate("accepted") == 2
    assert (second.counts, second.rate("accepted")) == ({}, 0)


def test_a_clock_that_is_set_back_an_hour_stops_no_sampling(sampler: Sampler, pool: Pool, clock: Clock) -> None:
    for hour in (0, 0, -3_600, -3_570):
        add(pool, "demo", 7, accepted=1)
        clock.now = AT + 30.5 + hour
        sampler.sample()
    assert sum(read(pool, "6h", AT + 3_600)[ALL].counts().values()) == 4


@pytest.mark.parametrize("wanted", RANGES)
def test_each_range_has_120_buckets_and_no_sample_is_no_data(pool: Pool, wanted: str) -> None:
    width = RANGES[wanted] // BUCKETS
    step = 900 if width > 900 else 30 if width == 30 else 180
    end = AT - AT % width
    start, gap = end - RANGES[wanted], range(end - 40 * width, end - 20 * width)
    times = [at for at in range(start - start % step + step, end, step) if at not in gap]
    write(pool, *(Sample(step, at, "", 0, step, {"accepted": step}, {}) for at in times))
    series = read(pool, wanted, end + 20, ("demo", 7))
    assert (series[ALL].start, series[ALL].end) == (start, end)
    rates = series[ALL].rates("accepted")
    assert len(rates) == BUCKETS
    assert rates[80:100] == [None] * 20
    assert {rate for n, rate in enumerate(rates) if n not in range(80, 100) and n} == {1.0}
    demo = series["demo", 7].rates("accepted")
    assert demo == [None if rate is None else 0 for rate in rates], "it had nothing to push, where others had"


def test_the_last_bucket_is_complete(pool: Pool) -> None:
    assert [read(pool, "1h", AT + after)[ALL].end - AT for after in (0, 9, 10, 39, 40)] == [-30, -30, 0, 0, 30]
    assert read(pool, "24h", AT + 719)[ALL].end % 720 == 0


def test_a_bucket_with_a_part_of_its_samples_is_partial_and_has_the_rate_of_that_part(pool: Pool) -> None:
    end = AT - AT % 180
    write(pool, *(Sample(30, end - 180 + 30 * n, "", 0, 30, {"accepted": 30}, {}) for n in range(3)))
    write(pool, *(Sample(30, end - 360 + 30 * n, "", 0, 30, {"accepted": 30}, {}) for n in range(6)))
    series = read(pool, "6h", end + 20)[ALL]
    assert series.partial == {BUCKETS - 1}
    assert series.rates("accepted")[-2:] == [1.0, 1.0]


def test_outcomes_are_kept_apart_and_nothing_is_counted_twice() -> None:
    counts = {
        "accepted": 9, "accept_seconds.urgent.4": 9, "answer_seconds.bulk.sum": 0.3, "retry.busy": 2, "limited.device": 1,
        "retired.unregistered": 3, "dropped.expired": 4, "parked.status_403": 5, "devices.retired": 7, "skipped.online": 8,
    }  # fmt: skip
    assert {name: history.count(counts, name) for name in OUTCOMES} == {"accepted": 9, "refused": 7, "retry": 3}


def test_what_is_held_back_is_what_the_waiting_grew_by(pool: Pool) -> None:
    held = [0, 300, 900, 900, 600]
    write(pool, *(Sample(30, AT + 30 * n, "", 0, 30, {}, {"waiting.held": level}) for n, level in enumerate(held)))
    assert read(pool, "1h", AT + 160)[ALL].growth("waiting.held")[-5:] == [0, 10, 20, 0, 0]


def test_a_release_is_marked_when_it_begins_to_run_and_not_while_two_take_turns(pool: Pool) -> None:
    ran = ["1.0"] * 20 + ["1.1", "1.0", "1.1"] + ["1.1"] * 40 + ["1.0"] * 5
    write(pool, *(Sample(30, AT + 30 * n, "", 0, 30, {}, {f"release.{name}": 1}) for n, name in enumerate(ran)))
    series = read(pool, "1h", AT + 30 * len(ran) + 10)[ALL]
    assert history.releases(series) == [(AT + 600, "1.1"), (AT + 63 * 30, "1.0")]


def test_what_waits_is_counted_for_all_its_app_and_its_provider() -> None:
    waiting = [
        Waiting("stream", messages=9, octets=900, oldest=1.5),
        Waiting("ready", "demo", "urgent", 7, batches=1, notifications=40, octets=10, oldest=0.3),
        Waiting("leased", "demo", "bulk", 7, batches=1, notifications=2, oldest=2.6),
        Waiting("due", "demo", "urgent", 7, batches=1, notifications=5, oldest=30),
        Waiting("held", "demo", "urgent", "8@push.example.org", batches=3, notifications=600, oldest=366),
        Waiting("held", "fleet", "urgent", 9, batches=1, notifications=214, oldest=2_640),
        Waiting("scheduled", "demo", "urgent", messages=3_120, oldest=9_999),
    ]
    found = gauges(waiting, {9})
    assert found[ALL] == {
        "waiting.ready": 42, "waiting.due": 5, "waiting.held": 814, "waiting.all": 861,
        "waiting.scheduled": 3_120, "messages": 9, "octets": 910,
        "oldest.urgent": 1.5, "oldest.bulk": 2.6, "oldest.due": 30, "oldest.held": 366, "oldest.paused": 2_640,
    }  # fmt: skip
    assert found["demo", 8] == {"waiting.held": 600, "waiting.all": 600, "oldest.held": 366}
    assert found["fleet", 0] == found["fleet", 9] == {"waiting.held": 214, "waiting.all": 214, "oldest.paused": 2_640}
    assert found["demo", 0]["waiting.ready"] == found["demo", 7]["waiting.ready"] == 42
