"""Who is in a channel, a thread, a mute, and what devices they have. Reads for many messages at once; decides nothing.

Every read is one query for all of its arguments, whose plan is a nested loop over the keys. Arrays go as binary (`%b`): psycopg
writes their text form string by string in Python.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from worker.core.model import Device
from worker.core.places import Interval, held
from worker.database.audience import Audience
from worker.database.intervals import Ids, memberships, mutings
from worker.database.postgres import Pool
from worker.database.writes import THREAD_PEOPLE

#: app, channel
ChannelKey = tuple[str, str]
#: app, user
UserKey = tuple[str, str]
#: app, channel, the user behind whom the page begins
PageKey = tuple[str, str, str]

_NOBODY: Final[Mapping[str, Sequence[Interval]]] = {}


class ChannelRow(NamedTuple):
    name: str | None
    push: bool


class Channel(NamedTuple):
    """A channel as it is, and as it was."""

    #: The place since which it is known.
    created: int
    now: ChannelRow
    #: What it was up to each of these places, in their order.
    past: Sequence[tuple[int, ChannelRow]] = ()

    def at(self, place: int) -> ChannelRow | None:
        """As it was at a place; None: not known there."""
        if self.created > place:
            return None
        return next((row for until, row in self.past if until > place), self.now)


class Page(NamedTuple):
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


class ThreadKey(NamedTuple):
    """A thread by its root. `listed`: about users who need not be stored as members of its channel."""

    app: str
    channel: str
    root: str
    listed: bool


class Thread(NamedTuple):
    """Who takes part in a thread, each with the place of the message that made them."""

    people: dict[str, int]
    #: The latest of those places.
    newest: int
    #: Whether its root was recorded: only then is it known who took part before the first reply.
    root_seen: bool
    #: Whether it takes up nobody more.
    full: bool


class Directory:
    """The stored membership, mutes, threads and devices."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.audience = Audience(pool)

    def channels(self, keys: Collection[ChannelKey], place: int) -> dict[ChannelKey, Channel]:
        """As they are and were since a place."""
        rows = self._all(
            "SELECT c.app, c.id, c.name, c.push, c.created, c.since FROM unnest(%b::text[], %b::text[]) AS k (app, id)"
            " JOIN carillon.channels c USING (app, id)",
            keys,
        )
        found = {(app, id): Channel(created, ChannelRow(name, push)) for app, id, name, push, created, _ in rows}
        if changed := [(app, id) for app, id, _, _, _, since in rows if since > place]:
            past: dict[ChannelKey, list[tuple[int, ChannelRow]]] = {}
            for app, id, until, name, push in self._all(
                "SELECT p.app, p.id, p.until, p.name, p.push FROM unnest(%b::text[], %b::text[]) AS k (app, id)"
                " JOIN carillon.channel_past p USING (app, id) WHERE p.until > %s ORDER BY p.until",
                changed,
                place,
            ):
                past.setdefault((app, id), []).append((until, ChannelRow(name, push)))
            found |= {key: found[key]._replace(past=rows) for key, rows in past.items()}
        return found

    def pages(self, starts: Mapping[PageKey, int], size: int) -> dict[PageKey, Page]:
        """For each (app, channel, after): up to `size` members whose id sorts after `after`, at a place or behind it.

        Whose membership changed behind the place is among them, with when they were members.
        """
        rows = self._all(
            "SELECT k.app, k.channel, k.after, p.users, p.changed"
            " FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[]) AS k (app, channel, after, place),"
            " LATERAL (SELECT array_agg(s.user_id) AS users,"
            " array_agg(s.user_id) FILTER (WHERE s.since > k.place) AS changed"
            " FROM (SELECT m.user_id, m.since FROM carillon.members m WHERE m.app = k.app AND m.channel = k.channel"
            " AND m.user_id > k.after AND (m.present OR m.since > k.place) ORDER BY m.user_id LIMIT %s) s) p",
            [(*start, place) for start, place in starts.items()],
            size + 1,
            width=4,
        )
        asked = {
            (app, channel, user): starts[app, channel, after]
            for app, channel, after, _, changed in rows
            for user in changed or ()
        }
        intervals = self.memberships(asked)
        found = {}
        for app, channel, after, users, changed in rows:
            of_users = {user: intervals.get((app, channel, user), ()) for user in changed or ()}
            found[app, channel, after] = Page((users or [])[:size], len(users or ()) > size, of_users)
        return found

    def count_after(self, app: str, channel: str, after: str, place: int) -> int:
        """Members at the place whose id sorts after `after`."""
        with self._pool.connection() as db:
            row = db.execute(
                "SELECT (SELECT count(*) FROM carillon.members WHERE app = %(app)s AND channel = %(channel)s"
                " AND user_id > %(after)s AND present AND since <= %(place)s)"
                " + (SELECT count(*) FROM carillon.member_past WHERE app = %(app)s AND channel = %(channel)s"
                " AND user_id > %(after)s AND since <= %(place)s AND until > %(place)s)",
                {"app": app, "channel": channel, "after": after, "place": place},
            ).fetchone()
        assert row is not None
        return int(row[0])

    def memberships(self, keys: Mapping[Ids, int]) -> dict[Ids, list[Interval]]:
        """When each (app, channel, user) was a member, at the place that stands for it and behind it. Absent: never."""
        if not keys:
            return {}
        with self._pool.connection() as db:
            return memberships(db, keys)

    def threads(self, keys: Collection[ThreadKey]) -> dict[ThreadKey, Thread]:
        """Each of the threads: whoever wrote or was mentioned in the root or a reply, as far as they have to do with the channel.

        At most `THREAD_PEOPLE` of each. Whether they are members at a message's place is for `present` to say.
        """
        rows = self._all(
            "SELECT k.app, k.channel, k.root, k.listed, coalesce(t.root_seen, true), coalesce(t.people, 0), p.users, p.since"
            " FROM unnest(%b::text[], %b::text[], %b::text[], %b::boolean[]) AS k (app, channel, root, listed)"
            " LEFT JOIN carillon.threads t ON t.app = k.app AND t.channel = k.channel AND t.id = k.root,"
            " LATERAL (SELECT array_agg(s.user_id) AS users, array_agg(s.since) AS since FROM"
            " (SELECT p.user_id, p.since FROM carillon.thread_participants p"
            # Rows under no channel are of an older release.
            " WHERE p.app = k.app AND p.thread = k.root AND p.channel = ANY(ARRAY['', k.channel])"
            " AND (k.listed OR EXISTS (SELECT FROM carillon.members m"
            " WHERE m.app = k.app AND m.channel = k.channel AND m.user_id = p.user_id))"
            " LIMIT %s) s) p",
            keys,
            2 * THREAD_PEOPLE,
            width=4,
        )
        found = {}
        for app, channel, root, listed, root_seen, count, users, places in rows:
            people: dict[str, int] = {}
            for user, since in zip(users or (), places or (), strict=True):
                people[user] = min(since, people.get(user, since))
            newest = max(people.values(), default=0)
            found[ThreadKey(app, channel, root, listed)] = Thread(people, newest, root_seen, count >= THREAD_PEOPLE)
        return found

    def muted(self, keys: Collection[Ids], place: int) -> dict[Ids, list[Interval]]:
        """When the user had muted the target, at the place and behind it, for those of the (app, user, target) that had.

        Most senders are muted by nobody at all.
        """
        targets = self._all(
            "SELECT k.app, k.target FROM unnest(%b::text[], %b::text[]) AS k (app, target)"
            " WHERE EXISTS (SELECT FROM carillon.mutes m WHERE m.app = k.app AND m.target = k.target AND m.muted)"
            " OR EXISTS (SELECT FROM carillon.mute_past p WHERE p.app = k.app AND p.target = k.target AND p.until > %s)",
            {(app, target) for app, _, target in keys},
            place,
        )
        if not targets:
            return {}
        known = set(targets)
        with self._pool.connection() as db:
            return mutings(db, {key: place for key in keys if (key[0], key[2]) in known})

    def devices(self, keys: Collection[UserKey]) -> dict[UserKey, list[Device]]:
        """Active devices for each (app, user) that has any, oldest first."""
        rows = self._all(
            "SELECT d.app, d.id, d.user_id, d.provider_id, d.token, d.locale, d.registered_at"
            " FROM unnest(%b::text[], %b::text[]) AS k (app, user_id) JOIN carillon.devices d USING (app, user_id)"
            " WHERE d.active ORDER BY d.id",
            keys,
        )
        found: dict[UserKey, list[Device]] = {}
        for app, *device in rows:
            row = Device._make(device)
            found.setdefault((app, row.user), []).append(row)
        return found

    def _all(
        self, query: str, keys: Collection[tuple[object, ...]], *more: object, width: int = 2
    ) -> list[tuple[Any, ...]]:
        """All rows of a query whose placeholders are the keys' columns as arrays, then `more`."""
        if not keys:
            return []
        columns = [list(column) for column in zip(*keys, strict=True)]
        assert len(columns) == width
        with self._pool.connection() as db:
            return db.execute(query.encode(), (*columns, *more), prepare=True).fetchall()
