"""The writer's half of the transactional outbox: the table's SQL, and an INSERT for those who write it from Python.

Knows no database driver: a cursor of any DB-API driver with `%s` parameters will do (psycopg, psycopg2, pg8000).
"""

from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, Final, Protocol

from producers.documents import Publishable, documents

#: What `NOTIFY` is sent on when rows were committed.
CHANNEL: Final = "carillon_outbox"
INSERT: Final = "INSERT INTO carillon.outbox (event) VALUES (%s)"
_TRIGGER: Final = "\n-- Wakes the relay at commit."


class Cursor(Protocol):
    """The part of a DB-API cursor that is used."""

    def executemany(self, query: Any, parameters: Sequence[Sequence[str]], /) -> Any: ...


def write(cursor: Cursor, *events: Publishable) -> None:
    """Write the events to the outbox, in their order, in the transaction that the cursor is in.

    Raises `EventError`, before anything is written, for a document that breaks the contract.
    """
    write_many(cursor, events)


def write_many(cursor: Cursor, events: Iterable[Publishable]) -> None:
    """As `write`, for any number of events."""
    checked = documents(events)
    if checked:
        cursor.executemany(INSERT, [(document.decode(),) for document in checked])


def sql(*, notify: bool = True) -> str:
    """The SQL that makes the outbox; it may be run again. Without `notify` commits stay free of NOTIFY's global lock."""
    whole = files("producers").joinpath("outbox.sql").read_text(encoding="utf-8")
    return whole if notify else whole.partition(_TRIGGER)[0]
