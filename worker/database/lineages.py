"""Which server's data the streams of a partition are, and since when. Runs inside the transactions of the partition's leader."""

from collections.abc import Sequence
from typing import Final

from worker.database import bulk
from worker.database.messages import MessageRow
from worker.database.postgres import Connection

#: Seconds before a failover in which an event was recorded that it may have lost, and after it in which that is looked at.
BEFORE: Final = 3600.0
AFTER: Final = 86400.0


def note(db: Connection, stream: str, lineage: str) -> float | None:
    """The partition of this inlet has data of this lineage. Returns the seconds since it was another; None: it never was.

    An empty lineage, of a server that does not say, is not noted.
    """
    if not lineage:
        return None
    row = db.execute(
        "INSERT INTO carillon.lineages AS l (stream, lineage) VALUES (%s, %s) ON CONFLICT (stream) DO UPDATE SET"
        " since = CASE l.lineage WHEN excluded.lineage THEN l.since ELSE clock_timestamp() END, lineage = excluded.lineage"
        " RETURNING extract(epoch FROM clock_timestamp() - since)::float8",
        (stream, lineage),
    ).fetchone()
    return None if row is None else row[0]


def repeated(db: Connection, stream: str, rows: Sequence[MessageRow]) -> dict[tuple[str, str], str]:
    """Those of these events that were recorded shortly before the failover, by app and id: the entries that they had."""
    found = db.execute(
        b"SELECT m.app, m.event_id, m.entry FROM carillon.lineages l,"
        b" unnest(%b::text[], %b::text[], %b::text[]) AS k (app, event_id, entry) JOIN carillon.messages m USING (app, event_id)"
        b" WHERE l.stream = %b AND m.entry <> k.entry AND m.seen_at < l.since"
        b" AND m.seen_at > greatest(l.first, l.since - %b * interval '1 s')",
        [*bulk.columns([(row.app, row.event_id, row.entry) for row in rows]), stream, BEFORE],
    )
    return {(app, id): entry for app, id, entry in found}
