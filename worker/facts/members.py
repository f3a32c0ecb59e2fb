"""Who is in a channel: pages of members for the candidates of a message, and when somebody was one."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from producers import events
from worker.core.places import Interval, held
from worker.core.refusal import Refused
from worker.database import bulk
from worker.database.postgres import Connection, Pool
from worker.database.retention import DAY, Forget, forget
from worker.facts.base import Fact, Origin
from worker.facts.standings import Ids, StandingWrite, Table

#: app, channel, the user behind whom the page begins
PageKey = tuple[str, str, str]

_TABLE: Final = Table("members", "channel", "user_id", "present", "member_past")
_NOBODY: Final[Mapping[str, Sequence[Interval]]] = {}
#: Stored members that the pages of one transaction may cover: they are read at once.
_COVERED: Final = 100_000


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


class Page(msgspec.Struct, frozen=True):
    """Members of a channel in byte order, and whether more follow."""

    users: list[str]
    more: bool
    #: Those of the users who were not members all the time since the page's place, with when they were.
    changed: Mapping[str, Sequence[Interval]] = _NOBODY

    def at(self, place: int) -> list[str]:
        """Who was a member at this place, which is not before the page's."""
        if not self.changed:
            return self.users
        return [user for user in self.users if user not in self.changed or held(self.changed[user], place)]


_Event = events.MemberAdded | events.MemberRemoved | events.MembersReplaced
_Row = StandingWrite | Replacement


class Members(Fact[_Row]):
    changed_by = (events.MemberAdded, events.MemberRemoved, events.MembersReplaced)

    def rows(self, event: _Event, origin: Origin) -> Sequence[_Row]:
        app, channel, place, at = event.app, event.channel.id, origin.place, origin.at
        if isinstance(event, events.MembersReplaced):
            return [Replacement(app, channel, event.users, event.after or "", event.through, at, place)]
        present = isinstance(event, events.MemberAdded)
        return [StandingWrite((app, channel, user), at, present, place) for user in event.users]

    def size(self, event: _Event) -> int:
        return len(event.users)

    def write(self, db: Connection, rows: Sequence[_Row]) -> None:
        """A channel is known from the first write about its members on."""
        created: dict[tuple[str, str], int] = {}
        for row in rows:
            created.setdefault(_channel(row), row.place)
        writes = list(_one_by_one(db, rows))
        bulk.write(
            db,
            "INSERT INTO carillon.channels (app, id, created) SELECT * FROM unnest(%b::text[], %b::text[], %b::bigint[])"
            " ON CONFLICT DO NOTHING",
            [(*key, place) for key, place in sorted(created.items())],
        )
        _TABLE.write(db, writes)

    def forgets(self, days: int) -> Sequence[Forget]:
        """With its last member goes a channel that nothing is set of. A member's preferences there go with the membership."""
        removed = (
            "WITH gone AS (DELETE FROM carillon.members WHERE NOT present AND ctid = ANY(ARRAY("
            f"SELECT ctid FROM carillon.members WHERE NOT present AND changed_on < {DAY}"
            " ORDER BY changed_on LIMIT %(bite)s)) RETURNING app, channel, user_id),"
            " preferences AS (DELETE FROM carillon.preferences p USING gone g"
            " WHERE p.app = g.app AND p.user_id = g.user_id AND p.channel = g.channel),"
            " empty AS (DELETE FROM carillon.channels c USING (SELECT DISTINCT app, channel FROM gone) g"
            " WHERE c.app = g.app AND c.id = g.channel AND c.name IS NULL AND c.push"
            " AND c.level IS NULL AND c.kind IS NULL AND c.privacy IS NULL"
            " AND NOT EXISTS (SELECT FROM carillon.members m WHERE m.app = c.app AND m.channel = c.id"
            f" AND (m.present OR m.changed_on >= {DAY})))"
            " SELECT count(*) FROM gone"
        )
        return [forget(removed, days), _TABLE.forgets_past()]


MEMBERS: Final = Members()


def pages(pool: Pool, starts: Mapping[PageKey, int], size: int) -> dict[PageKey, Page]:
    """For each (app, channel, after): up to `size` members whose id sorts after `after`, at a place or behind it.

    Whose membership changed behind the place is among them, with when they were members.
    """
    return bulk.found(pool, reading(pool, starts, size))


def reading(pool: Pool, starts: Mapping[PageKey, int], size: int) -> bulk.Reading[dict[PageKey, Page]]:
    """`pages`, beside others. Uses the pool where memberships changed."""
    rows = yield bulk.Query(
        "SELECT k.app, k.channel, k.after, p.users, p.changed"
        " FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[]) AS k (app, channel, after, place),"
        " LATERAL (SELECT array_agg(s.user_id) AS users,"
        " array_agg(s.user_id) FILTER (WHERE s.since > k.place) AS changed"
        " FROM (SELECT m.user_id, m.since FROM carillon.members m WHERE m.app = k.app AND m.channel = k.channel"
        " AND m.user_id > k.after AND (m.present OR m.since > k.place) ORDER BY m.user_id LIMIT %s) s) p",
        [(*start, place) for start, place in starts.items()],
        (size + 1,),
    )
    asked = {
        (app, channel, user): starts[app, channel, after]
        for app, channel, after, _, changed in rows
        for user in changed or ()
    }
    intervals = memberships(pool, asked)
    found = {}
    for app, channel, after, users, changed in rows:
        of_users = {user: intervals.get((app, channel, user), ()) for user in changed} if changed else _NOBODY
        found[app, channel, after] = Page((users or [])[:size], len(users or ()) > size, of_users)
    return found


def removed(pool: Pool, keys: Collection[Ids]) -> set[Ids]:
    """Those (app, channel, user) who were members and are none now."""
    rows = bulk.read(
        pool,
        "SELECT app, channel, user_id FROM unnest(%b::text[], %b::text[], %b::text[]) AS k (app, channel, user_id)"
        " JOIN carillon.members USING (app, channel, user_id) WHERE NOT present",
        keys,
    )
    return {(app, channel, user) for app, channel, user in rows}


def memberships(pool: Pool, keys: Mapping[Ids, int]) -> dict[Ids, list[Interval]]:
    """When each (app, channel, user) was a member, at its place and after it. Absent: never."""
    if not keys:
        return {}
    with pool.connection() as db:
        return memberships_in(db, keys)


def memberships_in(db: Connection, keys: Mapping[Ids, int]) -> dict[Ids, list[Interval]]:
    """The same inside the caller's transaction."""
    return _TABLE.intervals(db, keys)


def count_after(pool: Pool, app: str, channel: str, after: str, place: int) -> int:
    """Members at the place whose id sorts after `after`."""
    with pool.connection() as db:
        row = db.execute(
            "SELECT (SELECT count(*) FROM carillon.members WHERE app = %(app)s AND channel = %(channel)s"
            " AND user_id > %(after)s AND present AND since <= %(place)s)"
            " + (SELECT count(*) FROM carillon.member_past WHERE app = %(app)s AND channel = %(channel)s"
            " AND user_id > %(after)s AND since <= %(place)s AND until > %(place)s)",
            {"app": app, "channel": channel, "after": after, "place": place},
        ).fetchone()
    assert row is not None
    return int(row[0])


def are_more(pool: Pool, app: str, channel: str, limit: int) -> bool:
    """Whether the channel has more members than that now. Counts no further."""
    with pool.connection() as db:
        row = db.execute(
            "SELECT count(*) FROM (SELECT FROM carillon.members WHERE app = %s AND channel = %s AND present LIMIT %s) m",
            (app, channel, limit + 1),
        ).fetchone()
    return row is not None and int(row[0]) > limit


def _channel(row: _Row) -> tuple[str, str]:
    return (row.app, row.channel) if isinstance(row, Replacement) else row.key[:2]


def _one_by_one(db: Connection, rows: Sequence[_Row]) -> Iterator[StandingWrite]:
    """The same with a write for each member: whom a page adds, and whom it removes."""
    replacements = [row for row in rows if isinstance(row, Replacement)]
    known = _covered(db, replacements) if replacements else {}
    for row in rows:
        people = known.get(_channel(row))
        if isinstance(row, StandingWrite):
            yield row
            if people is not None:
                people.add(row.key[2])
            continue
        assert people is not None
        listed = set(row.users)
        removed = sorted(user for user in people - listed if row.covers(user))
        people |= listed
        for users, present in ((sorted(listed), True), (removed, False)):
            yield from (StandingWrite((row.app, row.channel, user), row.at, present, row.place) for user in users)


def _covered(db: Connection, pages: Collection[Replacement]) -> dict[tuple[str, str], set[str]]:
    """The stored members of the pages, by channel."""
    found: dict[tuple[str, str], set[str]] = {(page.app, page.channel): set() for page in pages}
    rows: list[Any] = db.execute(
        b"SELECT k.app, k.channel, m.user_id FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[])"
        b" AS k (app, channel, after, through) JOIN carillon.members m ON m.app = k.app AND m.channel = k.channel"
        b" AND m.user_id > k.after AND (k.through IS NULL OR m.user_id <= k.through) WHERE m.present LIMIT %s",
        (*bulk.columns([(page.app, page.channel, page.after, page.through) for page in pages]), _COVERED + 1),
    ).fetchall()
    if len(rows) > _COVERED:
        raise Refused(f"users: the page covers more than {_COVERED:,} members; send smaller pages (after, through)")
    for app, channel, user in rows:
        found[app, channel].add(user)
    return found
