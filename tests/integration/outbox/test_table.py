"""The table is the same in the chat server's database and in ours, and its SQL may be run again."""

from typing import Any

import psycopg

from producers import outbox

_CATALOG = """
SELECT column_name, data_type, is_nullable, coalesce(column_default, ''), identity_generation
    FROM information_schema.columns WHERE table_schema = 'carillon' AND table_name = 'outbox'
UNION ALL SELECT 'index', indexdef, '', '', '' FROM pg_indexes WHERE schemaname = 'carillon' AND tablename = 'outbox'
UNION ALL SELECT 'trigger', pg_get_triggerdef(oid), '', '', '' FROM pg_trigger WHERE tgrelid = 'carillon.outbox'::regclass
UNION ALL SELECT 'function', pg_get_functiondef(oid), '', '', '' FROM pg_proc WHERE proname = 'outbox_notify'
UNION ALL SELECT 'options', reloptions::text, '', '', '' FROM pg_class WHERE oid = 'carillon.outbox'::regclass
ORDER BY 1, 2
"""


def catalog(db: "psycopg.Connection[Any]") -> list[Any]:
    return db.execute(_CATALOG).fetchall()


def test_the_printed_sql_makes_what_the_migration_makes(postgres_url: str, empty_postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as ours, psycopg.connect(empty_postgres_url) as theirs:
        theirs.execute(outbox.sql().encode())
        assert catalog(theirs) == catalog(ours)


def test_the_sql_may_be_run_again_and_keeps_the_rows(empty_postgres_url: str) -> None:
    with psycopg.connect(empty_postgres_url) as db:
        db.execute(outbox.sql().encode())
        db.execute("INSERT INTO carillon.outbox (event) VALUES ('{}')")
        db.execute(outbox.sql().encode())
        assert db.execute("SELECT count(*) FROM carillon.outbox").fetchone() == (1,)


def test_without_notify_there_is_no_trigger(empty_postgres_url: str) -> None:
    with psycopg.connect(empty_postgres_url) as db:
        db.execute(outbox.sql(notify=False).encode())
        assert db.execute("SELECT 1 FROM pg_trigger WHERE tgname = 'outbox_notify'").fetchone() is None
        db.execute("INSERT INTO carillon.outbox (event) VALUES ('{}')")
