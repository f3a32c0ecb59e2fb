"""A database for each test. Making one takes longer than most tests, so that it is emptied behind a test and given to another."""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

_numbers = count(1)

#: Tables, columns, functions and what else a test could have changed. The catalogue of a copy has the rows of the original's,
#: with the transactions that wrote them; the count of tuples is what ANALYZE found.
_SHAPE = """
WITH ours AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
relations AS (SELECT oid, xmin, reltuples FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours))
SELECT md5(string_agg(line, ' ' ORDER BY line)) FROM (
    SELECT format('relation %s %s %s', oid, xmin, reltuples) FROM relations
    UNION ALL SELECT format('column %s %s %s', attrelid, attnum, xmin) FROM pg_attribute
              WHERE attrelid IN (SELECT oid FROM relations)
    UNION ALL SELECT format('constraint %s %s', oid, xmin) FROM pg_constraint WHERE connamespace IN (SELECT oid FROM ours)
    UNION ALL SELECT format('trigger %s %s', oid, xmin) FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM relations)
    UNION ALL SELECT format('function %s %s', oid, xmin) FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours)
    UNION ALL SELECT format('schema %s %s', oid, xmin) FROM pg_namespace WHERE oid IN (SELECT oid FROM ours)
    UNION ALL SELECT format('setting %s', setconfig) FROM pg_db_role_setting
              WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS lines (line)
"""
_TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'carillon'::regnamespace AND relkind = 'r'"
#: Those that have pages. Most tests write to few, and a session that has just begun plans each statement anew.
_WRITTEN = f"{_TABLES} AND pg_relation_size(oid) > 0"
_SIZE = "SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relnamespace = 'carillon'::regnamespace"
_OTHERS = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
#: Octets by which a database may have grown. The rows of a larger one are gone, and their room is not.
_GROWN = 2**20


def named(url: str, name: str) -> str:
    """The URL of another database of the server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def admin(url: str, statement: str) -> None:
    with psycopg.connect(url, dbname="postgres", autocommit=True) as connection:
        connection.execute(statement.encode())


def create(url: str, template: str) -> str:
    """The URL of a new database."""
    name = f"test_{next(_numbers)}"
    admin(url, f"CREATE DATABASE {name} TEMPLATE {template}")
    return named(url, name)


def drop(url: str) -> None:
    admin(url, f"DROP DATABASE {urlsplit(url).path[1:]} WITH (FORCE)")


class Databases:
    """Copies of a template. They are made ahead of the tests that want them, and emptied behind them, in one thread."""

    def __init__(self, url: str, template: str) -> None:
        self._url, self._template = url, template
        with psycopg.connect(named(url, template)) as db:
            self._shape, self._size = _one(db, _SHAPE), _one(db, _SIZE)
            self._emptying, self._sequences = _emptying(db), _sequences(db)
            self._filled = _written(db)
        self._ready: queue.Queue[str] = queue.Queue(maxsize=2)
        self._used: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="databases", daemon=True)
        self._thread.start()

    @contextmanager
    def one(self) -> Iterator[str]:
        """The URL of a database that is as the template."""
        url = self._ready.get(timeout=60)
        try:
            yield url
        finally:
            self._used.put(url)

    def close(self) -> None:
        self._used.put(None)
        self._thread.join(60)

    def _run(self) -> None:
        for _ in range(self._ready.maxsize):
            self._ready.put(create(self._url, self._template))
        while (url := self._used.get()) is not None:
            if self._emptied(url):
                self._ready.put(url)
            else:
                self._ready.put(create(self._url, self._template))
                drop(url)

    def _emptied(self, url: str) -> bool:
        """Whether the database is as the template again."""
        try:
            with psycopg.connect(url) as db:
                db.execute(_OTHERS)
                if _one(db, _SHAPE) != self._shape or _one(db, _SIZE) > self._size + _GROWN:
                    return False
                written = sorted(_written(db) | self._filled)
                db.execute(sql.SQL("; ").join([*map(self._emptying.__getitem__, written), self._sequences]))
        except psycopg.Error:
            return False
        return True


def _written(db: psycopg.Connection) -> set[str]:
    return {name for (name,) in db.execute(_WRITTEN.encode()).fetchall()}


def _one(db: psycopg.Connection, statement: str) -> int:
    [row] = db.execute(statement.encode()).fetchall()
    return int(row[0], 16) if isinstance(row[0], str) else int(row[0])


def _emptying(db: psycopg.Connection) -> dict[str, sql.Composed]:
    """By table what makes its rows those that this database has. No trigger and no foreign key is in its way."""
    found = {}
    for (name,) in db.execute(_TABLES.encode()).fetchall():
        table = sql.Identifier("carillon", name)
        statements: list[sql.Composable] = [sql.SQL("SET LOCAL session_replication_role = replica")]
        statements.append(sql.SQL("DELETE FROM {}").format(table))
        [(rows,)] = db.execute(sql.SQL("SELECT json_agg(t)::text FROM {} t").format(table)).fetchall()
        if rows is not None:
            filling = "INSERT INTO {0} OVERRIDING SYSTEM VALUE SELECT * FROM json_populate_recordset(NULL::{0}, {1})"
            statements.append(sql.SQL(filling).format(table, sql.Literal(rows)))
        found[name] = sql.SQL("; ").join(statements)
    return found


def _sequences(db: psycopg.Connection) -> sql.Composed:
    """What makes the sequences those that this database has."""
    calls: list[sql.Composable] = []
    for name, start, last in db.execute(
        "SELECT sequencename, start_value, last_value FROM pg_sequences WHERE schemaname = 'carillon'"
    ).fetchall():
        sequence, called = sql.Literal(f"carillon.{name}"), sql.Literal(last is not None)
        calls.append(sql.SQL("setval({}, {}, {})").format(sequence, sql.Literal(last or start), called))
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls))
