"""Applies what chat servers publish about members, mutes, channels and messages, in bulk; for devices see `device_writes`.

Each function takes the writes of many events in the order in which they were published, folds what concerns the same row by
the writes' own times (the later one wins, of equals the one published later), and makes one statement of the rest. All run
inside the caller's transaction. Times are milliseconds since the epoch.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from worker.core.position import position
from worker.stores.postgres import Connection

#: People that a thread has at most. It is read for each of its replies, and a client can name whom it likes.
THREAD_PEOPLE: Final = 5_000


class MemberWrite(NamedTuple):
    app: str
    channel: str
    user: str
    at: int
    present: bool


class MuteWrite(NamedTuple):
    app: str
    user: str
    target: str
    at: int
    muted: bool


class ChannelWrite(NamedTuple):
    """`None`: leave as it is."""

    app: str
    id: str
    name: str | None
    push: bool | None
    at: int


class MessageRow(NamedTuple):
    app: str
    event_id: str
    entry: str
    message_id: str
    parent_id: str | None
    channel: str
    sender: str
    mentioned: Sequence[str]
    place: int
    #: Who wrote the root, where the event says so.
    parent_sender: str | None = None
    #: The event's own list in place of the stored members.
    recipients: Sequence[str] | None = None


_W = TypeVar("_W", MemberWrite, MuteWrite, ChannelWrite)


def write_members(db: Connection, writes: Iterable[MemberWrite]) -> None:
    latest = _latest(((write.app, write.channel, write.user), write) for write in writes)
    if not latest:
        return
    _bulk(
        db,
        "INSERT INTO carillon.channels (app, id) SELECT DISTINCT * FROM unnest(%b::text[], %b::text[])"
        " ON CONFLICT DO NOTHING",
        sorted({(write.app, write.channel) for write in latest}),
    )
    _bulk(
        db,
        "INSERT INTO carillon.members AS m (app, channel, user_id, at, present)"
        " SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::boolean[])"
        " ON CONFLICT (app, channel, user_id) DO UPDATE SET at = excluded.at, present = excluded.present"
        " WHERE m.at <= excluded.at",
        latest,
    )


def write_mutes(db: Connection, writes: Iterable[MuteWrite]) -> None:
    _bulk(
        db,
        "INSERT INTO carillon.mutes AS m (app, user_id, target, at, muted)"
        " SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::boolean[])"
        " ON CONFLICT (app, user_id, target) DO UPDATE SET at = excluded.at, muted = excluded.muted"
        " WHERE m.at <= excluded.at",
        _latest(((write.app, write.user, write.target), write) for write in writes),
    )


def write_channels(db: Connection, writes: Iterable[ChannelWrite]) -> None:
    writes = list(writes)
    _bulk(
        db,
        "INSERT INTO carillon.channels (app, id) SELECT DISTINCT * FROM unnest(%b::text[], %b::text[])"
        " ON CONFLICT DO NOTHING",
        sorted({(write.app, write.id) for write in writes}),
    )
    names = _latest(((write.app, write.id), write) for write in writes if write.name is not None)
    _bulk(
        db,
        "UPDATE carillon.channels c SET name = w.name, name_at = w.at"
        " FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[]) AS w (app, id, name, at)"
        " WHERE c.app = w.app AND c.id = w.id AND c.name_at <= w.at",
        [(write.app, write.id, write.name, write.at) for write in names],
    )
    pushes = _latest(((write.app, write.id), write) for write in writes if write.push is not None)
    _bulk(
        db,
        "UPDATE carillon.channels c SET push = w.push, push_at = w.at"
        " FROM unnest(%b::text[], %b::text[], %b::boolean[], %b::bigint[]) AS w (app, id, push, at)"
        " WHERE c.app = w.app AND c.id = w.id AND c.push_at <= w.at",
        [(write.app, write.id, write.push, write.at) for write in pushes],
    )


def write_messages(db: Connection, rows: Sequence[MessageRow]) -> dict[str, int]:
    """Records messages and their threads; returns the entries that messages are recorded under, with their places.

    A repeated event id is not among them. An entry that was recorded before and is taken again is, at its first place. Of the
    mentioned only members of the channel, or those whom the event lists, are recorded. Members are written before.
    """
    if not rows:
        return {}
    named = _named(db, rows)
    fields = [
        (row.app, row.event_id, row.place, row.entry, row.message_id, row.channel, row.sender, _array(people))
        for row, people in zip(rows, named, strict=True)
    ]
    inserted = db.execute(
        b"INSERT INTO carillon.messages (app, event_id, position, entry, message_id, channel, sender, mentioned)"
        b" SELECT app, event_id, position, entry, message_id, channel, sender, mentioned::text[] FROM"
        b" unnest(%b::text[], %b::text[], %b::bigint[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[])"
        b" AS w (app, event_id, position, entry, message_id, channel, sender, mentioned)"
        b" ON CONFLICT DO NOTHING RETURNING entry, position",
        _columns(fields),
    )
    places: dict[str, int] = dict(inserted.fetchall())
    if len(places) < len(rows):
        places |= _recorded(db, [row for row in rows if row.entry not in places])
    replies = zip(rows, named, strict=True)
    ours = [(row, people) for row, people in replies if row.parent_id is not None and row.entry in places]
    _write_threads(db, ours, places)
    return places


def _named(db: Connection, rows: Sequence[MessageRow]) -> list[Sequence[str]]:
    """Those of the mentioned of each message who are in its audience."""
    asked = sorted({(row.app, row.channel, user) for row in rows if row.recipients is None for user in row.mentioned})
    members: set[tuple[Any, ...]] = set()
    if asked:
        members.update(
            db.execute(
                b"SELECT m.app, m.channel, m.user_id FROM unnest(%b::text[], %b::text[], %b::text[])"
                b" AS k (app, channel, user_id) JOIN carillon.members m USING (app, channel, user_id) WHERE m.present",
                _columns(asked),
            )
        )
    named: list[Sequence[str]] = []
    for row in rows:
        listed = row.recipients and set(row.recipients)
        named.append(
            [user for user in dict.fromkeys(row.mentioned) if user in listed]
            if listed
            else [user for user in dict.fromkeys(row.mentioned) if (row.app, row.channel, user) in members]
        )
    return named


def count_repeats(db: Connection, rows: Sequence[MessageRow]) -> None:
    """Counts that these messages were published once more under an id that was there already."""
    times = Counter((row.app, row.event_id) for row in rows)
    _bulk(
        db,
        "UPDATE carillon.messages m SET repeats = m.repeats + w.n, repeated_at = now()"
        " FROM unnest(%b::text[], %b::text[], %b::int[]) AS w (app, event_id, n)"
        " WHERE m.app = w.app AND m.event_id = w.event_id",
        [(*key, n) for key, n in sorted(times.items())],
    )


def _recorded(db: Connection, rows: Sequence[MessageRow]) -> dict[str, int]:
    """Those of the entries that are recorded as the message's own, with their places."""
    found = db.execute(
        b"SELECT k.entry, m.entry, m.position FROM unnest(%b::text[], %b::text[], %b::text[]) AS k (app, event_id, entry)"
        b" JOIN carillon.messages m USING (app, event_id)",
        _columns([(row.app, row.event_id, row.entry) for row in rows]),
    )
    # A release before recorded the position alone, of entries of the inlet.
    return {
        entry: place
        for entry, of, place in found
        if entry == of or (of is None and "@" not in entry and position(entry) == place)
    }


def _write_threads(
    db: Connection, replies: Sequence[tuple[MessageRow, Sequence[str]]], places: Mapping[str, int]
) -> None:
    """Each reply with those of its mentioned who take part from then on."""
    if not replies:
        return
    _bulk(
        db,
        "INSERT INTO carillon.threads AS t (app, channel, id, root_seen, day)"
        " SELECT k.app, k.channel, k.id, EXISTS (SELECT FROM carillon.messages m"
        " WHERE m.app = k.app AND m.message_id = k.id AND m.channel = k.channel), now.day"
        " FROM unnest(%b::text[], %b::text[], %b::text[]) AS k (app, channel, id)"
        " CROSS JOIN (SELECT (now() AT TIME ZONE 'utc')::date AS day) now LEFT JOIN carillon.threads t USING (app, channel, id)"
        " WHERE t.day IS NULL OR t.day < now.day OR NOT t.root_seen"
        " ON CONFLICT (app, channel, id) DO UPDATE SET day = excluded.day, root_seen = t.root_seen OR excluded.root_seen"
        " WHERE t.day < excluded.day OR t.root_seen <> excluded.root_seen",
        sorted({(row.app, row.channel, row.parent_id or "") for row, _ in replies}),
    )
    since: dict[tuple[str, str, str, str], int] = {}
    for row, named in replies:
        for user in (row.sender, *([row.parent_sender] if row.parent_sender else ()), *named):
            since.setdefault((row.app, row.channel, row.parent_id or "", user), places[row.entry])
    # A new thread takes over its root's people, who then outlive the message's row, and what an older release knew of it.
    db.execute(
        b"WITH given AS (SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[])"
        b" AS g (app, channel, thread, user_id, since)),"
        b" fresh AS (SELECT t.app, t.channel, t.id FROM (SELECT DISTINCT app, channel, thread FROM given) g"
        b" JOIN carillon.threads t ON t.app = g.app AND t.channel = g.channel AND t.id = g.thread WHERE t.people = 0),"
        b" earlier AS (SELECT * FROM given"
        b" UNION ALL SELECT f.app, f.channel, f.id, u, m.position FROM fresh f JOIN carillon.messages m"
        b" ON m.app = f.app AND m.message_id = f.id AND m.channel = f.channel, unnest(m.sender || m.mentioned) AS u"
        b" UNION ALL SELECT f.app, f.channel, f.id, p.user_id, p.since FROM fresh f JOIN carillon.thread_participants p"
        b" ON p.app = f.app AND p.thread = f.id AND p.channel = ''),"
        b" ranked AS (SELECT app, channel, thread, user_id, min(since) AS since,"
        b" row_number() OVER (PARTITION BY app, channel, thread ORDER BY min(since), user_id) AS n FROM earlier e"
        b" WHERE NOT EXISTS (SELECT FROM carillon.thread_participants p WHERE p.app = e.app AND p.thread = e.thread"
        b" AND p.channel = e.channel AND p.user_id = e.user_id) GROUP BY app, channel, thread, user_id),"
        b" added AS (INSERT INTO carillon.thread_participants (app, thread, channel, user_id, since)"
        b" SELECT r.app, r.thread, r.channel, r.user_id, r.since FROM ranked r JOIN carillon.threads t"
        b" ON t.app = r.app AND t.channel = r.channel AND t.id = r.thread WHERE t.people + r.n <= %s"
        b" RETURNING app, thread, channel)"
        b" UPDATE carillon.threads t SET people = t.people + a.n"
        b" FROM (SELECT app, channel, thread, count(*) AS n FROM added GROUP BY 1, 2, 3) a"
        b" WHERE t.app = a.app AND t.channel = a.channel AND t.id = a.thread",
        (*_columns([(*key, place) for key, place in sorted(since.items())]), THREAD_PEOPLE),
    )


def _latest(writes: Iterable[tuple[tuple[str, ...], _W]]) -> list[_W]:
    kept: dict[tuple[str, ...], _W] = {}
    for key, write in writes:
        known = kept.get(key)
        if known is None or write.at >= known.at:
            kept[key] = write
    return [kept[key] for key in sorted(kept)]


def _columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _bulk(db: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        db.execute(statement.encode(), _columns(rows))


def _array(values: Sequence[str]) -> str | None:
    """A text[] as its literal: unnest would flatten an array of arrays."""
    if not values:
        return None
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"
