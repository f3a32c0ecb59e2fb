"""Reads and writes many rows in one statement, each column as an array.

Arrays are sent in binary form (`%b`), because psycopg writes their text form in Python, string by string.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from worker.database.postgres import Connection, Pool

#: Stored times from here on are microseconds, since March 1973; below, milliseconds.
_MICROSECONDS: Final = 10**14


def columns(rows: Collection[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def write(db: Connection, statement: str, rows: Collection[Sequence[Any]]) -> None:
    """Runs a statement whose placeholders are the rows' columns. Does nothing without rows."""
    if rows:
        db.execute(statement.encode(), columns(rows))


def read(pool: Pool, query: str, keys: Collection[Sequence[Any]], *more: object) -> list[tuple[Any, ...]]:
    """All rows of a query whose placeholders are the keys' columns, then `more`. Without keys: no rows."""
    if not keys:
        return []
    with pool.connection() as db:
        return db.execute(query.encode(), (*columns(keys), *more), prepare=True).fetchall()


def text_array(values: Sequence[str]) -> str | None:
    """A text[] as its literal: unnest would flatten an array of arrays."""
    if not values:
        return None
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"


def read_time(at: int) -> int:
    """Microseconds since the epoch. Earlier releases stored milliseconds, which are below `_MICROSECONDS` until 5138."""
    return at if at >= _MICROSECONDS else at * 1000


def stored_time(at: int) -> int:
    return at if at >= _MICROSECONDS else at // 1000
