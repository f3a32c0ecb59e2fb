"""Reads members and mutes for commands that list them: bounded reads of the current state."""

from collections.abc import Sequence
from typing import NamedTuple

from worker.database.postgres import Pool


class Member(NamedTuple):
    """A member of a channel; `at`: the time of the event that added them, UNIX microseconds."""

    user: str
    at: int


class Muting(NamedTuple):
    """`user` gets no push for what `target` writes; `at`: the time of the event, UNIX microseconds."""

    user: str
    target: str
    at: int


class Membership(NamedTuple):
    """A channel of a user. `push`: whether the channel's pushes are on."""

    channel: str
    name: str | None
    push: bool


class People:
    """Reads one app's members and mutes. Ids sort by their bytes, as they are stored."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def channel_known(self, app: str, channel: str) -> bool:
        """Whether the channel's members or settings were ever published."""
        with self._pool.connection() as db:
            found = db.execute("SELECT 1 FROM carillon.channels WHERE app = %s AND id = %s", (app, channel)).fetchone()
        return found is not None

    def members(self, app: str, channel: str, after: str, limit: int) -> list[Member]:
        """Members whose id sorts behind `after`."""
        with self._pool.connection() as db:
            rows = db.execute(
                "SELECT user_id, at FROM carillon.members WHERE app = %s AND channel = %s AND user_id > %s AND present"
                " ORDER BY user_id LIMIT %s",
                (app, channel, after, limit),
            ).fetchall()
        return [Member(*row) for row in rows]

    def count(self, app: str, channel: str) -> int:
        """How many members the channel has."""
        with self._pool.connection() as db:
            row = db.execute(
                "SELECT count(*) FROM carillon.members WHERE app = %s AND channel = %s AND present", (app, channel)
            ).fetchone()
        assert row is not None
        return int(row[0])

    def present(self, app: str, channel: str, users: Sequence[str]) -> set[str]:
        """Which of these users are members."""
        with self._pool.connection() as db:
            rows = db.execute(
                "SELECT user_id FROM carillon.members WHERE app = %s AND channel = %s AND user_id = ANY(%s) AND present",
                (app, channel, list(users)),
            ).fetchall()
        return {user for (user,) in rows}

    def channels_of(self, app: str, user: str, limit: int) -> list[Membership]:
        """The user's channels."""
        with self._pool.connection() as db:
            rows = db.execute(
                "SELECT m.channel, c.name, coalesce(c.push, true) FROM carillon.members m"
                " LEFT JOIN carillon.channels c ON c.app = m.app AND c.id = m.channel"
                " WHERE m.app = %s AND m.user_id = %s AND m.present ORDER BY m.channel LIMIT %s",
                (app, user, limit),
            ).fetchall()
        return [Membership(*row) for row in rows]

    def mutes(self, app: str, limit: int, *, user: str | None = None, channel: str | None = None) -> list[Muting]:
        """Mutes of the app, of one user, or among the members of a channel, where both users are members."""
        among = (
            " AND EXISTS (SELECT FROM carillon.members a WHERE a.app = m.app AND a.channel = %(channel)s"
            " AND a.user_id = m.user_id AND a.present)"
            " AND EXISTS (SELECT FROM carillon.members b WHERE b.app = m.app AND b.channel = %(channel)s"
            " AND b.user_id = m.target AND b.present)"
        )
        with self._pool.connection() as db:
            rows = db.execute(
                (
                    "SELECT m.user_id, m.target, m.at FROM carillon.mutes m WHERE m.app = %(app)s AND m.muted"
                    f"{' AND m.user_id = %(user)s' if user is not None else ''}{among if channel is not None else ''}"
                    " ORDER BY m.user_id, m.target LIMIT %(limit)s"
                ).encode(),
                {"app": app, "user": user, "channel": channel, "limit": limit},
            ).fetchall()
        return [Muting(*row) for row in rows]

    def muted(self, app: str, user: str, targets: Sequence[str]) -> set[str]:
        """Which of these the user has muted."""
        with self._pool.connection() as db:
            rows = db.execute(
                "SELECT target FROM carillon.mutes WHERE app = %s AND user_id = %s AND target = ANY(%s) AND muted",
                (app, user, list(targets)),
            ).fetchall()
        return {target for (target,) in rows}
