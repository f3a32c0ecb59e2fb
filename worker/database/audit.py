"""The audit log: what people did, who, where and when. Rows are only added; after a year they are deleted.

`migrations/0023_audit.sql` has the bounds, and the trigger that refuses changes to every role but the one that migrates.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from psycopg.types.json import Jsonb

from worker.database.postgres import Connection, Pool

_COLUMNS: Final = "id, at, who, host, act, app, target, detail, note"


class Entry(NamedTuple):
    """A row of the audit log. `detail` is an object of JSON: `before` and `after` where a value changed, and counts."""

    id: int
    at: datetime
    who: str
    host: str
    act: str
    app: str | None
    target: str | None
    detail: dict[str, Any]
    note: str | None


class Which(NamedTuple):
    """Which entries are meant; None is any. `act` is the beginning of its words, `before` an id."""

    since: datetime | None = None
    app: str | None = None
    act: str | None = None
    who: str | None = None
    before: int | None = None


def add(
    db: Connection,
    act: str,
    *,
    who: str,
    host: str,
    app: str | None,
    target: str | None,
    detail: Mapping[str, Any],
    note: str | None,
) -> None:
    """Adds a row, in the caller's transaction if there is one."""
    db.execute(
        "INSERT INTO carillon.audit (who, host, act, app, target, detail, note) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (who, host, act, app, target, Jsonb(detail), note),
    )


def newest(pool: Pool, which: Which, limit: int) -> list[Entry]:
    """The newest entries first. The next page begins before the last one's id."""
    with pool.connection() as db:
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM carillon.audit"
            " WHERE (%(since)s::timestamptz IS NULL OR at >= %(since)s) AND (%(app)s::text IS NULL OR app = %(app)s)"
            " AND (%(act)s::text IS NULL OR starts_with(act, %(act)s)) AND (%(who)s::text IS NULL OR who = %(who)s)"
            " AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(limit)s".encode(),
            which._asdict() | {"limit": limit},
        ).fetchall()
    return [Entry(*row) for row in rows]


def forget(pool: Pool) -> int:
    """Deletes some rows that are too old, or too many of an act; returns how many."""
    with pool.connection() as db:
        row = db.execute("SELECT carillon.forget_acts()").fetchone()
    return 0 if row is None else int(row[0])
