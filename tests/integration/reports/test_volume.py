"""How many notifications a filter chooses over a time: what the ledger has, or what the history has of the same."""

import time
from collections.abc import Iterator

import pytest

from tests.integration.pipeline.harness import Pipeline
from worker.core.history import Sample
from worker.core.ledger_entry import account
from worker.core.model import AppSettings
from worker.database import history
from worker.reports import volume
from worker.reports.push_log import Filter

#: Half a sample after the last one's end.
NOW = float(int(time.time()) // 30 * 30 + 15)
HOUR = Filter(NOW - 3_600)
BATCHES = [
    {"accepted": [["han", 1], ["han", 2], ["luke", 3]], "retry.Busy": [["leia", 4]]},
    {"parked.paused": [["han", 1]], "dropped.expired": [["luke", 3]]},
    {"accepted": [["leia", 4]], "overtook": [["leia", 4]]},
]


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str) -> Iterator[Pipeline]:
    made = Pipeline(postgres_url, redis_url)
    provider = made.provider.id
    made.redis.rpush(
        "carillon:accounts",
        account("demo", "e1", "page:0", {"considered": 9, "pushed": ["han"], "skipped": {"muted": ["rey"]}}),
        *(account("demo", f"e{n}", f"batch:{n}", of, 0, provider, 5) for n, of in enumerate(BATCHES)),
    )
    while made.ledger.flush(made.journal):
        pass
    with made.pool.connection() as db:
        db.execute(
            "UPDATE carillon.ledger SET at = to_timestamp(%s) - right(part, 1)::int * interval '10 min'", (NOW - 60,)
        )
        db.execute("UPDATE carillon.migrations SET applied_at = to_timestamp(%s)", (NOW - 1_800,))
    yield made
    made.close()


def samples(pipeline: Pipeline, *, app: str = "demo") -> None:
    """Ten minutes of 40 accepted and 2 refused ones a sample."""
    counts = {"accepted": 40.0, "retired": 2.0, "retired.Unregistered": 2.0, "considered": 99.0, "limited.earlier": 7.0}
    with pipeline.pool.connection() as db:
        rows = [
            Sample(30, int(NOW) - 15 - 30 * n, *of, 30, counts, {})
            for n in range(1, 21)
            for of in (("", 0), (app, pipeline.provider.id))
        ]
        history._write(db, rows)


def test_the_ledger_is_counted_by_what_is_chosen(pipeline: Pipeline) -> None:
    def counted(**chosen: str) -> dict[str, float]:
        return volume.read(pipeline.pool, HOUR._replace(**chosen), NOW).series.counts()  # type: ignore[arg-type]

    assert counted() == {"accepted": 4, "retry.Busy": 1, "parked.paused": 1, "dropped.expired": 1, "overtook": 1}
    assert counted(user="han") == {"accepted": 2, "parked.paused": 1}
    assert counted(user="han", outcome="accepted") == {"accepted": 2}
    assert counted(reason="expired") == {"dropped.expired": 1}
    assert counted(provider="apns", app="demo", outcome="retry") == {"retry.Busy": 1}
    assert counted(provider="other") == {}


def test_it_is_counted_when_it_was(pipeline: Pipeline) -> None:
    series = volume.read(pipeline.pool, HOUR, NOW).series
    where = [(n, sum(one.counts.values())) for n, one in enumerate(series.buckets) if one is not None and one.counts]
    assert where == [(39, 2.0), (49, 2.0), (59, 4.0)]
    known = [n for n, one in enumerate(series.buckets) if one is not None]
    assert known == [*range(30, 60)], "before there was a ledger there is no data"


def test_no_more_entries_are_counted_than_the_bound(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "LOOKED_AT", 2)
    found = volume.read(pipeline.pool, HOUR, NOW)
    assert (found.bounded, found.total) == (True, 6)
    assert found.series.buckets[48] is None and found.series.buckets[49] is not None, "what was not counted is no data"


def test_the_history_is_read_where_it_has_what_is_chosen(pipeline: Pipeline) -> None:
    samples(pipeline)
    for chosen in (HOUR, HOUR._replace(app="demo"), HOUR._replace(provider="apns")):
        found = volume.read(pipeline.pool, chosen, NOW)
        assert found.series.counts() == {"accepted": 800, "retired.Unregistered": 40}, chosen
        assert found.series.buckets[0] is None, "no sample is no data"
    assert volume.read(pipeline.pool, HOUR._replace(reason="Unregistered"), NOW).total == 40
    assert volume.read(pipeline.pool, HOUR._replace(since=NOW - 315), NOW).total == 420
    assert volume.read(pipeline.pool, HOUR._replace(user="luke"), NOW).total == 2


def test_an_app_without_samples_is_counted_in_the_ledger(pipeline: Pipeline) -> None:
    pipeline.registry.create_app(AppSettings("other"))
    samples(pipeline, app="other")
    assert volume.read(pipeline.pool, HOUR._replace(app="demo"), NOW).total == 8
