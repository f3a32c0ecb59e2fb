"""Applies what chat servers publish about members, devices, mutes, channels and messages, in bulk.

Each function takes the writes of many events in the order in which they were published, folds what concerns the same row by
the writes' own times (the later one wins, of equals the one published later), and makes one statement of the rest. All run
inside the caller's transaction. Times are milliseconds since the epoch.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from worker.core.position import entry, position
from worker.core.ownership import Registration, register, unregister
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


class DeviceWrite(NamedTuple):
    """A registration, or with `provider_id` None an unregistration (`user` None: whoever owns it)."""

    app: str
    token: str
    user: str | None
    at: int
    provider_id: int | None = None
    locale: str | None = None
    attributes: dict[str, Any] | None = None


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
        "INSERT INTO carillon.channels (app, id) SELECT DISTINCT * FROM unnest(%s::text[], %s::text[])"
        " ON CONFLICT DO NOTHING",
        sorted({(write.app, write.channel) for write in latest}),
    )
    _bulk(
        db,
        "INSERT INTO carillon.members AS m (app, channel, user_id, at, present)"
        " SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::boolean[])"
        " ON CONFLICT (app, channel, user_id) DO UPDATE SET at = excluded.at, present = excluded.present"
        " WHERE m.at <= excluded.at",
        latest,
    )


def write_mutes(db: Connection, writes: Iterable[MuteWrite]) -> None:
    _bulk(
        db,
        "INSERT INTO carillon.mutes AS m (app, user_id, target, at, muted)"
        " SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::boolean[])"
        " ON CONFLICT (app, user_id, target) DO UPDATE SET at = excluded.at, muted = excluded.muted"
        " WHERE m.at <= excluded.at",
        _latest(((write.app, write.user, write.target), write) for write in writes),
    )


def write_channels(db: Connection, writes: Iterable[ChannelWrite]) -> None:
    writes = list(writes)
    _bulk(
        db,
        "INSERT INTO carillon.channels (app, id) SELECT DISTINCT * FROM unnest(%s::text[], %s::text[])"
        " ON CONFLICT DO NOTHING",
        sorted({(write.app, write.id) for write in writes}),
    )
    names = _latest(((write.app, write.id), write) for write in writes if write.name is not None)
    _bulk(
        db,
        "UPDATE carillon.channels c SET name = w.name, name_at = w.at"
        " FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[]) AS w (app, id, name, at)"
        " WHERE c.app = w.app AND c.id = w.id AND c.name_at <= w.at",
        [(write.app, write.id, write.name, write.at) for write in names],
    )
    pushes = _latest(((write.app, write.id), write) for write in writes if write.push is not None)
    _bulk(
        db,
        "UPDATE carillon.channels c SET push = w.push, push_at = w.at"
        " FROM unnest(%s::text[], %s::text[], %s::boolean[], %s::bigint[]) AS w (app, id, push, at)"
        " WHERE c.app = w.app AND c.id = w.id AND c.push_at <= w.at",
        [(write.app, write.id, write.push, write.at) for write in pushes],
    )


def write_devices(db: Connection, writes: Sequence[DeviceWrite]) -> None:
    """Folds registrations and unregistrations into the devices, then evicts what is over an owner's device cap (S6)."""
    if not writes:
        return
    states = _registrations(db, {(write.app, write.token) for write in writes})
    before = dict(states)
    for write in writes:
        key = (write.app, write.token)
        if write.provider_id is None:
            states[key] = unregister(states.get(key), user=write.user, at=write.at)
        elif write.user is not None:
            states[key] = register(
                states.get(key),
                user=write.user,
                provider_id=write.provider_id,
                at=write.at,
                locale=write.locale,
                attributes=write.attributes,
            )
    changed = {key: state for key, state in states.items() if state is not before.get(key)}
    _bulk(
        db,
        "INSERT INTO carillon.devices AS d"
        " (app, token, user_id, provider_id, registered_at, active, locale, attributes, tombstones)"
        " SELECT app, token, user_id, provider_id, registered_at, active, locale, attributes::jsonb, tombstones::jsonb"
        " FROM unnest(%s::text[], %s::text[], %s::text[], %s::int[], %s::bigint[], %s::boolean[], %s::text[],"
        " %s::text[], %s::text[]) AS w"
        " (app, token, user_id, provider_id, registered_at, active, locale, attributes, tombstones)"
        " ON CONFLICT (app, token) DO UPDATE SET user_id = excluded.user_id, provider_id = excluded.provider_id,"
        " registered_at = excluded.registered_at, active = excluded.active, locale = excluded.locale,"
        " attributes = excluded.attributes, tombstones = excluded.tombstones,"
        " retired_reason = CASE WHEN excluded.active THEN NULL ELSE d.retired_reason END,"
        " retired_at = CASE WHEN excluded.active THEN NULL ELSE d.retired_at END",
        [
            (
                app,
                token,
                s.user,
                s.provider_id,
                s.registered_at,
                s.active,
                s.locale,
                _json(s.attributes),
                _json(s.tombstones),
            )
            for (app, token), s in changed.items()
        ],
    )
    _evict(db, {(app, s.user) for (app, _), s in changed.items() if s.active and s.user is not None})


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
        b" unnest(%s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[])"
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
        b"SELECT m.position FROM unnest(%s::text[], %s::text[]) AS k (app, event_id)"
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
        " SELECT m.app, m.message_id, u, min(m.position) FROM unnest(%s::text[], %s::text[]) AS k (app, thread)"
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
        " SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[]) ON CONFLICT DO NOTHING",
        [(*key, place) for key, place in sorted(since.items())],
    )


def _registrations(db: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Registration]:
    rows = db.execute(
        b"SELECT d.app, d.token, d.user_id, d.provider_id, d.registered_at, d.active, d.locale, d.attributes, d.tombstones"
        b" FROM unnest(%s::text[], %s::text[]) AS k (app, token) JOIN carillon.devices d USING (app, token)"
        b" ORDER BY d.app, d.token FOR UPDATE OF d",
        _columns(sorted(keys)),
    )
    return {(app, token): Registration(*state) for app, token, *state in rows}


def _evict(db: Connection, owners: Iterable[tuple[str, str]]) -> None:
    _bulk(
        db,
        # An index scan for each owner, whatever the planner believes: it may have met this table when it was empty.
        "UPDATE carillon.devices SET active = false, retired_reason = 'over_device_cap', retired_at = now()"
        " WHERE id = ANY(ARRAY(SELECT beyond.id FROM unnest(%s::text[], %s::text[]) AS k (app, user_id)"
        " JOIN carillon.apps a ON a.name = k.app CROSS JOIN LATERAL (SELECT d.id FROM carillon.devices d"
        " WHERE d.app = k.app AND d.user_id = k.user_id AND d.active"
        " ORDER BY d.registered_at DESC, d.id DESC OFFSET a.device_cap) beyond))",
        sorted(owners),
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


def _json(value: object) -> str | None:
    return msgspec.json.encode(value).decode() if value else None


def _array(values: Sequence[str]) -> str | None:
    """A text[] as its literal: unnest would flatten an array of arrays."""
    if not values:
        return None
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"
