"""Writes entries into the ledger: by COPY in its binary form, which costs Postgres half of what INSERT costs it, or by that.

Source of the form: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

import msgspec

from worker.core.ledger_entry import Entry
from worker.database.postgres import Connection

_COLUMNS: Final = b"carillon.ledger (at, day, app, event_id, part, account, moment, provider, took)"
_COPY: Final = b"COPY " + _COLUMNS + b" FROM STDIN (FORMAT binary)"
#: One parameter: a list of each column would cost the client as much as the rest.
_INSERT: Final = (
    b"INSERT INTO " + _COLUMNS + b" SELECT statement_timestamp(), (statement_timestamp() AT TIME ZONE 'utc')::date,"
    b" e ->> 0, e ->> 1, e ->> 2, e -> 3, (e ->> 4)::bigint, (e ->> 5)::int, (e ->> 6)::int"
    b" FROM jsonb_array_elements(%s::jsonb) AS w (e) ON CONFLICT DO NOTHING"
)
#: Both count from the year 2000: microseconds, and days.
_NOW: Final = (
    b"SELECT (extract(epoch FROM now - '2000-01-01Z'::timestamptz) * 1000000)::bigint,"
    b" (now AT TIME ZONE 'utc')::date - '2000-01-01'::date FROM clock_timestamp() AS now"
)
_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_encode: Final = msgspec.json.Encoder().encode
#: Each column stands behind its length, a row behind the number of its columns, JSON behind the version of its form.
_FIRST: Final = Struct("!hiqii").pack
_LENGTH: Final = Struct("!i").pack
_JSON: Final = Struct("!ib").pack
#: Parts of rows that are written at once.
_PARTS: Final = 1_000
_LAST: Final = Struct("!iqiiii").pack


def copy(db: Connection, entries: Iterable[Entry]) -> None:
    """Inside the caller's transaction, which has the ledger's lock. Raises `UniqueViolation` where one is there already."""
    # By the time of now, with the lock: what is read by time misses no entry that was written meanwhile.
    [now] = db.execute(_NOW).fetchall()
    with db.cursor() as cursor, cursor.copy(_COPY) as writing:
        for some in _copied(entries, *now):
            writing.write(some)


def insert(db: Connection, entries: Iterable[Entry]) -> None:
    """The same, and those that are there already stay as they are."""
    db.execute(_INSERT, [_encode([*entries]).decode()])


def _copied(entries: Iterable[Entry], at: int, day: int) -> Iterator[bytes]:
    """What is copied, in pieces. No entry is kept: thousands together would not stay in the processor's cache."""
    first = _FIRST(9, 8, at, 4, day)
    begin: dict[str, bytes] = {}
    parts = [_HEAD]
    for entry in entries:
        if (head := begin.get(entry.app)) is None:
            app = entry.app.encode()
            head = begin[entry.app] = first + _LENGTH(len(app)) + app
        event, part, account = entry.event_id.encode(), entry.part.encode(), entry.account
        parts += (
            head,
            _LENGTH(len(event)),
            event,
            _LENGTH(len(part)),
            part,
            _JSON(len(account) + 1, 1),
            account,
            _LAST(8, entry.moment, 4, entry.provider, 4, entry.took),
        )
        if len(parts) > _PARTS:
            yield b"".join(parts)
            parts.clear()
    parts.append(_END)
    yield b"".join(parts)
