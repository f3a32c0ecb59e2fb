"""How loud something is for a user, by their own word: of everything, of a channel and of a thread.

Rows count as they stand when a message is expanded: what was published before the message is in force, and so is what came since.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, cast

import msgspec

from producers.events import MessageNew, PreferencesUpdated
from producers.fields import Level, Privacy, Switch, Trigger
from worker.core.model import AppSettings
from worker.core.ownership import microseconds
from worker.core.places import NOW
from worker.core.preferences import Row, RowName, Rows, common_rows, judge_again
from worker.database import bulk
from worker.database.postgres import Connection, Pool
from worker.database.retention import DAY, Forget, older
from worker.facts import channels, used
from worker.facts.base import Fact, Origin

#: Users that are considered first because they follow a thread or chose to hear all of a channel, at most.
FIRST: Final = 5_000
#: Rows of one user that are shown.
ROWS: Final = 1_000

#: app, user, channel ('': everything), thread ('': all of the channel)
Key = tuple[str, str, str, str]
#: app, channel, a thread of it or '' for the channel
ChoiceKey = tuple[str, str, str]


class Stored(NamedTuple):
    """A row as it is stored."""

    #: Microseconds, the event's own time; and its place.
    at: int
    place: int
    level: Level | None = None
    switches: Mapping[Switch, bool] = {}
    #: Of a thread.
    following: bool | None = None
    #: UNIX seconds; None: not muted.
    muted_until: float | None = None
    muted_level: Level = "none"
    #: These and the others: of everything only.
    keywords: Sequence[str] | None = None
    enabled: bool = True
    privacy: Privacy | None = None

    @property
    def is_silent(self) -> bool:
        """Whether it says nothing."""
        return self == Stored(self.at, self.place, muted_level=self.muted_level)

    @property
    def row(self) -> Row:
        """As the rules see it."""
        switches = {cast("Trigger", name): on for name, on in self.switches.items()}
        if self.following is not None:
            switches["thread"] = self.following
        return Row(self.level, switches, self.muted_until or 0.0, self.muted_level, self.enabled)

    @property
    def words(self) -> str:
        """What it says: `level mentions, here off, muted until 2026-11-29T08:00:00Z`."""
        said = [f"level {self.level}"] if self.level else []
        said += [f"{name} {'on' if on else 'off'}" for name, on in self.switches.items()]
        if self.following is not None:
            said.append("followed" if self.following else "not followed")
        if self.muted_until is not None:
            but = "" if self.muted_level == "none" else f" but for {self.muted_level}"
            said.append(f"muted{but} until {datetime.fromtimestamp(self.muted_until, UTC):%Y-%m-%dT%H:%M:%SZ}")
        if self.keywords:
            said.append(f"keywords {', '.join(self.keywords)}")
        if not self.enabled:
            said.append("all pushes off")
        if self.privacy is not None:
            said.append(f"privacy {self.privacy}")
        return ", ".join(said) or "nothing"


_COLUMNS: Final = ", ".join(f"p.{name}" for name in Stored._fields)


class Write(NamedTuple):
    key: Key
    stored: Stored


class Renewal(NamedTuple):
    """The user wrote in the thread, `at` this time (microseconds): whoever had unfollowed it before is in it again."""

    key: Key
    at: int


class Said(NamedTuple):
    """What a user said about a message's thread, its channel and everything."""

    rows: Rows
    keywords: Sequence[str] = ()
    privacy: Privacy | None = None


class Preferences(Fact[Write | Renewal]):
    """A row that says nothing is kept for a while, so that an older write that comes later changes nothing."""

    changed_by = (PreferencesUpdated, MessageNew)
    of_replies = True

    def rows(self, event: PreferencesUpdated | MessageNew, origin: Origin) -> Sequence[Write | Renewal]:
        if isinstance(event, MessageNew):
            assert event.message.parent_id is not None, "it is of replies"
            key = (event.app, event.sender.id, event.channel.id, event.message.parent_id)
            return [Renewal(key, microseconds(event.at))]
        channel = "" if event.channel is None else event.channel.id
        stored = Stored(
            *(origin.at, origin.place, event.level, event.triggers, event.following),
            None if event.muted_until is None else event.muted_until.timestamp(),
            *(event.muted_level, event.keywords or None, event.enabled, event.privacy),
        )
        return [Write((event.app, event.user, channel, event.thread or ""), stored)]

    def write(self, db: Connection, rows: Sequence[Write | Renewal]) -> None:
        before = _stored(db, sorted({row.key for row in rows}))
        now = dict(before)
        for row in rows:
            old = now.get(row.key)
            if isinstance(row, Write):
                if old is None or (old.at, old.place) < (row.stored.at, row.stored.place):
                    now[row.key] = row.stored
            elif old is not None and old.following is False and old.at < row.at:
                now[row.key] = old._replace(following=None)
        bulk.write(
            db,
            "INSERT INTO carillon.preferences AS p (app, user_id, channel, thread, at, place, level, switches, following,"
            " muted_until, muted_level, keywords, enabled, privacy, silent_on)"
            " SELECT k.app, k.user_id, k.channel, k.thread, k.at, k.place, k.level, k.switches::jsonb, k.following,"
            " k.muted_until, k.muted_level, k.keywords::text[], k.enabled, k.privacy,"
            " CASE WHEN k.silent THEN (now() AT TIME ZONE 'utc')::date END"
            " FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[], %b::bigint[], %b::text[], %b::text[],"
            " %b::boolean[], %b::float8[], %b::text[], %b::text[], %b::boolean[], %b::text[], %b::boolean[])"
            " AS k (app, user_id, channel, thread, at, place, level, switches, following, muted_until, muted_level, keywords,"
            " enabled, privacy, silent)"
            " ON CONFLICT (app, user_id, channel, thread) DO UPDATE SET at = excluded.at, place = excluded.place,"
            " level = excluded.level, switches = excluded.switches, following = excluded.following,"
            " muted_until = excluded.muted_until, muted_level = excluded.muted_level, keywords = excluded.keywords,"
            " enabled = excluded.enabled, privacy = excluded.privacy, silent_on = excluded.silent_on",
            [_columns(key, row) for key, row in sorted(now.items()) if row != before.get(key)],
        )

    def forgets(self, days: int) -> Sequence[Forget]:
        """Rows of a channel go with the user's membership, `days` after it ended."""
        return [older("preferences", "silent_on", days, before=DAY)]


PREFERENCES: Final = Preferences()


def read(pool: Pool, asked: Mapping[int, tuple[MessageNew, Sequence[str]]]) -> dict[int, dict[str, Said]]:
    """What users said of messages, by the message's index. One query; who said nothing is missing."""
    keys = {
        n: [(event.app, user, event.channel.id, event.message.parent_id or "") for user in users]
        for n, (event, users) in asked.items()
    }
    found = of_users(pool, {key for some in keys.values() for key in some})
    return {n: {key[1]: found[key] for key in some if key in found} for n, some in keys.items()} if found else {}


def rows_of(pool: Pool, app: str, user: str, limit: int) -> dict[tuple[str, str], Stored]:
    """The user's rows by channel and thread, that of everything ('', '') first."""
    with pool.connection() as db:
        rows = db.execute(
            f"SELECT p.channel, p.thread, {_COLUMNS} FROM carillon.preferences p WHERE p.app = %s AND p.user_id = %s"
            " AND p.silent_on IS NULL ORDER BY p.channel, p.thread LIMIT %s".encode(),
            (app, user, limit),
        ).fetchall()
    return {(channel, thread): Stored(*columns) for channel, thread, *columns in rows}


def of_users(pool: Pool, keys: Collection[Key]) -> dict[Key, Said]:
    """What users said about a thread, its channel and everything, by (app, user, channel, thread)."""
    rows = bulk.read(
        pool,
        f"SELECT k.app, k.user_id, p.channel, p.thread, {_COLUMNS} FROM unnest(%b::text[], %b::text[]) AS k (app, user_id),"
        # A step in the index for each user, whatever the planner knows of the table.
        " LATERAL (SELECT * FROM carillon.preferences p WHERE p.app = k.app AND p.user_id = k.user_id"
        " AND p.channel = ANY(%b::text[]) AND p.thread = ANY(%b::text[]) AND p.silent_on IS NULL OFFSET 0) p",
        {(app, user) for app, user, *_ in keys},
        ["", *{channel for _, _, channel, _ in keys}],
        ["", *{thread for *_, thread in keys}],
    )
    stored: dict[tuple[str, str], dict[tuple[str, str], Stored]] = {}
    for app, user, channel, thread, *columns in rows:
        stored.setdefault((app, user), {})[channel, thread] = Stored(*columns)
    said = {}
    for key in keys:
        if (of_user := stored.get(key[:2])) is not None and (nearest := _nearest(of_user, *key[2:])):
            said[key] = _said(nearest)
    return said


def _nearest(rows: Mapping[tuple[str, str], Stored], channel: str, thread: str) -> list[tuple[RowName, Stored]]:
    """Those of a user's rows that are about the thread, its channel and everything."""
    names: list[tuple[RowName, tuple[str, str]]] = [("member", (channel, "")), ("user", ("", ""))]
    if thread:
        names.insert(0, ("thread", (channel, thread)))
    return [(name, rows[about]) for name, about in names if about in rows]


def _said(stored: Sequence[tuple[RowName, Stored]]) -> Said:
    """`stored`: nearest first."""
    everything = next((row for name, row in stored if name == "user"), None)
    return Said(
        [(name, row.row) for name, row in stored],
        (everything and everything.keywords) or (),
        everything and everything.privacy,
    )


def first(pool: Pool, keys: Collection[ChoiceKey]) -> dict[ChoiceKey, list[str]]:
    """Who follows each thread (app, channel, root) by hand. With `''` for the root: who chose to hear all of the channel."""
    rows = bulk.read(
        pool,
        "SELECT k.app, k.channel, k.thread, p.users FROM unnest(%b::text[], %b::text[], %b::text[]) AS k (app, channel, thread),"
        " LATERAL (SELECT array_agg(s.user_id ORDER BY s.user_id) AS users FROM (SELECT p.user_id FROM carillon.preferences p"
        " WHERE p.app = k.app AND p.channel = k.channel AND p.thread = k.thread"
        " AND (p.following OR (p.thread = '' AND p.level = 'all')) LIMIT %s) s) p WHERE p.users IS NOT NULL",
        keys,
        FIRST,
    )
    return {(app, channel, thread): users for app, channel, thread, users in rows}


class Pushed(NamedTuple):
    """A push that was decided earlier. `thread`: the root of its thread; '' where it is in none."""

    user: str
    channel: str
    thread: str
    why: Trigger


def refused(pool: Pool, app: AppSettings, pushed: Sequence[Pushed], now: float) -> list[str]:
    """For each, the reason for which its user wants it no more, or ''. `now` in UNIX seconds.

    Three queries for all, and two where the app has no preferences.
    """
    said = {}
    if "preferences" in used.of_app(pool, app.name):
        said = of_users(pool, {(app.name, one.user, one.channel, one.thread) for one in pushed})
    known = channels.read(pool, {(app.name, one.channel) for one in pushed}, NOW)
    found = []
    for one in pushed:
        own, channel = said.get((app.name, one.user, one.channel, one.thread)), known.get((app.name, one.channel))
        common = common_rows(channel and channel.now.level, app.attention.level, app.attention.triggers)
        found.append(judge_again(one.why, [*(own.rows if own else ()), *common], now))
    return found


def _stored(db: Connection, keys: Sequence[Key]) -> dict[Key, Stored]:
    rows = db.execute(
        f"SELECT p.app, p.user_id, p.channel, p.thread, {_COLUMNS}"
        " FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[]) AS k (app, user_id, channel, thread)"
        " JOIN carillon.preferences p USING (app, user_id, channel, thread)".encode(),
        bulk.columns(keys),
    )
    return {(app, user, channel, thread): Stored(*columns) for app, user, channel, thread, *columns in rows}


def _columns(key: Key, row: Stored) -> Sequence[object]:
    keywords = None if row.keywords is None else bulk.text_array(row.keywords)
    switches = msgspec.json.encode(row.switches).decode()
    values = row._asdict() | {"switches": switches, "keywords": keywords}
    return (*key, *values.values(), row.is_silent)
