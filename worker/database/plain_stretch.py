"""Takes a stretch of a stream that holds only new messages: one statement, and so one round trip.

It does what the leader's transaction does with them. Where anything is not as usual it does nothing, and the transaction finds
out what it is: the lease or the cursor is another leader's, or an id is repeated.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import psycopg

from worker.database import bulk
from worker.database.cursors import Cursor, move_from, moving
from worker.database.messages import MessageRow
from worker.database.tallies import ADD

#: Runs a statement that begins behind `WITH held AS (…)`, which has a row while this process has the lease.
AtOnce = Callable[[bytes, Mapping[str, Any]], object]

# A repeated id fails, and so does the division where the cursor did not move: then all of it does.
_TAKE: Final = (
    b"moved AS (" + move_from("held").encode() + b" RETURNING 1),"
    b" recorded AS (INSERT INTO carillon.messages"
    b" (app, event_id, entry, message_id, channel, sender, mentioned, position, written)"
    b" SELECT app, event_id, entry, message_id, channel, sender, NULL, position, written FROM moved,"
    b" unnest(%(apps)b::text[], %(ids)b::text[], %(entries)b::text[], %(messages)b::text[], %(channels)b::text[],"
    b" %(senders)b::text[], %(places)b::bigint[], %(written)b::bigint[])"
    b" AS w (app, event_id, entry, message_id, channel, sender, position, written)"
    b" RETURNING 1),"
    b" counted AS (INSERT INTO carillon.tallies AS t (source, app, provider, totals)"
    b" SELECT 'intake', app, 0, totals::jsonb FROM moved, unnest(%(of)b::text[], %(totals)b::text[]) AS w (app, totals)"
    + ADD.encode()
    + b")"
    b" SELECT 1 / (count(*) = %(n)s)::int FROM recorded"
)
_encode: Final = msgspec.json.Encoder().encode


def take(
    at_once: AtOnce,
    stream: str,
    before: Cursor,
    after: Cursor,
    rows: Sequence[MessageRow],
    counted: Mapping[str, Mapping[str, int]],
) -> bool:
    """Records the messages, which mention nobody, adds what is counted by app, and moves the cursor.

    Returns whether it did. False: nothing was changed.
    """
    apps, ids, entries, messages, channels, senders, places, written = bulk.columns(
        [
            (row.app, row.event_id, row.entry, row.message_id, row.channel, row.sender, row.place, row.written)
            for row in rows
        ]
    )
    of, totals = bulk.columns([(app, _encode(one).decode()) for app, one in sorted(counted.items())])
    given = moving(stream, before, after) | {
        "apps": apps,
        "ids": ids,
        "entries": entries,
        "messages": messages,
        "channels": channels,
        "senders": senders,
        "places": places,
        "written": written,
        "of": of,
        "totals": totals,
        "n": len(rows),
    }
    try:
        at_once(_TAKE, given)
    except (psycopg.errors.UniqueViolation, psycopg.errors.DivisionByZero):
        return False
    return True
