"""Records messages, so that each event id is processed once. Runs inside the leader's transaction."""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from worker.core.position import position
from worker.database import bulk, locks
from worker.database.postgres import Connection


class MessageRow(msgspec.Struct, frozen=True):
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
        b" SELECT unnest(%b::text[]), unnest(%b::text[]), unnest(%b::text[]), unnest(%b::text[]), unnest(%b::text[]),"
        b" unnest(%b::text[]), unnest(%b::text[])::text[], unnest(%b::bigint[]), unnest(%b::bigint[])"
        b" ON CONFLICT DO NOTHING RETURNING entry, position",
        bulk.columns([_columns(row) for row in rows]),
    )
    places: dict[str, int] = dict(inserted.fetchall())
    if len(places) < len(rows):
        places |= _recorded(db, [row for row in rows if row.entry not in places])
    return places


def take_over(db: Connection, rows: Sequence[MessageRow], lost: Mapping[str, str], *, partition: int) -> dict[str, int]:
    """Records messages anew whose first entry was lost before anything became of it. `lost`: that entry, by the new one.

    Returns the entries that they are recorded under by now, with their places. One of which the ledger or a dead letter says
    something stays as it is.
    """
    if not lost:
        return {}
    # What was read of the server that was replaced may be on its way into the ledger.
    locks.await_ledger(db, partition)
    found = db.execute(
        b"UPDATE carillon.messages m SET entry = w.entry, position = w.position, seen_at = clock_timestamp(),"
        b" message_id = w.message_id, channel = w.channel, sender = w.sender, mentioned = w.mentioned::text[],"
        b" written = w.written"
        b" FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[],"
        b" %b::bigint[], %b::text[])"
        b" AS w (app, event_id, entry, message_id, channel, sender, mentioned, position, written, lost)"
        b" WHERE m.app = w.app AND m.event_id = w.event_id AND m.entry = w.lost"
        b" AND NOT EXISTS (SELECT FROM carillon.ledger l WHERE l.app = w.app AND l.event_id = w.event_id)"
        b" AND NOT EXISTS (SELECT FROM carillon.dead_letters d WHERE d.app = w.app AND d.event_id = w.event_id"
        b" AND d.entry = w.lost)"
        b" RETURNING m.entry, m.position",
        bulk.columns([(*_columns(row), lost[row.entry]) for row in rows if row.entry in lost]),
    )
    return dict(found.fetchall())


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


def _columns(row: MessageRow) -> tuple[str | int | None, ...]:
    mentioned = bulk.text_array(row.mentioned)
    return (
        *(row.app, row.event_id, row.entry, row.message_id, row.channel, row.sender, mentioned),
        *(row.place, row.written),
    )


def _recorded(db: Connection, rows: Sequence[MessageRow]) -> dict[str, int]:
    """The entries under which messages are recorded, with their places."""
    found = db.execute(
        b"SELECT k.entry, m.entry, m.position FROM unnest(%b::text[], %b::text[], %b::text[]) AS k (app, event_id, entry)"
        b" JOIN carillon.messages m USING (app, event_id)",
        bulk.columns([(row.app, row.event_id, row.entry) for row in rows]),
    )
    # Earlier releases recorded only the position, of entries of the inlet.
    return {
        entry: place
        for entry, of, place in found
        if entry == of or (of is None and "@" not in entry and position(entry) == place)
    }
