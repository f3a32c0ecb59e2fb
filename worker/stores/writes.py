"""Applies what chat servers publish about members, mutes, channels and messages, in bulk; for devices see `device_writes`.

Each function takes the writes of many events in the order in which they were published, folds what concerns the same row by
the writes' own times (the later one wins, of equals the one published later), and makes one statement of the rest. All run
inside the caller's transaction. Times are milliseconds since the epoch.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from worker.core.position import entry, position
from worker.stores.postgres import Connection


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


def write_messages(db: Connection, rows: Sequence[MessageRow]) -> set[str]:
    """Records messages and their threads; returns the entries that are new, a repeated event id is not among them."""
    if not rows:
        return set()
    fields = [
        (row.app, row.event_id, position(row.entry), row.message_id, row.channel, row.sender, _array(row.mentioned))
        for row in rows
    ]
    inserted = db.execute(
        b"INSERT INTO carillon.messages (app, event_id, position, message_id, channel, sender, mentioned)"
        b" SELECT app, event_id, position, message_id, channel, sender, mentioned::text[] FROM"
        b" unnest(%b::text[], %b::text[], %b::bigint[], %b::text[], %b::text[], %b::text[], %b::text[])"
        b" AS w (app, event_id, position, message_id, channel, sender, mentioned)"
        b" ON CONFLICT DO NOTHING RETURNING position",
        _columns(fields),
    )
    fresh = {entry(place) for (place,) in inserted}
    _write_threads(db, [row for row in rows if row.parent_id is not None and row.entry in fresh])
    return fresh


def recorded(db: Connection, keys: Sequence[tuple[str, str]]) -> set[str]:
    """The entries under which these (app, event id) were recorded."""
    rows = db.execute(
        b"SELECT m.position FROM unnest(%b::text[], %b::text[]) AS k (app, event_id)"
        b" JOIN carillon.messages m USING (app, event_id)",
        _columns(keys) or [[], []],
    )
    return {entry(place) for (place,) in rows}


def _write_threads(db: Connection, replies: Sequence[MessageRow]) -> None:
    roots = sorted({(row.app, row.parent_id or "") for row in replies})
    # The root's own people are copied with the first reply: the thread then outlives the message's row.
    _bulk(
        db,
        "INSERT INTO carillon.thread_participants (app, thread, user_id, since)"
        " SELECT m.app, m.message_id, u, min(m.position) FROM unnest(%b::text[], %b::text[]) AS k (app, thread)"
        " JOIN carillon.messages m ON m.app = k.app AND m.message_id = k.thread,"
        " unnest(m.sender || coalesce(m.mentioned, '{}')) AS u GROUP BY 1, 2, 3 ON CONFLICT DO NOTHING",
        roots,
    )
    since: dict[tuple[str, str, str], int] = {}
    for row in replies:
        for user in (row.sender, *row.mentioned):
            since.setdefault((row.app, row.parent_id or "", user), position(row.entry))
    _bulk(
        db,
        "INSERT INTO carillon.thread_participants (app, thread, user_id, since)"
        " SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[]) ON CONFLICT DO NOTHING",
        [(*key, place) for key, place in sorted(since.items())],
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
