"""Who is in a channel, a thread, a mute, and what devices they have. Reads for many messages at once; decides nothing.

Every read is one query for all of its arguments, whose plan is a nested loop over the keys. Arrays go as binary (`%b`): psycopg
writes their text form string by string in Python.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from worker.core.model import Device
from worker.stores.audience import Audience
from worker.stores.postgres import Pool
from worker.stores.writes import THREAD_PEOPLE

#: app, channel
ChannelKey = tuple[str, str]
#: app, user
UserKey = tuple[str, str]


class ChannelRow(NamedTuple):
    name: str | None
    push: bool


class Page(NamedTuple):
    """Members of a channel in byte order, and whether more follow."""

    users: list[str]
    more: bool


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

    def channels(self, keys: Collection[ChannelKey]) -> dict[ChannelKey, ChannelRow]:
        rows = self._all(
            "SELECT c.app, c.id, c.name, c.push FROM unnest(%b::text[], %b::text[]) AS k (app, id)"
            " JOIN carillon.channels c USING (app, id)",
            keys,
        )
        return {(app, id): ChannelRow(name, push) for app, id, name, push in rows}

    def pages(self, starts: Sequence[tuple[str, str, str]], size: int) -> list[Page]:
        """For each (app, channel, after): up to `size` members whose id sorts after `after`."""
        rows = self._all(
            "SELECT p.users FROM unnest(%b::text[], %b::text[], %b::text[]) WITH ORDINALITY AS k (app, channel, after, n),"
            " LATERAL (SELECT ARRAY(SELECT m.user_id FROM carillon.members m WHERE m.app = k.app AND m.channel = k.channel"
            " AND m.user_id > k.after AND m.present ORDER BY m.user_id LIMIT %s) AS users) p ORDER BY k.n",
            starts,
            size + 1,
            width=3,
        )
        return [Page(users[:size], len(users) > size) for (users,) in rows]

    def count_after(self, app: str, channel: str, after: str) -> int:
        """Members whose id sorts after `after`."""
        with self._pool.connection() as db:
            row = db.execute(
                "SELECT count(*) FROM carillon.members WHERE app = %s AND channel = %s AND user_id > %s AND present",
                (app, channel, after),
            ).fetchone()
        assert row is not None
        return int(row[0])

    def present(self, keys: Collection[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
        """Those of the (app, channel, user) that are members."""
        rows = self._all(
            "SELECT m.app, m.channel, m.user_id FROM unnest(%b::text[], %b::text[], %b::text[])"
            " AS k (app, channel, user_id) JOIN carillon.members m USING (app, channel, user_id) WHERE m.present",
            keys,
            width=3,
        )
        return {(app, channel, user) for app, channel, user in rows}

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

    def muted(self, keys: Collection[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
        """Those of the (app, user, target) where the user muted the target. Most senders are muted by nobody at all."""
        targets = self._all(
            "SELECT k.app, k.target FROM unnest(%b::text[], %b::text[]) AS k (app, target)"
            " WHERE EXISTS (SELECT FROM carillon.mutes m WHERE m.app = k.app AND m.target = k.target AND m.muted)",
            {(app, target) for app, _, target in keys},
        )
        if not targets:
            return set()
        known = set(targets)
        rows = self._all(
            "SELECT m.app, m.user_id, m.target FROM unnest(%b::text[], %b::text[], %b::text[])"
            " AS k (app, user_id, target) JOIN carillon.mutes m USING (app, user_id, target) WHERE m.muted",
            [key for key in keys if (key[0], key[2]) in known],
            width=3,
        )
        return {(app, user, target) for app, user, target in rows}

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
