"""What every fact keeps, the toy of these tests included. A new fact adds its example."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from producers import events as ev
from tests.integration.facts.examples import EXAMPLES, Example
from tests.integration.facts.toy import MIGRATION, RULE, SNOOZES
from tests.integration.pipeline.harness import Pipeline, message, stamp, token
from worker.core.rules import RULES
from worker.database.postgres import Pool
from worker.facts import FACTS, forget_old
from worker.facts.base import CandidateFact

each = pytest.mark.parametrize("example", EXAMPLES, ids=[type(one.fact).__name__ for one in EXAMPLES])
that_end = [one for one in EXAMPLES if one.end is not None]
each_that_ends = pytest.mark.parametrize("example", that_end, ids=[type(one.fact).__name__ for one in that_end])

at_place = [one for one in EXAMPLES if one.at_place]
each_at_its_place = pytest.mark.parametrize("example", at_place, ids=[type(one.fact).__name__ for one in at_place])
as_it_is = [one for one in EXAMPLES if not one.at_place]
each_as_it_is = pytest.mark.parametrize("example", as_it_is, ids=[type(one.fact).__name__ for one in as_it_is])


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str) -> Iterator[Pipeline]:
    with psycopg.connect(postgres_url) as db:
        for statement in MIGRATION.split(";\n"):
            db.execute(statement.encode())
    made = Pipeline(postgres_url, redis_url, facts=(*FACTS, SNOOZES), rules=(*RULES, RULE))
    yield made
    made.close()


def people(pipeline: Pipeline, example: Example) -> None:
    pipeline.member("general", "leia", *(["han"] if example.member else []))
    pipeline.publish(ev.DeviceRegistered(**stamp(), user="han", device=ev.Device(token=token("han"))))
    pipeline.take()


def said(example: Example, id: str, seconds: float = 0) -> ev.MessageNew:
    return message(id=id, seconds=seconds, **example.fields)


def verdict(pipeline: Pipeline, id: str) -> str:
    """What became of han."""
    account: dict[str, Any] = pipeline.account(id)["page:0"]
    if "message" in account:
        return str(account["message"])
    reasons = [reason for reason, users in account["skipped"].items() if "han" in users]
    return "pushed" if "han" in account["pushed"] else " ".join(reasons)


def rows(pipeline: Pipeline, example: Example) -> dict[str, list[Any]]:
    with pipeline.pool.connection() as db:
        return {
            table: db.execute(f"SELECT * FROM carillon.{table} ORDER BY 1, 2, 3, 4".encode()).fetchall()
            for table in example.tables
        }


def counts(pipeline: Pipeline, example: Example) -> dict[str, int]:
    return {table: len(found) for table, found in rows(pipeline, example).items()}


def test_every_fact_that_events_change_has_an_example():
    assert {fact for fact in FACTS if fact.changed_by} <= {example.fact for example in EXAMPLES}
    names = [fact.name for fact in (*FACTS, SNOOZES) if isinstance(fact, CandidateFact)]
    assert len(set(names)) == len(names)


@each
def test_a_second_write_changes_nothing(pipeline, example, monkeypatch):
    people(pipeline, example)
    written: list[Any] = []
    write = type(example.fact).write

    def remembered(fact: Any, db: Any, rows: Any) -> None:
        written.append([*rows])
        write(fact, db, rows)

    monkeypatch.setattr(type(example.fact), "write", remembered)
    pipeline.publish(example.begin(1))
    pipeline.take()
    if example.end is not None:
        pipeline.publish(example.end(2), example.begin(3))
        pipeline.take()
    before = rows(pipeline, example)
    assert written
    with pipeline.pool.connection() as db, db.transaction():
        for some in written:
            write(example.fact, db, some)
    assert rows(pipeline, example) == before


@each_that_ends
def test_of_writes_of_one_time_the_later_place_wins(pipeline, example):
    people(pipeline, example)
    pipeline.publish(example.end(1), example.begin(1), said(example, "e1"))
    pipeline.run()
    pipeline.publish(example.end(1), said(example, "e2"))
    pipeline.run()
    assert [verdict(pipeline, id) for id in ("e1", "e2")] == [example.so, example.without]


@each_that_ends
def test_an_older_write_that_comes_later_changes_nothing(pipeline, example):
    people(pipeline, example)
    pipeline.publish(example.begin(2), example.end(1), said(example, "e1"))
    pipeline.run()
    assert verdict(pipeline, "e1") == example.so


def backlog(pipeline: Pipeline, events: list[ev.AnyEvent]) -> None:
    """Everything is applied before anything is expanded."""
    pipeline.publish(*events)
    pipeline.run()


def one_by_one(pipeline: Pipeline, events: list[ev.AnyEvent]) -> None:
    """Each message is expanded when the next event is applied already."""
    for event in events:
        pipeline.publish(event)
        opened = pipeline.journal.take_messages("urgent", 500)
        pipeline.take()
        pipeline.fan_out.expand(opened)
    pipeline.run()


@pytest.mark.parametrize("way", [backlog, one_by_one], ids=lambda way: way.__name__)
@each_at_its_place
def test_a_message_sees_it_as_it_was_at_its_place(
    pipeline: Pipeline, example: Example, way: Callable[[Pipeline, list[ev.AnyEvent]], None]
) -> None:
    people(pipeline, example)
    events: list[ev.AnyEvent] = [said(example, "e0"), example.begin(1), said(example, "e1", 1)]
    expected = [example.without, example.so]
    if example.end is not None:
        events += [example.end(2), said(example, "e2", 2), example.begin(3), said(example, "e3", 3), example.end(4)]
        expected += [example.without, example.so]
    way(pipeline, events)
    assert [verdict(pipeline, f"e{n}") for n in range(len(expected))] == expected


@each_as_it_is
def test_a_message_sees_it_as_it_is(pipeline: Pipeline, example: Example) -> None:
    people(pipeline, example)
    backlog(pipeline, [said(example, "e0"), example.begin(1), said(example, "e1", 1)])
    assert [verdict(pipeline, id) for id in ("e0", "e1")] == [example.so, example.so]


@each
def test_it_is_read_for_many_messages_at_once(pipeline, example, monkeypatch):
    people(pipeline, example)
    asked: list[int] = []
    connection = Pool.connection

    def counted(pool: Pool, timeout: float | None = None) -> Any:
        asked.append(1)
        return connection(pool, timeout)

    pipeline.publish(said(example, "e0"), example.begin(1))
    pipeline.run()
    for prefix, count in (("few", 2), ("many", 40)):
        pipeline.publish(*(said(example, f"{prefix}-{n}", 1) for n in range(count)))
        pipeline.take()
    opened = pipeline.journal.take_messages("urgent", 500)
    with monkeypatch.context() as patched:
        patched.setattr(Pool, "connection", counted)
        pipeline.fan_out.expand(opened[:2])
        few = len(asked)
        pipeline.fan_out.expand(opened[2:])
    assert len(asked) == 2 * few
    assert {verdict(pipeline, f"many-{n}") for n in range(40)} == {example.so}


@each
def test_when_it_is_over_and_old_nothing_is_left_of_it(pipeline, example):
    people(pipeline, example)
    before = counts(pipeline, example)
    pipeline.publish(example.begin(1))
    if example.end is not None:
        pipeline.publish(example.end(2), example.begin(3), example.end(4))
    pipeline.take()
    current = rows(pipeline, example)
    assert counts(pipeline, example) != before
    assert forget_old(pipeline.pool, 30, facts=[example.fact]) == 0
    assert rows(pipeline, example) == current, "it is not old yet"
    with pipeline.pool.connection() as db:
        for table, column in example.tables.items():
            if column:
                db.execute(f"UPDATE carillon.{table} SET {column} = {column} - interval '40 days'".encode())
    while forget_old(pipeline.pool, 30, facts=[example.fact]):
        pass
    assert counts(pipeline, example) == before
