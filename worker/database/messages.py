"""Records messages, so that each event id is processed once. Runs inside the leader's transaction."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from worker.core.position import position
from worker.database import bulk
from worker.database.postgres import Connection


class MessageRow(NamedTuple):
    app: str
    event_id: str
    entry: str
    message_id: str
    channel: str
    sender: str
    mentioned: Sequence[str]
    place: int
    #: The event's own list, used instead of the stored members.
    recipients: Sequence[str] | None = None
    #: ms since the epoch: the message's own time.
    written: int = 0


def record(db: Connection, rows: Sequence[MessageRow]) -> dict[str, int]:
    """Records messages; returns the entries that messages are recorded under, with their places.

    An entry with a repeated event id is left out. An entry that was recorded before and is read again is included, with its
    first place.
    """
    if not rows:
        return {}
    inserted = db.execute(
        b"INSERT INTO carillon.messages (app, event_id, entry, message_id, channel, sender, mentioned, position, written)"
        b" SELECT app, event_id, entry, message_id, channel, sender, mentioned::text[], position, written FROM"
        b" unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[],"
        b" %b::bigint[]) AS w (app, event_id, entry, message_id, channel, sender, mentioned, position, written)"
        b" ON CONFLICT DO NOTHING RETURNING entry, position",
        bulk.columns([(*row[:6], bulk.text_array(row.mentioned), row.place, row.written) for row in rows]),
    )
    places: dict[str, int] = dict(inserted.fetchall())
    if len(places) < len(rows):
        places |= _recorded(db, [row for row in rows if row.entry not in places])
    return places


def count_repeats(db: Connection, rows: Sequence[MessageRow]) -> None:
    """Counts that these messages were published again under the same id."""
    times = Counter((row.app, row.event_id) for row in rows)
    bulk.write(
        db,
        "UPDATE carillon.messages m SET repeats = m.repeats + w.n, repeated_at = now()"
        " FROM unnest(%b::text[], %b::text[], %b::int[]) AS w (app, event_id, n)"
        " WHERE m.app = w.app AND m.event_id = w.event_id",
        [(*key, n) for key, n in sorted(times.items())],
    )


def _recorded(db: Connection, rows: Sequence[MessageRow]) -> dict[str, int]:
    """The entries under which messages are recorded, with their places."""
    found = db.execute(
        b"SELECT k.entry, m.entry, m.position FROM unnest(%b::text[], %b::text[], %b::text[]) AS k (app, event_id, entry)"
        b" JOIN carillon.messages m USING (app, event_id)",
        bulk.columns([row[:3] for row in rows]),
    )
    # Earlier releases recorded only the position, of entries of the inlet.
    return {
        entry: place
        for entry, of, place in found
        if entry == of or (of is None and "@" not in entry and position(entry) == place)
    }
