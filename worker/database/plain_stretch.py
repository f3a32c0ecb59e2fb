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

# A repeated id fails, and so does the division where the cursor did not move: then all of it does. Arrays in the list of what is
# selected are read row by row; behind FROM each of them would be written down first.
_TAKE: Final = (
    b"moved AS (" + move_from("held").encode() + b" RETURNING 1),"
    b" recorded AS (INSERT INTO carillon.messages (app, event_id, entry, message_id, channel, sender, position, written)"
    b" SELECT unnest(%(apps)b::text[]), unnest(%(ids)b::text[]), unnest(%(entries)b::text[]), unnest(%(messages)b::text[]),"
    b" unnest(%(channels)b::text[]), unnest(%(senders)b::text[]), unnest(%(places)b::bigint[]), unnest(%(written)b::bigint[])"
    b" FROM moved),"
    b" counted AS (INSERT INTO carillon.tallies AS t (source, app, provider, totals)"
    b" SELECT 'intake', app, 0, totals::jsonb FROM moved, unnest(%(of)b::text[], %(totals)b::text[]) AS w (app, totals)"
    + ADD.encode()
    + b")"
    b" SELECT 1 / count(*) FROM moved"
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
    }
    try:
        at_once(_TAKE, given)
    except (psycopg.errors.UniqueViolation, psycopg.errors.DivisionByZero):
        return False
    return True
