"""Applies what chat servers publish about members, mutes, channels and messages, in bulk; for devices see `device_writes`.

Each function takes the writes of many events in the order in which they were published. The writes' own times decide what a row
says (the later one wins, of equals the one published later), their places in the stream since when. All run inside the leader's
transaction: nobody else writes these rows. Times are microseconds since the epoch.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from worker.core.places import Settings, Standing, changed, held, set_anew
from worker.core.position import position
from worker.database.intervals import MEMBERS, MUTES, Ids, Table, memberships
from worker.database.postgres import Connection

#: Stored times from here on are microseconds, since March 1973; below, milliseconds.
_MICROSECONDS: Final = 10**14
#: People that a thread has at most. It is read for each of its replies, and a client can name whom it likes.
THREAD_PEOPLE: Final = 5_000
#: Stored members that the pages of one transaction may cover: they are read at once.
_COVERED: Final = 100_000


class MemberWrite(NamedTuple):
    app: str
    channel: str
    user: str
    at: int
    present: bool
    place: int


class Replacement(NamedTuple):
    """Of the channel's members with an id behind `after`, up to and with `through` (None: to the last), these and no others."""

    app: str
    channel: str
    users: Sequence[str]
    after: str
    through: str | None
    at: int
    place: int

    def covers(self, user: str) -> bool:
        return self.after < user and (self.through is None or user <= self.through)


class TooManyError(ValueError):
    """One page of a channel would remove more members than a transaction takes."""


class MuteWrite(NamedTuple):
    app: str
    user: str
    target: str
    at: int
    muted: bool
    place: int


class ChannelWrite(NamedTuple):
    """`None`: leave as it is."""

    app: str
    id: str
    name: str | None
    push: bool | None
    at: int
    place: int


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


def write_members(db: Connection, asked: Sequence[MemberWrite | Replacement]) -> None:
    if not asked:
        return
    created: dict[tuple[str, str], int] = {}
    for one in asked:
        created.setdefault((one.app, one.channel), one.place)
    writes = _one_by_one(db, asked)
    _bulk(
        db,
        "INSERT INTO carillon.channels (app, id, created) SELECT * FROM unnest(%b::text[], %b::text[], %b::bigint[])"
        " ON CONFLICT DO NOTHING",
        [(*key, place) for key, place in sorted(created.items())],
    )
    _write_standings(
        db,
        MEMBERS,
        [((write.app, write.channel, write.user), write.at, write.present, write.place) for write in writes],
    )


def _one_by_one(db: Connection, asked: Sequence[MemberWrite | Replacement]) -> list[MemberWrite]:
    """The same with a write for each member: whom a page adds, and whom it removes."""
    pages = [one for one in asked if isinstance(one, Replacement)]
    known = _covered(db, pages) if pages else {}
    writes: list[MemberWrite] = []
    for one in asked:
        if isinstance(one, MemberWrite):
            writes.append(one)
            if (people := known.get((one.app, one.channel))) is not None:
                people.add(one.user)
            continue
        people = known[one.app, one.channel]
        listed = set(one.users)
        gone = sorted(user for user in people - listed if one.covers(user))
        people |= listed
        writes += (MemberWrite(one.app, one.channel, user, one.at, True, one.place) for user in sorted(listed))
        writes += (MemberWrite(one.app, one.channel, user, one.at, False, one.place) for user in gone)
    return writes


def _covered(db: Connection, pages: Sequence[Replacement]) -> dict[tuple[str, str], set[str]]:
    """The stored members of the pages, by channel."""
    found: dict[tuple[str, str], set[str]] = {(page.app, page.channel): set() for page in pages}
    rows = db.execute(
        b"SELECT k.app, k.channel, m.user_id FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[])"
        b" AS k (app, channel, after, through) JOIN carillon.members m ON m.app = k.app AND m.channel = k.channel"
        b" AND m.user_id > k.after AND (k.through IS NULL OR m.user_id <= k.through) WHERE m.present LIMIT %s",
        (*_columns([(page.app, page.channel, page.after, page.through) for page in pages]), _COVERED + 1),
    ).fetchall()
    if len(rows) > _COVERED:
        raise TooManyError(
            f"users: the page covers more than {_COVERED:,} members; send smaller pages (after, through)"
        )
    for app, channel, user in rows:
        found[app, channel].add(user)
    return found


def write_mutes(db: Connection, writes: Sequence[MuteWrite]) -> None:
    _write_standings(
        db,
        MUTES,
        [((write.app, write.user, write.target), write.at, write.muted, write.place) for write in writes],
    )


def _write_standings(db: Connection, names: Table, writes: Sequence[tuple[Ids, int, bool, int]]) -> None:
    """Reads the rows, decides, and writes those that are other than before: only the leader writes them."""
    if not writes:
        return
    table, second, third, flag, past = names
    keys = sorted({key for key, _, _, _ in writes})
    rows = db.execute(
        f"SELECT r.app, r.{second}, r.{third}, r.at, r.{flag}, r.since FROM unnest(%b::text[], %b::text[], %b::text[])"
        f" AS k (app, {second}, {third}) JOIN carillon.{table} r USING (app, {second}, {third})".encode(),
        _columns(keys),
    )
    known = {(app, two, three): Standing(_read_time(at), on, since) for app, two, three, at, on, since in rows}
    now, ended = changed(known, writes)
    _bulk(
        db,
        f"INSERT INTO carillon.{past} (app, {second}, {third}, since, until)"
        " SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::bigint[]) ON CONFLICT DO NOTHING",
        [(*key, since, until) for key, since, until in ended if since < until],
    )
    _bulk(
        db,
        f"INSERT INTO carillon.{table} (app, {second}, {third}, at, {flag}, since)"
        " SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::boolean[], %b::bigint[])"
        f" ON CONFLICT (app, {second}, {third}) DO UPDATE SET at = excluded.at, {flag} = excluded.{flag},"
        " since = excluded.since, changed_on = excluded.changed_on",
        [(*key, _stored_time(now[key].at), *now[key][1:]) for key in keys if key in now],
    )


def write_channels(db: Connection, writes: Sequence[ChannelWrite]) -> None:
    keys = sorted({(write.app, write.id) for write in writes})
    if not keys:
        return
    rows = db.execute(
        b"SELECT c.app, c.id, c.name, c.name_at, c.push, c.push_at, c.created, c.since"
        b" FROM unnest(%b::text[], %b::text[]) AS k (app, id) JOIN carillon.channels c USING (app, id)",
        _columns(keys),
    )
    before = {(app, id): _settings(*settings) for app, id, *settings in rows}
    now = dict(before)
    past: list[tuple[str, str, str | None, bool, int]] = []
    for write in writes:
        key = (write.app, write.id)
        old = now.get(key)
        if old is None and write.name is None and write.push is not False:
            continue  # it says what is so without it
        created = write.place if old is None else min(write.place, old.created)
        old = (old or Settings())._replace(created=created)
        new = now[key] = set_anew(old, write.name, write.push, write.at, write.place)
        if new.since != old.since and created < write.place:
            past.append((*key, old.name, old.push, write.place))
    _bulk(
        db,
        "INSERT INTO carillon.channel_past (app, id, name, push, until)"
        " SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::boolean[], %b::bigint[]) ON CONFLICT DO NOTHING",
        past,
    )
    _bulk(
        db,
        "INSERT INTO carillon.channels (app, id, name, name_at, push, push_at, created, since)"
        " SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::boolean[], %b::bigint[],"
        " %b::bigint[], %b::bigint[])"
        " ON CONFLICT (app, id) DO UPDATE SET name = excluded.name, name_at = excluded.name_at, push = excluded.push,"
        " push_at = excluded.push_at, created = excluded.created, since = excluded.since",
        [(*key, *_settings_row(now[key])) for key in keys if key in now and now[key] != before.get(key)],
    )


def _settings(*row: Any) -> Settings:
    found = Settings(*row)
    return found._replace(name_at=_read_time(found.name_at), push_at=_read_time(found.push_at))


def _settings_row(settings: Settings) -> Settings:
    return settings._replace(name_at=_stored_time(settings.name_at), push_at=_stored_time(settings.push_at))


def _read_time(at: int) -> int:
    """Microseconds since the epoch. Releases before stored milliseconds, which stay below `_MICROSECONDS` until the year 5138."""
    return at if at >= _MICROSECONDS else at * 1000


def _stored_time(at: int) -> int:
    return at if at >= _MICROSECONDS else at // 1000


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
    asked: dict[tuple[str, str, str], int] = {}
    for row in rows:
        if row.recipients is None:
            for user in row.mentioned:
                asked.setdefault((row.app, row.channel, user), row.place)
    members = memberships(db, asked)

    def among(row: MessageRow) -> list[str]:
        if row.recipients is not None:
            listed = set(row.recipients)
            return [user for user in dict.fromkeys(row.mentioned) if user in listed]
        return [
            user
            for user in dict.fromkeys(row.mentioned)
            if held(members.get((row.app, row.channel, user), ()), row.place)
        ]

    # No thread has more people than that.
    return [among(row)[:THREAD_PEOPLE] if row.mentioned else () for row in rows]


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
