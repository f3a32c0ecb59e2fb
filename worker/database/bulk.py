"""Reads and writes many rows in one statement, each column as an array.

Arrays are sent in binary form (`%b`), because psycopg writes their text form in Python, string by string. Strings and integers
are most of what is sent, and have forms of their own here, because psycopg asks several questions about each.
"""

from collections.abc import Collection, Generator, Iterable, Sequence
from itertools import repeat
from struct import Struct
from typing import Any, Final, NamedTuple, TypeVar

import psycopg
from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper
from psycopg.pq import Format

from worker.database.postgres import Connection, Pool

#: Stored times from here on are microseconds, since March 1973; below, milliseconds.
_MICROSECONDS: Final = 10**14
_TEXT: Final = {str}
_INT: Final = {int}
_INT8_OID: Final = psycopg.adapters.types["int8"].oid


class _Texts(list[str]):
    """A text[] without NULL."""


class _TextsDumper(Dumper):
    """Writes an array's literal, with some calls for all of its strings: the binary form takes some for each.

    It is found where the binary form is asked for, because that is what goes faster for every other type.
    """

    format = Format.BINARY
    oid = psycopg.adapters.types["text"].array_oid

    def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        self.format = Format.TEXT

    def dump(self, obj: _Texts) -> bytes:
        # No text in Postgres has a NUL, so it can stand between two.
        texts = "\0".join(obj)
        if texts.count("\0") >= max(1, len(obj)):
            raise psycopg.DataError("text: must not have a NUL (U+0000), which PostgreSQL cannot store")
        quoted = texts.replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","')
        return f'{{"{quoted}"}}'.encode() if obj else b"{}"


class _Numbers(list[int]):
    """A bigint[] without NULL."""


class _NumbersDumper(Dumper):
    """Source: `array_recv` of PostgreSQL: dimensions, whether there are NULLs, type of the elements; size and lower bound of the
    dimension; each element behind its length, 8.
    """

    format = Format.BINARY
    oid = psycopg.adapters.types["int8"].array_oid
    _HEAD: Final = Struct("!5i")
    _ELEMENT: Final = Struct("!iq").pack

    def dump(self, obj: _Numbers) -> bytes:
        elements = map(self._ELEMENT, repeat(8), obj)
        return self._HEAD.pack(1, 0, _INT8_OID, len(obj), 1) + b"".join(elements)


psycopg.adapters.register_dumper(_Texts, _TextsDumper)
psycopg.adapters.register_dumper(_Numbers, _NumbersDumper)


def numbers(values: Iterable[int]) -> list[int]:
    """A list of integers for a placeholder `%b` of a bigint[]."""
    return _Numbers(values)


def texts(values: Iterable[str]) -> list[str]:
    """A list of strings for a placeholder `%b` of a text[]."""
    return _Texts(values)


def columns(rows: Collection[Sequence[Any]]) -> list[list[Any]]:
    return [_column(column) for column in zip(*rows, strict=True)]


def _column(values: Sequence[Any]) -> list[Any]:
    types = set(map(type, values))
    return _Texts(values) if types == _TEXT else _Numbers(values) if types == _INT else list(values)


def write(db: Connection, statement: str, rows: Collection[Sequence[Any]]) -> None:
    """Runs a statement whose placeholders are the rows' columns. Does nothing without rows."""
    if rows:
        db.execute(statement.encode(), columns(rows))


class Query(NamedTuple):
    """A query whose placeholders are the keys' columns, then `more`. Without keys it has no rows, and is not asked."""

    text: str
    keys: Collection[Sequence[Any]]
    more: Sequence[object] = ()


T = TypeVar("T")
Rows = list[tuple[Any, ...]]
#: Something that is found by queries: it gives each, gets its rows, and returns what it found.
Reading = Generator[Query, Rows, T]


def read(pool: Pool, query: str, keys: Collection[Sequence[Any]], *more: object) -> Rows:
    """All rows of a query, as `Query` has it."""
    [rows] = _rows(pool, [Query(query, keys, more)])
    return rows


def found(pool: Pool, reading: Reading[T]) -> T:
    """What one reading finds."""
    result: T
    [result] = together(pool, [reading])
    return result


def together(pool: Pool, readings: Sequence[Reading[Any]]) -> list[Any]:
    """What each of the readings finds. Queries that they give at the same time go to Postgres in one round trip."""
    results: list[Any] = [None] * len(readings)
    asked: dict[int, Query] = {}
    rows: dict[int, Rows | None] = dict.fromkeys(range(len(readings)))
    while rows:
        for number, of_one in rows.items():
            try:
                asked[number] = next(readings[number]) if of_one is None else readings[number].send(of_one)
            except StopIteration as end:
                results[number] = end.value
        rows = dict(zip(asked, _rows(pool, [*asked.values()]), strict=True))
        asked.clear()
    return results


def _rows(pool: Pool, queries: Sequence[Query]) -> list[Rows]:
    wanted = [number for number, query in enumerate(queries) if query.keys]
    answers: list[Rows] = [[] for _ in queries]
    if not wanted:
        return answers
    with pool.connection() as db:
        if len(wanted) == 1:
            answers[wanted[0]] = _execute(db, queries[wanted[0]]).fetchall()
            return answers
        with db.pipeline():
            cursors = {number: _execute(db, queries[number]) for number in wanted}
        for number, cursor in cursors.items():
            answers[number] = cursor.fetchall()
    return answers


def _execute(db: Connection, query: Query) -> psycopg.Cursor[tuple[Any, ...]]:
    return db.execute(query.text.encode(), (*columns(query.keys), *query.more), prepare=True)


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
