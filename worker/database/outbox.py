"""The outbox's table: which relay may move rows, which rows are next, and their outcome. Knows no Redis.

Order: a row gets its id when it is written. So a row that is written after another was committed has a higher id, and whoever
reads it sees the other one too. One relay moves rows at a time, under an advisory lock that lasts until its transaction ends. A
batch has the lowest ids of the waiting rows. Hence no row overtakes one that was committed before it was written. No position is
kept, so the next read finds a row with a low id that is committed late.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import psycopg

from producers.events import MAX_DOCUMENT
from producers.outbox import CHANNEL
from worker.database import locks
from worker.database.postgres import CONNECT_ARGS, Connection, connect, is_direct

#: There is no outbox, or this role may not use it.
Missing = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.errors.InsufficientPrivilege)
#: Any other refusal of Postgres, such as of a write to a replica.
Refused = psycopg.Error

#: Bytes of documents in one batch; a single longer document is a batch alone.
_BATCH_BYTES: Final = 1024 * 1024

# The settings are for this transaction only, so that a pooler does no harm. A relay that stalls with the lock loses it with
# # its session.
_LEAD: Final = (
    "SELECT pg_try_advisory_xact_lock(%s), set_config('statement_timeout', '20s', true),"
    " set_config('idle_in_transaction_session_timeout', '30s', true)"
)
# Skips rows that another transaction has locked, so the relay does not wait for it. Does not read a document that is too
# # long for the contract.
_NEXT: Final = """
WITH next AS MATERIALIZED (
    SELECT id, xmin::text AS version, octet_length(event) AS size,
        CASE WHEN octet_length(event) <= %(longest)s THEN event END AS event
    FROM carillon.outbox WHERE moved_at IS NULL AND failed_at IS NULL AND id > %(after)s
    ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
SELECT id, version, size, event
FROM (SELECT *, sum(size) OVER (ORDER BY id) - size AS before FROM next) AS sized
WHERE before < %(bytes)s ORDER BY id
"""


class Row(NamedTuple):
    id: int
    #: Changes whenever the row does, so that a corrected row is published as another row.
    version: str
    #: Bytes of the document.
    size: int
    #: None if it is longer than any event may be.
    event: str | None


class State(NamedTuple):
    """The state of the outbox, for operators. Ages in seconds."""

    waiting: int
    oldest_waiting: float | None
    kept: int
    failed: int
    #: id, age, error of the latest failures
    failures: list[tuple[int, float, str]]


class Outbox:
    """One session on the database that has the table. Raises psycopg's errors; `close` it after one and call again."""

    def __init__(self, postgres_url: str) -> None:
        self._url = postgres_url
        self._db: Connection | None = None

    def source(self) -> str:
        """A globally unique name of this database, the same for each of its relays."""
        row = (
            self._session()
            .execute(
                "SELECT system_identifier || '-' || d.oid FROM pg_control_system(), pg_database d"
                " WHERE datname = current_database()"
            )
            .fetchone()
        )
        assert row is not None
        return str(row[0])

    @contextmanager
    def lead(self) -> Iterator[bool]:
        """A transaction in which no other relay moves rows. Yields False if another relay has one now."""
        db = self._session()
        with db.transaction():
            row = db.execute(_LEAD, (locks.OUTBOX,)).fetchone()
            yield row is not None and bool(row[0])

    def waiting(self, limit: int, after: int = -(2**63)) -> list[Row]:
        """The next rows behind this id in their order, locked until `lead` ends."""
        given = {"limit": limit, "after": after, "longest": MAX_DOCUMENT, "bytes": _BATCH_BYTES}
        return [Row(*row) for row in self._session().execute(_NEXT.encode(), given)]

    def moved(self, ids: Sequence[int], *, keep: bool) -> None:
        """Deletes rows that are on the stream, or marks them with `keep`."""
        if ids:
            mark, remove = "UPDATE carillon.outbox SET moved_at = now()", "DELETE FROM carillon.outbox"
            self._session().execute(f"{mark if keep else remove} WHERE id = ANY(%s)".encode(), (list(ids),))

    def refuse(self, errors: Mapping[int, str]) -> None:
        """Marks rows that break the contract with their error; they stay in the table."""
        if errors:
            self._session().execute(
                "UPDATE carillon.outbox o SET failed_at = now(), error = e.error"
                " FROM unnest(%s::bigint[], %s::text[]) AS e (id, error) WHERE o.id = e.id",
                (list(errors), list(errors.values())),
            )

    def purge(self, keep_hours: float, limit: int) -> int:
        """Deletes rows that were kept long enough, the oldest first; returns how many."""
        return (
            self._session()
            .execute(
                "DELETE FROM carillon.outbox WHERE id = ANY(ARRAY(SELECT id FROM carillon.outbox"
                " WHERE moved_at < now() - make_interval(secs => %s) ORDER BY moved_at LIMIT %s FOR UPDATE SKIP LOCKED))",
                (keep_hours * 3600, limit),
            )
            .rowcount
        )

    def wait(self, seconds: float) -> bool:
        """Waits for committed rows, but no longer than this; whether there are any. An earlier notification counts."""
        return any(True for _ in self._session().notifies(timeout=seconds, stop_after=1))

    def state(self, failures: int) -> State:
        """The current state of the table, with the latest failures."""
        db = self._session()
        counts = db.execute(
            "SELECT count(*) FILTER (WHERE moved_at IS NULL AND failed_at IS NULL),"
            " extract(epoch FROM now() - min(created_at) FILTER (WHERE moved_at IS NULL AND failed_at IS NULL))::float,"
            " count(moved_at), count(failed_at) FROM carillon.outbox"
        ).fetchone()
        assert counts is not None
        rows: list[Any] = db.execute(
            "SELECT id, extract(epoch FROM now() - failed_at)::float, coalesce(error, '') FROM carillon.outbox"
            " WHERE failed_at IS NOT NULL ORDER BY failed_at DESC, id DESC LIMIT %s",
            (failures,),
        ).fetchall()
        waiting, oldest, kept, failed = counts
        return State(waiting, oldest, kept, failed, rows)

    def close(self) -> None:
        """Ends the session and its locks. The next call begins another session."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _session(self) -> Connection:
        if self._db is None:
            # A pooler may give each transaction another server session, so nothing is prepared.
            db: Connection = connect(self._url, autocommit=True, prepare_threshold=None, **CONNECT_ARGS)
            # Each statement has to see what was committed before it: the rows are read after the lock was taken.
            db.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            self._db = db
            # Behind a pooler another session would get the notification, so there only polling finds rows.
            if is_direct(db):
                # A session that waits for rows is idle. Servers before 14 have no such setting.
                db.execute("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")
                db.execute(f"LISTEN {CHANNEL}".encode())
        return self._db
