"""A stretch that has only messages is taken in one statement, which does what the leader's transaction does with it."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.integration.pipeline.harness import Pipeline, message
from worker.core.errors import LeaseLost
from worker.database import cursors


@pytest.fixture
def statements(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Those that were run at once."""
    pipeline.take()
    ran, run = [], pipeline.lease.at_once

    def note(statement: bytes, given: Mapping[str, Any]) -> None:
        run(statement, given)
        ran.append(statement)

    monkeypatch.setattr(pipeline.intake, "_at_once", note)
    return ran


def stored(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    with pipeline.pool.connection() as db:
        return db.execute(
            "SELECT event_id, entry, message_id, channel, sender, mentioned, position, written, repeats"
            " FROM carillon.messages ORDER BY event_id"
        ).fetchall()


def cursor(pipeline: Pipeline) -> tuple[str, int | None]:
    with pipeline.pool.connection() as db:
        return cursors.taken(db)["carillon:events"]


def counted(pipeline: Pipeline) -> Mapping[str, int]:
    with pipeline.pool.connection() as db:
        [(totals,)] = db.execute(
            "SELECT totals FROM carillon.tallies WHERE source = 'intake' AND app = 'demo'"
        ).fetchall()
    return {name: n for name, n in totals.items() if "message" in name}


def test_it_records_what_the_transaction_records(pipeline: Pipeline, statements: list[bytes]) -> None:
    pipeline.publish(*(message(id=f"e{n}") for n in range(3)))
    pipeline.take()
    assert len(statements) == 1
    at_once, totals, (after, _) = stored(pipeline), counted(pipeline), cursor(pipeline)
    with pipeline.pool.connection() as db:
        db.execute("DELETE FROM carillon.messages")
    pipeline.intake._at_once = None
    pipeline.publish(*(message(id=f"e{n}") for n in range(3)))
    pipeline.take()
    by_transaction = stored(pipeline)
    assert [row[5:6] + row[8:] for row in at_once] == [row[5:6] + row[8:] for row in by_transaction]
    assert [(row[0], *row[2:5]) for row in at_once] == [(row[0], *row[2:5]) for row in by_transaction]
    assert totals == {"events.taken.message.new": 3}
    assert counted(pipeline) == {"events.taken.message.new": 6}
    assert (after, cursor(pipeline)[0]) == (at_once[-1][1], by_transaction[-1][1])


def test_a_repeated_id_among_them_is_counted_and_its_message_is_not_opened(
    pipeline: Pipeline, statements: list[bytes]
) -> None:
    pipeline.publish(message(id="e1"))
    assert pipeline.take() == 1
    pipeline.publish(message(id="e2"), message(id="e1"), message(id="e2"))
    assert pipeline.take() == 1
    assert len(statements) == 1, "the second stretch was the transaction's"
    assert [(row[0], row[8]) for row in stored(pipeline)] == [("e1", 1), ("e2", 1)]
    assert counted(pipeline) == {"events.taken.message.new": 2, "events.repeat.message.new": 2}


def test_a_message_that_mentions_a_member_is_the_transactions(pipeline: Pipeline, statements: list[bytes]) -> None:
    pipeline.member("general", "leia", "han")
    pipeline.take()
    pipeline.publish(message(id="e1"), message(id="e2", mentioned=["han"]))
    assert pipeline.take() == 2
    assert statements == []
    assert [row[5] for row in stored(pipeline)] == [None, ["han"]]


def test_a_leader_that_was_replaced_records_nothing(pipeline: Pipeline, statements: list[bytes]) -> None:
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.lease SET token = token + 1 WHERE name = 'intake'")
    before = cursor(pipeline)
    pipeline.publish(message(id="e1"))
    with pytest.raises(LeaseLost):
        pipeline.take()
    assert (stored(pipeline), statements, cursor(pipeline)) == ([], [], before)


def test_it_records_nothing_where_another_has_moved_the_cursor(pipeline: Pipeline, statements: list[bytes]) -> None:
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.cursors SET cursor = '1-1' WHERE stream = 'carillon:events'")
    pipeline.publish(message(id="e1"))
    with pytest.raises(LeaseLost):
        pipeline.take()
    assert (stored(pipeline), statements) == ([], [])
