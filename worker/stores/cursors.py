"""Up to which entry the intake has applied a stream. Runs inside the transactions of the lease that leads the intake."""

from typing import Final

from worker.stores.lease import LeaseLost
from worker.stores.postgres import Connection

BEGINNING: Final = "0-0"
#: Stands where leaders of the release before keep their cursor, once a leader of this one has taken it over.
_TAKEN_OVER: Final = "taken over"


def read(db: Connection, stream: str) -> str:
    """The id of the last entry that was applied. The first leader of this release takes it over from the one before."""
    row = db.execute("SELECT cursor FROM carillon.cursors WHERE stream = %s", (stream,)).fetchone()
    if row is not None:
        return str(row[0])
    # The older leader's transaction has either ended, or waits for this one and then fails.
    row = db.execute("SELECT cursor FROM carillon.intake WHERE stream = %s FOR UPDATE", (stream,)).fetchone()
    cursor = BEGINNING if row is None or row[0] == _TAKEN_OVER else str(row[0])
    db.execute("INSERT INTO carillon.cursors (stream, cursor) VALUES (%s, %s)", (stream, cursor))
    if row is not None and row[0] != _TAKEN_OVER:
        db.execute("UPDATE carillon.intake SET cursor = %s WHERE stream = %s", (_TAKEN_OVER, stream))
    return cursor


def move(db: Connection, stream: str, old: str, new: str) -> None:
    """Moves the cursor from `old` to `new`. LeaseLost where it is not at `old`: another leader moved it."""
    moved = db.execute(
        "UPDATE carillon.cursors SET cursor = %s, moved_at = clock_timestamp() WHERE stream = %s AND cursor = %s",
        (new, stream, old),
    )
    if moved.rowcount != 1:
        raise LeaseLost(f"the cursor of {stream} is not at {old}")


def moved_at(db: Connection) -> dict[str, tuple[str, float]]:
    """By stream: the cursor, and when it last moved (UNIX seconds by Postgres' clock)."""
    rows = db.execute("SELECT stream, cursor, extract(epoch FROM moved_at)::float8 FROM carillon.cursors").fetchall()
    return {stream: (cursor, at) for stream, cursor, at in rows}
