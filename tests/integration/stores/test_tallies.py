"""The shared counters: sums by name, bounded names, partitions, and what the devices' history adds."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import msgspec
import pytest

from tests.processes import PATIENCE
from worker.core.ledger_entry import Entry
from worker.core.tally import Tally, bucket_name, encode
from worker.database import tallies
from worker.database.ledger import Ledger
from worker.database.postgres import Pool


def test_counters_add_up(pool: Pool) -> None:
    with pool.connection() as db:
        tallies.add(
            db, "ledger", {("demo", 0): {"messages": 2}, ("demo", 7): {"accepted": 3, "answer_seconds.urgent.sum": 0.1}}
        )
        tallies.add(db, "ledger", {("demo", 7): {"accepted": 4, "answer_seconds.urgent.sum": 0.2}})
        tallies.add(db, "intake", {("demo", 0): {"events.taken.message.new": 5}, ("other", 0): {}})
        assert tallies.read(db) == [
            tallies.Tallied("demo", 0, {"messages": 2, "events.taken.message.new": 5}),
            tallies.Tallied("demo", 7, {"accepted": 7, "answer_seconds.urgent.sum": 0.3}),
        ]
        assert tallies.read(db, "nobody") == []


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


def test_counters_of_what_was_removed_go_after_the_retention(pool: Pool) -> None:
    with pool.connection() as db:
        db.execute("INSERT INTO carillon.apps (name) VALUES ('demo')")
        [(kept,), (removed,)] = db.execute(
            "INSERT INTO carillon.providers (app, name, environment, topic, host, port, team_id, key_id, credential, kind)"
            " SELECT 'demo', name, 'production', '', '', 0, '', '', '', 'key' FROM unnest('{a,b}'::text[]) AS n (name)"
            " RETURNING id"
        ).fetchall()
        db.execute("UPDATE carillon.providers SET removed_at = now() WHERE id = %s", (removed,))
        rows = [("demo", 0), ("demo", kept), ("demo", removed), ("gone", 0), ("gone", removed), ("", 0)]
        tallies.add(db, "ledger", {key: {"n": 1} for key in rows})
        db.execute("UPDATE carillon.tallies SET changed_at = now() - interval '9 days'")
        tallies.add(db, "ledger", {("gone", 0): {"n": 1}})
        ledger = Ledger(pool)
    ledger.prune(30)
    with pool.connection() as db:
        assert len(tallies.read(db)) == len(rows)
    ledger.prune(8)
    with pool.connection() as db:
        assert {row[:2] for row in tallies.read(db)} == {("", 0), ("demo", 0), ("demo", kept), ("gone", 0)}


@dataclass
class Waiting:
    """The accounts of a partition."""

    partition: int
    documents: list[bytes] = field(default_factory=list)
    dies: bool = False

    def accounts(self, limit: int) -> list[bytes]:
        return self.documents[:limit]

    def forget_accounts(self, documents: Sequence[bytes]) -> None:
        if self.dies:
            raise ConnectionError
        del self.documents[: len(documents)]

    def add(self, id: str) -> None:
        self.documents.append(encode(f"app-{self.partition}", Tally(id, counts={"messages": 1})))


def test_a_partition_that_another_one_follows_has_its_tallies_counted_once(pool: Pool) -> None:
    """A process dies between the commit and the forgetting, and the other partitions' tallies are counted before the next one."""
    ledger, partitions = Ledger(pool), [Waiting(n) for n in range(3)]
    for one in partitions:
        one.add(f"first-{one.partition}")
        one.dies = True
        with pytest.raises(ConnectionError):
            ledger.flush(one)
    for one in partitions:
        one.add(f"second-{one.partition}")
        one.dies = False
        assert ledger.flush(one) == 2
        assert ledger.flush(one) == 0
    with pool.connection() as db:
        assert [row.totals for row in tallies.read(db)] == [{"messages": 2}] * 3


def test_two_partitions_that_count_for_one_app_at_once_lose_nothing(pool: Pool) -> None:
    """A spread app has accounts in several. The second one waits for the first."""
    first, second = (
        [msgspec.json.decode(encode("spread", Tally(id, counts={"messages": 1})), type=Entry)] for id in ("a", "b")
    )
    with pool.connection() as one, pool.connection() as other, ThreadPoolExecutor(1) as pool_of_one:
        with one.transaction():
            tallies.count(one, first, 1)

            def count() -> None:
                with other.transaction():
                    tallies.count(other, second, 2)

            counted = pool_of_one.submit(count)
            wait([counted], timeout=0.2)
        counted.result(PATIENCE)
        [row] = tallies.read(one, "spread")
    assert row.totals == {"messages": 2}
