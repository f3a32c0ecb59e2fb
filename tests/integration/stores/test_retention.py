"""What is kept for a time goes: by whole days, or in bites that cost the same in year three as on day two."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from worker.database.ledger import Ledger
from worker.database.postgres import Pool, Unavailable, open_pool
from worker.database.retention import forget_older, keep_days
from worker.facts import forget_old

TODAY = datetime.now(UTC).date()


@pytest.fixture
def pool(postgres_url: str) -> Iterator[Pool]:
    made = open_pool(postgres_url, size=2)
    yield made
    made.close()


def sql(pool: Pool, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with pool.connection() as db:
        cursor = db.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def days(pool: Pool, table: str) -> list[str]:
    found = sql(pool, "SELECT part FROM carillon.days_of(%s::regclass) ORDER BY ends", f"carillon.{table}")
    return [name.removeprefix(f"{table}_") for (name,) in found]


def day(n: int) -> date:
    return TODAY + timedelta(days=n)


def account(pool: Pool, on: date, event: str) -> None:
    sql(
        pool,
        "INSERT INTO carillon.ledger (app, event_id, part, account, day) VALUES ('demo', %s, 'page:0', '{}', %s)",
        event,
        on,
    )


def test_the_days_of_three_years_come_and_go(pool):
    kept = 20
    for month in range(0, 37, 4):
        now = day(30 * month)
        keep_days(pool, "ledger", kept, today=now)
        for n in range(3):
            account(pool, now + timedelta(days=n), f"e{30 * month + n}")
        assert len(days(pool, "ledger")) <= 8 + kept
    assert sql(pool, "SELECT event_id FROM carillon.ledger ORDER BY 1") == [(f"e{1080 + n}",) for n in range(3)]
    assert sql(pool, "SELECT count(*) FROM carillon.ledger_default") == [(0,)]


def test_a_day_goes_when_all_of_it_is_older(pool):
    keep_days(pool, "ledger", 30)
    for n in (2, 3, 4):
        account(pool, day(n), f"e{n}")
    assert keep_days(pool, "ledger", 30, today=day(33)) == 2, "what the release before wrote, and day 2"
    assert sql(pool, "SELECT event_id FROM carillon.ledger ORDER BY 1") == [("e3",), ("e4",)]


@pytest.mark.parametrize("table", ["ledger", "device_history"])
def test_rows_of_the_release_before_are_kept_and_dropped_together(pool, table):
    assert days(pool, table)[0] == "before"
    assert list(days(pool, table)[1:]) == [f"{day(n):%Y%m%d}" for n in range(2, 8)]
    keep_days(pool, table, 30, today=day(31))
    assert "before" in days(pool, table)
    keep_days(pool, table, 30, today=day(32))
    assert "before" not in days(pool, table)


def test_what_no_day_was_made_for_is_kept_nevertheless(pool):
    """As after a fortnight in which nothing ran, or while the clock is wrong."""
    account(pool, day(14), "e14")
    account(pool, day(400), "e400")
    keep_days(pool, "ledger", 30, today=day(14))
    account(pool, day(14), "another")
    account(pool, day(15), "e15")
    assert len(sql(pool, "SELECT 1 FROM carillon.ledger")) == 4
    assert (
        next(part for part in days(pool, "ledger") if part.isdigit() and part > f"{day(13):%Y%m%d}")
        == f"{day(15):%Y%m%d}"
    )
    keep_days(pool, "ledger", 30, today=day(60))
    assert sql(pool, "SELECT event_id FROM carillon.ledger") == [("e400",)]


def test_a_part_that_is_written_again_is_there_once(pool, journal, redis):
    redis.rpush("carillon:accounts", b'["demo","e1","page:0",{"n":1}]')
    documents = journal.accounts(9)
    ledger = Ledger(pool)
    ledger.flush(journal)
    redis.rpush("carillon:accounts", *documents)
    ledger.flush(journal)
    assert sql(pool, "SELECT account FROM carillon.ledger") == [({"n": 1},)]


def test_who_reads_a_day_holds_up_nobody(pool, postgres_url):
    """The day is dropped another time: who waited for the lock would let everybody wait."""
    with psycopg.connect(postgres_url) as reader:
        reader.execute("SELECT FROM carillon.ledger")
        assert keep_days(pool, "ledger", 30, today=day(40)) == 0
    assert keep_days(pool, "ledger", 30, today=day(40)) == 7


def test_only_who_may_delete_the_rows_may_drop_their_days(pool, postgres_url):
    sql(pool, "CREATE ROLE reads_only LOGIN")
    try:
        sql(pool, "GRANT USAGE ON SCHEMA carillon TO reads_only")
        with psycopg.connect(postgres_url, autocommit=True) as db:
            db.execute("SET SESSION AUTHORIZATION reads_only")
            for table in ("ledger", "members"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    db.execute("SELECT carillon.keep_days(%s, 0, current_date)", (table,))
            db.execute("RESET SESSION AUTHORIZATION")
            db.execute("GRANT DELETE ON carillon.ledger TO reads_only")
            db.execute("SET SESSION AUTHORIZATION reads_only")
            assert db.execute("SELECT carillon.keep_days('ledger', 0, %s)", (day(9),)).fetchone() == (True,)
    finally:
        sql(pool, "DROP OWNED BY reads_only")
        sql(pool, "DROP ROLE reads_only")


PEOPLE = """
INSERT INTO carillon.members (app, channel, user_id, at, present, changed_on)
SELECT 'demo', 'c' || n, u, 1, u = 'stays' AND n %% 2 = 0, %(day)s
FROM generate_series(1, 10) n, unnest(ARRAY['goes', 'stays']) u;
INSERT INTO carillon.channels (app, id, name, push)
SELECT 'demo', 'c' || n, CASE WHEN n = 1 THEN 'named' END, n <> 3 FROM generate_series(1, 10) n;
INSERT INTO carillon.mutes (app, user_id, target, at, muted, changed_on)
SELECT 'demo', 'u' || n, 't', 1, n > 7, %(day)s FROM generate_series(1, 10) n;
INSERT INTO carillon.preferences (app, user_id, channel, thread, at, place, silent_on)
SELECT 'demo', u, 'c' || n, '', 1, 1, CASE WHEN n > 8 THEN %(day)s END
FROM generate_series(1, 10) n, unnest(ARRAY['goes', 'stays', 'no member']) u;
INSERT INTO carillon.threads (app, channel, id, root_seen, people, day)
SELECT 'demo', 'c1', 't' || n, true, 3, %(day)s + n FROM generate_series(1, 10) n;
INSERT INTO carillon.thread_participants (app, thread, channel, user_id, since)
SELECT 'demo', 't' || n, 'c1', 'u' || k, 1 FROM generate_series(1, 10) n, generate_series(1, 3) k;
INSERT INTO carillon.member_past (app, channel, user_id, since, until, ended_at)
SELECT 'demo', 'c1', 'u', n, n + 1, now() - n * interval '12 hours' FROM generate_series(1, 10) n;
INSERT INTO carillon.mute_past (app, user_id, target, since, until, ended_at)
SELECT 'demo', 'u', 't', n, n + 1, now() - n * interval '12 hours' FROM generate_series(1, 10) n;
INSERT INTO carillon.channel_past (app, id, push, until, ended_at)
SELECT 'demo', 'c', true, n, now() - n * interval '12 hours' FROM generate_series(1, 10) n;
"""
TABLES = (
    *("members", "channels", "mutes", "preferences", "threads", "thread_participants"),
    *("member_past", "mute_past", "channel_past"),
)


def people(pool: Pool, days_ago: int) -> None:
    with pool.connection() as db:
        for statement in PEOPLE.split(";"):
            if statement.strip():
                db.cursor().execute(statement.encode(), {"day": day(-days_ago)}, prepare=False)


def counts(pool: Pool) -> dict[str, int]:
    return {table: sql(pool, f"SELECT count(*) FROM carillon.{table}")[0][0] for table in TABLES}


@pytest.mark.parametrize("bite", [3, 1_000])
def test_who_is_gone_is_forgotten(pool, bite):
    people(pool, 36)
    while forget_old(pool, 30, bite=bite, seconds=5):
        pass
    assert counts(pool) == {
        "members": 5,
        "channels": 7,  # with a member, with a name, or switched off
        "mutes": 3,
        "preferences": 12,  # those that say something: of four members, and of who was never one
        "threads": 5,
        "thread_participants": 15,
        **dict.fromkeys(("member_past", "mute_past", "channel_past"), 1),
    }
    assert sql(pool, "SELECT id FROM carillon.channels WHERE name IS NOT NULL OR NOT push ORDER BY 1") == [
        ("c1",),
        ("c3",),
    ]


def test_who_is_gone_for_less_than_that_is_known(pool):
    people(pool, 30)
    before = counts(pool)
    forget_old(pool, 30, bite=1_000, seconds=5)
    assert counts(pool) == before | dict.fromkeys(("member_past", "mute_past", "channel_past"), 1)


def test_a_thread_with_many_people_is_not_forgotten_at_once(pool):
    sql(
        pool,
        "INSERT INTO carillon.threads (app, channel, id, root_seen, people, day)"
        " SELECT 'demo', 'c', 't' || n, true, 100, %s FROM generate_series(1, 10) n",
        day(-40),
    )
    assert forget_old(pool, 30, bite=250, seconds=0.000001) == 0
    assert sql(pool, "SELECT count(*) FROM carillon.threads") <= [(10,)]


def buffers(pool: Pool, statement: str) -> int:
    [(plan,)] = sql(pool, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
    top = plan[0]["Plan"]
    return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])


@pytest.mark.parametrize(
    ("table", "column", "insert", "old", "bound"),
    [
        (
            "messages",
            "seen_at",
            (
                "INSERT INTO carillon.messages (app, event_id, position, message_id, channel, sender, seen_at)"
                " SELECT 'demo', %(run)s || '-' || n, n, '', '', repeat('x', 200), now() - %(age)s * interval '1 day'"
                " FROM generate_series(1, 1000) n"
            ),
            "seen_at < now() - interval '30 days'",
            8,
        ),
        (
            "members",
            "changed_on",
            (
                "INSERT INTO carillon.members (app, channel, user_id, at, present, changed_on)"
                " SELECT 'demo', %(run)s || '', n || repeat('x', 200), 1, false, current_date - %(age)s::int"
                " FROM generate_series(1, 1000) n"
            ),
            "NOT present AND changed_on < current_date - 30",
            8,
        ),
    ],
)
def test_a_prune_that_finds_nothing_reads_a_few_pages_in_any_year(pool, table, column, insert, old, bound):
    """Pages are freed and filled again; today's rows lie among them."""
    look = f"SELECT ctid FROM carillon.{table} WHERE {old} ORDER BY {column} LIMIT 10000"
    read = []
    for run in range(6):
        with pool.connection() as db:
            db.cursor().execute(insert.encode(), {"run": f"old{run}", "age": 40})
            db.cursor().execute(insert.encode(), {"run": f"new{run}", "age": 3})
            db.execute(b"VACUUM ANALYZE carillon." + table.encode())
        if table == "messages":
            assert forget_older(pool, {table: column}, 30, bite=10_000, seconds=5) == 1_000
        else:
            assert forget_old(pool, 30, bite=10_000, seconds=5) == 1_000
        sql(pool, f"VACUUM carillon.{table}")
        read.append(buffers(pool, look))
    assert max(read) <= bound, read


def test_a_lock_that_is_not_to_be_had_is_no_fault(pool, postgres_url):
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE carillon.ledger_default IN ACCESS EXCLUSIVE MODE")
        try:
            assert keep_days(pool, "ledger", 30, today=day(3)) == 0
        except Unavailable:
            pytest.fail("the tick would end here")
