"""The shared counters: sums by name, bounded names, and what the devices' history adds."""

from worker.core.tally import bucket_name
from worker.database import tallies
from worker.database.postgres import Pool


def test_counters_add_up(pool: Pool) -> None:
    with pool.connection() as db:
        tallies.add(
            db, "ledger", {("demo", 0): {"messages": 2}, ("demo", 7): {"accepted": 3, "answer_seconds.urgent.sum": 0.1}}
        )
        tallies.add(db, "ledger", {("demo", 7): {"accepted": 4, "answer_seconds.urgent.sum": 0.2}})
        tallies.add(db, "intake", {("demo", 0): {"events.applied.message.new": 5}, ("other", 0): {}})
        assert tallies.read(db) == [
            tallies.Tallied("demo", 0, {"messages": 2, "events.applied.message.new": 5}),
            tallies.Tallied("demo", 7, {"accepted": 7, "answer_seconds.urgent.sum": 0.3}),
        ]
        assert tallies.read(db, "nobody") == []
    assert tallies.of_app(pool, "demo")["accepted"] == 7


def test_a_row_has_so_many_names_whatever_a_provider_answers(pool: Pool) -> None:
    buckets = {bucket_name("answer_seconds", "urgent", n): 1 for n in range(23)}
    with pool.connection() as db:
        for n in range(4):
            named = {f"retry.{n}-{k:02}": 1 for k in range(100)}
            tallies.add(db, "ledger", {("demo", 7): {**named, **buckets, "retry.0-00": 1}})
        [(_, _, totals)] = tallies.read(db)
    names = totals.keys() - buckets.keys()
    assert len(names) == 257
    assert "other" in names
    assert sum(totals[name] for name in names) == 4 * 101 - 1
    assert totals["retry.0-00"] == 4
    assert all(totals[bucket] == 4 for bucket in buckets)
