"""What Postgres knows of streams and entries, when the partitions are changed. Each statement may be repeated."""

from collections.abc import Sequence

from worker.database import bulk
from worker.database.postgres import Connection

_CHUNK = 5_000


def rename_entries(db: Connection, renames: Sequence[tuple[str, str, str, str]]) -> int:
    """Gives recorded messages (app, event id, entry before) their new entry; returns how many were renamed by this call."""
    renamed = 0
    for at in range(0, len(renames), _CHUNK):
        rows = renames[at : at + _CHUNK]
        renamed += db.execute(
            b"UPDATE carillon.messages m SET entry = w.new"
            b" FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[]) AS w (app, event_id, old, new)"
            b" WHERE m.app = w.app AND m.event_id = w.event_id AND m.entry = w.old",
            bulk.columns(rows),
        ).rowcount
    return renamed


def set_cursors(db: Connection, cursors: Sequence[tuple[str, str, int]]) -> None:
    """Up to where new streams count as read, and how many of their entries that are: (stream, id, entries)."""
    for stream, id, read in cursors:
        db.execute(
            "INSERT INTO carillon.cursors AS c (stream, cursor, taken, first_place, read, moved_at)"
            " VALUES (%s, %s, '', 0, %s, clock_timestamp()) ON CONFLICT (stream) DO UPDATE SET cursor = excluded.cursor,"
            " taken = '', first_place = 0, read = excluded.read, moved_at = excluded.moved_at",
            (stream, id, read),
        )


def forget_cursors(db: Connection, inlets: Sequence[str]) -> None:
    """Of these inlets, and of the streams of apps beside them."""
    for inlet in inlets:
        own = f"{inlet}:"
        db.execute("DELETE FROM carillon.cursors WHERE stream = %s OR left(stream, %s) = %s", (inlet, len(own), own))
