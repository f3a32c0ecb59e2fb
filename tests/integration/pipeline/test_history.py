"""What the dashboard draws is what the ledger has; a time in which nobody worked is no data, and not nothing."""

import time

from tests.integration.pipeline.harness import Pipeline, message
from tests.integration.pipeline.test_tallies import every_outcome, flush, in_ledger
from worker.core.history import added
from worker.database import tallies
from worker.reports import history
from worker.reports.history import OUTCOMES, Sampler, Series

#: A beginning of 30 seconds.
AT = int(time.time()) // 30 * 30


def series(pipeline: Pipeline, after: float, *of: tuple[str, int]) -> dict[tuple[str, int], Series]:
    with pipeline.pool.connection() as db:
        return history.read(db, "1h", of, now=AT + after)


def test_the_sum_of_the_outcome_chart_is_that_of_the_tallies_and_of_the_ledger(pipeline: Pipeline) -> None:
    clock = [AT + 31.0]
    sampler = Sampler(pipeline.keyspace, pipeline.pool, now=lambda: clock[0])
    every_outcome(pipeline)
    for _ in range(3):
        flush(pipeline)
        sampler.sample()
        pipeline.publish(message(id=f"later-{clock[0]}"))
        pipeline.run()
        clock[0] += 30
    flush(pipeline)
    sampler.sample()

    ledger = in_ledger(pipeline)
    with pipeline.pool.connection() as db:
        counted = added(row.totals for row in tallies.read(db, "demo"))
    key = ("demo", pipeline.provider.id)
    found = series(pipeline, 131, key)
    for which in (found["", 0], found[key]):
        counts = which.counts()
        for outcome in OUTCOMES:
            drawn = [(rate or 0.0) * 30 for rate in which.rates(outcome)]
            assert round(sum(drawn)) == history.count(counts, outcome) == history.count(counted, outcome)
    # The ledger enters a wait for a rate once, however often the app's limits make it wait.
    expected = {name: n for name, n in ledger.items() if not name.startswith("limited")}
    assert {name: found["", 0].counts()[name] for name in expected} == expected
    assert {outcome for outcome in OUTCOMES if history.count(ledger, outcome)} == set(OUTCOMES)


def test_while_every_worker_is_dead_there_is_no_data_and_while_they_idle_there_is_nothing(pipeline: Pipeline) -> None:
    clock = [AT + 31.0]
    sampler = Sampler(pipeline.keyspace, pipeline.pool, now=lambda: clock[0])
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.run()
    flush(pipeline)
    for seconds in (0, 30, 240, 270):  # nobody ticks between the second and the third
        clock[0] = AT + 31.0 + seconds
        sampler.sample()
    rates = series(pipeline, 311)["", 0].rates("accepted")
    assert rates[-10:] == [1 / 30, 0, None, None, None, None, None, None, 0, 0]


def test_what_waits_is_sampled_by_state(pipeline: Pipeline) -> None:
    pipeline.member("general", "leia", "han", "luke")
    pipeline.take()
    pipeline.breaker.stop(pipeline.provider.id, "a new key on Monday", pipeline.now, manual=True)
    pipeline.publish(message())
    pipeline.run()
    flush(pipeline)
    Sampler(pipeline.keyspace, pipeline.pool, now=lambda: AT + 31.0).sample()
    key = ("demo", pipeline.provider.id)
    found = series(pipeline, 41, key, ("demo", 0))
    for one in found.values():
        last = one.last
        assert last is not None
        assert last.peaks["waiting.held"] == 2
        assert "oldest.paused" in last.peaks
        assert "oldest.held" not in last.peaks
