"""What Postgres knows about one event, for `carillon why`. Only reads. No result contains a whole document."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from worker.database.long_tokens import TOKEN
from worker.database.postgres import Connection

#: UNIX seconds of what a ledger entry tells; if a release before wrote it, those at which the ledger took it down.
MOMENT: Final = "coalesce(nullif(moment, 0) / 1000.0, extract(epoch FROM at))::float8"


def parts(db: Connection, app: str, event_id: str) -> list[tuple[str, float, dict[str, Any], int, int]]:
    """Name, time (UNIX seconds), content, provider and `took` (ms) of each ledger entry of the event, the oldest first."""
    return db.execute(
        f"SELECT part, {MOMENT}, account, provider, took FROM carillon.ledger"
        " WHERE app = %s AND event_id = %s ORDER BY 2, part".encode(),
        (app, event_id),
    ).fetchall()


def recorded(db: Connection, app: str, event_id: str) -> tuple[str, float, int, float | None] | None:
    """The entry, when it was recorded, how often it was published again, and when last (UNIX seconds)."""
    row = db.execute(
        "SELECT position, entry, extract(epoch FROM seen_at)::float8, repeats,"
        " extract(epoch FROM repeated_at)::float8 FROM carillon.messages WHERE app = %s AND event_id = %s",
        (app, event_id),
    ).fetchone()
    if row is None:
        return None
    position, name, *rest = row
    # Earlier releases recorded the entry as one number.
    return (f"{position >> 20}-{position & 0xFFFFF}" if name is None else name, *rest)


def letters(db: Connection, app: str, event_id: str, limit: int) -> list[tuple[int, float, str]]:
    """Id, time and reason of the event's dead letters, the newest first."""
    return db.execute(
        "SELECT id, extract(epoch FROM at)::float8, error FROM carillon.dead_letters"
        " WHERE app = %s AND event_id = %s ORDER BY id DESC LIMIT %s",
        (app, event_id, limit),
    ).fetchall()


def devices(db: Connection, app: str, users: Sequence[str], limit: int) -> list[tuple[str, int]]:
    """The users' active devices."""
    return db.execute(
        "SELECT user_id, id FROM carillon.devices WHERE app = %s AND user_id = ANY(%s) AND active ORDER BY id LIMIT %s",
        (app, list(users), limit),
    ).fetchall()


class Reached(NamedTuple):
    """By which provider a device is reached, and what tells by which of its origins."""

    provider: int
    name: str
    #: The form of the provider's settings.
    form: str
    token: str
    platform: str


def providers(db: Connection, devices: Sequence[int]) -> dict[int, Reached]:
    """The provider of each of the devices."""
    rows = db.execute(
        f"SELECT d.id, p.id, p.name, p.kind, {TOKEN}, d.platform FROM carillon.devices d"
        " JOIN carillon.providers p ON p.id = d.provider_id WHERE d.id = ANY(%s)".encode(),
        (list(devices),),
    ).fetchall()
    return {device: Reached(*found) for device, *found in rows}
