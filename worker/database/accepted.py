"""The devices by which a message was accepted, as the ledger has them."""

from typing import Final, NamedTuple

from worker.database.postgres import Pool

#: Devices of one message that are looked up, the last ones first.
MOST: Final = 10_000


class Accepted(NamedTuple):
    user: str
    device: int
    #: When it was, ms since the epoch.
    at: int
    #: The message's own time, ms since the epoch; 0: not known.
    written: int


def accepted(pool: Pool, app: str, channel: str, message: str, *, besides: str) -> list[Accepted]:
    """Those of the message and of its edits, each device once, but not those of the event `besides`."""
    with pool.connection() as db:
        rows = db.execute(
            "SELECT DISTINCT ON (device) user_id, device, moment, written FROM"
            " (SELECT a ->> 0 AS user_id, (a ->> 1)::bigint AS device, l.moment, m.written FROM carillon.messages m"
            " JOIN carillon.ledger l ON l.app = m.app AND l.event_id = m.event_id AND l.part LIKE 'batch:%%'"
            " CROSS JOIN jsonb_array_elements(l.account -> 'accepted') a"
            " WHERE m.app = %s AND m.message_id = ANY(%s) AND m.channel = %s AND m.event_id <> %s"
            " ORDER BY l.moment DESC LIMIT %s) f ORDER BY device, moment DESC",
            (app, [message, edits_of(message)], channel, besides, MOST),
        ).fetchall()
    return [Accepted(*row) for row in rows]


def edits_of(message: str) -> str:
    """What an edit is recorded under: no message has such an id."""
    return f"\n{message}"
