"""What Postgres knows about events, users and devices, for `carillon why`. Only reads. No result contains a whole document."""

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from worker.database.long_tokens import TOKEN
from worker.database.postgres import Connection

#: Of dead letters whose app or id is not known so many are searched, the newest, and none that has more bytes.
_ILLEGIBLE: Final = {"illegible": 200, "octets": 65_536}
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


def letters(
    db: Connection, app: str, event_id: str, limit: int, *, documents: bool = True
) -> list[tuple[int, float, str]]:
    """Id, time and reason of the event's dead letters, the newest first.

    Also of documents of which no app or id could be read, if the event's id is somewhere in them; not without `documents`.
    """
    named = json.dumps(event_id, ensure_ascii=False).encode()
    return db.execute(
        "SELECT id, extract(epoch FROM at)::float8, error FROM carillon.dead_letters WHERE id = ANY(ARRAY("
        "SELECT id FROM carillon.dead_letters WHERE app = %(app)s AND event_id = %(event)s)"
        f"{_NAMING if documents else ''}) ORDER BY id DESC LIMIT %(limit)s".encode(),
        {"app": app, "event": event_id, "named": named, "limit": limit} | _ILLEGIBLE,
    ).fetchall()


#: Ids of letters whose document has the event's id, and of which no app or id could be read.
_NAMING: Final = (
    " || ARRAY(SELECT id FROM (SELECT id, app, event_id, document FROM carillon.dead_letters"
    " WHERE (app IS NULL OR event_id IS NULL) AND size <= %(octets)s ORDER BY id DESC LIMIT %(illegible)s) AS l"
    " WHERE coalesce(app, %(app)s) = %(app)s AND coalesce(event_id, %(event)s) = %(event)s"
    " AND position(%(named)s::bytea IN document) > 0)"
)


def devices(db: Connection, app: str, users: Sequence[str], limit: int) -> list[tuple[str, int, float]]:
    """The users' active devices for alerts, each with its user and the UNIX seconds of its registration."""
    return db.execute(
        "SELECT user_id, id, registered_at / 1000.0::float8 FROM carillon.devices"
        " WHERE app = %s AND user_id = ANY(%s) AND active AND purpose = 'alert' ORDER BY id LIMIT %s",
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
    purpose: str


def providers(db: Connection, devices: Sequence[int]) -> dict[int, Reached]:
    """The provider of each of the devices."""
    rows = db.execute(
        f"SELECT d.id, p.id, p.name, p.kind, {TOKEN}, d.platform, d.purpose FROM carillon.devices d"
        " JOIN carillon.providers p ON p.id = d.provider_id WHERE d.id = ANY(%s)".encode(),
        (list(devices),),
    ).fetchall()
    return {device: Reached(*found) for device, *found in rows}


def providers_only(db: Connection, devices: Sequence[int]) -> dict[int, Reached]:
    """The same for whoever may read no token: by which origin a device is reached is not known then."""
    rows = db.execute(
        "SELECT d.id, p.id, p.name, p.kind, '', d.platform, d.purpose FROM carillon.devices d"
        " JOIN carillon.providers p ON p.id = d.provider_id WHERE d.id = ANY(%s)",
        (list(devices),),
    ).fetchall()
    return {device: Reached(*found) for device, *found in rows}


def provider_names(db: Connection) -> dict[int, tuple[str, str, str]]:
    """App, name and form of the settings of each provider, also of removed ones."""
    rows = db.execute("SELECT id, app, name, kind FROM carillon.providers").fetchall()
    return {id: (app, name, form) for id, app, name, form in rows}


class Said(NamedTuple):
    """What is known of a message beside its text: '' for what it has not, as a targeted push has no channel."""

    entry: str
    message: str
    channel: str
    sender: str
    #: UNIX seconds at which it was recorded.
    at: float


def said(db: Connection, events: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Said]:
    """Of these (app, event id) those that were recorded."""
    rows = db.execute(
        "SELECT m.app, m.event_id, coalesce(m.entry, ''), m.message_id, m.channel, m.sender,"
        " extract(epoch FROM m.seen_at)::float8 FROM unnest(%s::text[], %s::text[])"
        " AS w (app, event_id) JOIN carillon.messages m USING (app, event_id)",
        ([app for app, _ in events], [event for _, event in events]),
    ).fetchall()
    return {(app, event): Said(*rest) for app, event, *rest in rows}


def outcomes_of(
    db: Connection, app: str, events: Sequence[str], named: str
) -> list[tuple[str, str, float, dict[str, Any], int, int]]:
    """The batches of these events whose entry has this text: event id, and what `parts` has of each."""
    return db.execute(
        f"SELECT l.event_id, part, {MOMENT}, account, provider, took FROM unnest(%s::text[]) AS w (event_id)"
        " JOIN carillon.ledger l ON l.app = %s AND l.event_id = w.event_id"
        " WHERE starts_with(part, 'batch:') AND strpos(account::text, %s) > 0 ORDER BY 3, part".encode(),
        (list(events), app, named),
    ).fetchall()


def owners(db: Connection, device: int, since: datetime) -> list[str]:
    """Who had a device since then, as far as its history tells: its users, each once."""
    rows = db.execute(
        "SELECT user_id FROM carillon.devices WHERE id = %(device)s AND user_id IS NOT NULL UNION"
        " SELECT user_id FROM carillon.device_history WHERE device = %(device)s AND at >= %(since)s"
        " AND user_id IS NOT NULL",
        {"device": device, "since": since},
    ).fetchall()
    return sorted(user for (user,) in rows)


def kept_since(db: Connection) -> float:
    """UNIX seconds of the first migration: nothing is older."""
    [(at,)] = db.execute("SELECT extract(epoch FROM min(applied_at))::float8 FROM carillon.migrations").fetchall()
    return float(at)


class Named(NamedTuple):
    """An event that an id names."""

    app: str
    event: str
    message: str
    channel: str
    #: UNIX seconds at which it was recorded; None: only its ledger entries or dead letters are known.
    at: float | None


_NAMED: Final = "app, event_id, message_id, channel, extract(epoch FROM seen_at)::float8"


def events_named(db: Connection, apps: Sequence[str], id: str, limit: int) -> list[Named]:
    """Events with this id, and those of messages with this id, the newest first."""
    rows = db.execute(
        f"SELECT {_NAMED} FROM carillon.messages WHERE app = ANY(%(apps)s) AND event_id = %(id)s UNION"
        f" (SELECT {_NAMED} FROM carillon.messages WHERE app = ANY(%(apps)s) AND message_id = %(id)s LIMIT %(limit)s)"
        " ORDER BY 5 DESC LIMIT %(limit)s".encode(),
        {"apps": list(apps), "id": id, "limit": limit},
    ).fetchall()
    found = [Named(*row) for row in rows]
    if any(one.event == id for one in found):
        return found
    others = db.execute(
        "SELECT DISTINCT app FROM carillon.ledger WHERE app = ANY(%(apps)s) AND event_id = %(id)s UNION"
        " SELECT DISTINCT app FROM carillon.dead_letters WHERE app = ANY(%(apps)s) AND event_id = %(id)s",
        {"apps": list(apps), "id": id},
    ).fetchall()
    return [*found, *(Named(app, id, "", "", None) for (app,) in sorted(others))]


def users_named(db: Connection, apps: Sequence[str], user: str) -> list[tuple[str, int]]:
    """App and number of active devices, of apps in which somebody of this id has any."""
    return db.execute(
        "SELECT app, count(*) FROM carillon.devices WHERE app = ANY(%s) AND user_id = %s AND active"
        " GROUP BY app ORDER BY app",
        (list(apps), user),
    ).fetchall()


class ShownDevice(NamedTuple):
    """A device without its token. Times in UNIX seconds."""

    id: int
    app: str
    user: str | None
    platform: str
    provider: str | None
    active: bool
    registered_at: float
    app_version: str | None
    locale: str | None
    #: The day of its last accepted push.
    last_accepted: date | None
    retired_reason: str | None
    retired_at: float | None
    purpose: str


_SHOWN: Final = (
    "SELECT d.id, d.app, d.user_id, d.platform, p.name, d.active, d.registered_at / 1000.0::float8, d.app_version, d.locale,"
    " u.accepted, d.retired_reason, extract(epoch FROM d.retired_at)::float8, d.purpose FROM carillon.devices d"
    " LEFT JOIN carillon.providers p ON p.id = d.provider_id LEFT JOIN carillon.device_use u ON u.device = d.id"
)


def devices_of(db: Connection, app: str, user: str, limit: int, *, ended: bool = False) -> list[ShownDevice]:
    """A user's devices, the newest registration first; with `ended` also those that are not active, for which no index is."""
    rows = db.execute(
        (
            f"{_SHOWN} WHERE d.app = %s AND d.user_id = %s{'' if ended else ' AND d.active'}"
            " ORDER BY d.active DESC, d.registered_at DESC LIMIT %s"
        ).encode(),
        (app, user, limit),
    ).fetchall()
    return [ShownDevice(*row) for row in rows]


def device(db: Connection, id: int) -> ShownDevice | None:
    row = db.execute(f"{_SHOWN} WHERE d.id = %s".encode(), (id,)).fetchone()
    return None if row is None else ShownDevice(*row)


def history(db: Connection, devices: Sequence[int], limit: int) -> list[tuple[int, float, str, str | None, str | None]]:
    """Device, time (UNIX seconds), what happened, user and detail, the newest first."""
    return db.execute(
        "SELECT device, extract(epoch FROM at)::float8, what, user_id, detail FROM carillon.device_history"
        " WHERE device = ANY(%s) ORDER BY id DESC LIMIT %s",
        (list(devices), limit),
    ).fetchall()
