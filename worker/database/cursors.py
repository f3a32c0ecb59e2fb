"""How far the leader has applied each stream, and the places that it gives to entries.

Runs inside the transactions of the lease that leads the intake. The cursor moves by compare-and-set. Its row remembers the
entries of the last transaction with their places, because the leader may die before it has opened them in Redis.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from producers.events import STREAM
from worker.core.entry import UNTAGGED, Names
from worker.core.errors import LeaseLost
from worker.database.postgres import Connection, Pool

BEGINNING: Final = "0-0"
#: Replaces the cursor of an earlier release's leaders once a leader of this release has taken it over.
_TAKEN_OVER: Final = "taken over"


def move_from(source: str) -> str:
    """The statement that moves a cursor, if it is where it is thought to be.

    `source`: '', or a table without whose row nothing moves.
    """
    values = "%(stream)s, %(after)s, %(taken)s, %(first)s::bigint, %(read)s::bigint, clock_timestamp()"
    return (
        "INSERT INTO carillon.cursors AS c (stream, cursor, taken, first_place, read, moved_at)"
        f" SELECT {values}{source and f' FROM {source}'}"
        " ON CONFLICT (stream) DO UPDATE SET cursor = excluded.cursor, taken = excluded.taken,"
        " first_place = excluded.first_place, read = excluded.read, moved_at = excluded.moved_at"
        " WHERE c.cursor = %(before)s"
    )


_MOVE: Final = move_from("")


class Cursor(NamedTuple):
    """The id of the last applied entry, and the places, by id, of the entries that were applied with it, in order."""

    id: str = BEGINNING
    taken: Mapping[str, int] = {}
    #: Entries ever added to the stream, up to `id`; None: not known yet.
    read: int | None = None


def read(db: Connection, names: Names = UNTAGGED) -> dict[str, Cursor]:
    """The cursors of a partition's streams, always with that of `STREAM`, which an early release kept elsewhere."""
    rows = db.execute("SELECT stream, cursor, taken, first_place, read FROM carillon.cursors")
    found = {
        stream: Cursor(id, {one: first + n for n, one in enumerate(taken.split())}, read)
        for stream, id, taken, first, read in rows
        if names.has(stream)
    }
    if names.inlet == STREAM and STREAM not in found:
        found[STREAM] = Cursor(_take_over(db))
    return found


def _take_over(db: Connection) -> str:
    # The older leader's transaction has either ended, or waits for this one and then fails.
    row = db.execute("SELECT cursor FROM carillon.intake WHERE stream = %s FOR UPDATE", (STREAM,)).fetchone()
    cursor = BEGINNING if row is None or row[0] == _TAKEN_OVER else str(row[0])
    db.execute("INSERT INTO carillon.cursors (stream, cursor) VALUES (%s, %s)", (STREAM, cursor))
    if row is not None and row[0] != _TAKEN_OVER:
        db.execute("UPDATE carillon.intake SET cursor = %s WHERE stream = %s", (_TAKEN_OVER, STREAM))
    return cursor


def move(db: Connection, stream: str, before: Cursor, after: Cursor) -> None:
    """Moves the cursor from `before` to `after`. Raises `LeaseLost` if it is not at `before`: another leader moved it."""
    moved = db.execute(_MOVE, moving(stream, before, after))
    if moved.rowcount != 1:
        raise LeaseLost(f"the cursor of {stream} is not at {before.id}")


def moving(stream: str, before: Cursor, after: Cursor) -> dict[str, object]:
    """What `move_from` moves the cursor with, by name."""
    return {
        "stream": stream,
        "before": before.id,
        "after": after.id,
        "taken": " ".join(after.taken),
        "first": min(after.taken.values(), default=0),
        "read": after.read,
    }


def committed(db: Connection, stream: str) -> str:
    """The id up to which the stream's leader has committed."""
    row = db.execute("SELECT cursor FROM carillon.cursors WHERE stream = %s", (stream,)).fetchone()
    return BEGINNING if row is None else str(row[0])


def draw_places(db: Connection, n: int) -> int:
    """The first of `n` new places."""
    row = db.execute("UPDATE carillon.places SET next = next + %(n)s RETURNING next - %(n)s", {"n": n}).fetchone()
    assert row is not None
    return int(row[0])


def draw_at_once(pool: Pool, n: int) -> int:
    """The same in one round trip, for whoever needs places of now: no earlier transaction has any above them."""
    with pool.connection() as db:
        return draw_places(db, n)


def taken(db: Connection) -> dict[str, tuple[str, int | None]]:
    """By stream: the cursor, and how many entries were ever added up to it; None: not known."""
    rows = db.execute("SELECT stream, cursor, read FROM carillon.cursors").fetchall()
    return {stream: (cursor, read) for stream, cursor, read in rows}


def moved_at(db: Connection) -> dict[str, tuple[str, float]]:
    """By stream: the cursor, and when it last moved (UNIX seconds by Postgres' clock)."""
    rows = db.execute("SELECT stream, cursor, extract(epoch FROM moved_at)::float8 FROM carillon.cursors").fetchall()
    return {stream: (cursor, at) for stream, cursor, at in rows}
