"""Whether a message could reach a device, by the current rows in Postgres."""

from collections.abc import Sequence
from typing import NamedTuple

import psycopg

#: Milliseconds that the query may take.
_LIMIT = 2_000


class Notifiable(NamedTuple):
    """What a message to a channel, or to `recipients`, would find. If the app does not exist, nothing else is counted."""

    app: bool
    pushes: bool = False
    provider: bool = False
    channel: bool = False
    people: bool = False
    device: bool = False


def notifiable(
    db: "psycopg.Connection[tuple[bool, ...]]", app: str, channel: str, sender: str, recipients: Sequence[str] | None
) -> Notifiable:
    """What a message of `sender` would find. `recipients` replace the channel's members. Raises `psycopg.Error`."""
    people = (
        "SELECT user_id FROM carillon.members WHERE app = %(app)s AND channel = %(channel)s AND present"
        if recipients is None
        else "SELECT unnest(%(recipients)s::text[]) AS user_id"
    )
    statement = (
        "SELECT push_enabled,"
        " EXISTS (SELECT FROM carillon.providers WHERE app = %(app)s AND removed_at IS NULL),"
        " EXISTS (SELECT FROM carillon.channels WHERE app = %(app)s AND id = %(channel)s),"
        f" EXISTS (SELECT FROM ({people}) AS p WHERE user_id <> %(sender)s),"
        f" EXISTS (SELECT FROM ({people}) AS p JOIN carillon.devices d ON d.app = %(app)s AND d.user_id = p.user_id"
        " WHERE p.user_id <> %(sender)s AND d.active AND d.purpose = 'alert')"
        " FROM carillon.apps WHERE name = %(app)s"
    )
    values = {"app": app, "channel": channel, "sender": sender, "recipients": recipients and list(recipients)}
    with db.transaction():
        db.execute("SELECT set_config('statement_timeout', %s, true)", (str(_LIMIT),))
        row = db.execute(statement.encode(), values).fetchone()
    return Notifiable(False) if row is None else Notifiable(True, *row)
