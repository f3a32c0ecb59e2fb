"""Forgets what is old, in bites that cost the same however long the system has been running."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Final

from worker.database.postgres import Connection, Pool

#: Days for which it is known what a membership, a mute or a channel was before its last change.
_PAST_DAYS: Final = 1
_TODAY: Final = "(now() AT TIME ZONE 'utc')::date"


def keep_days(pool: Pool, table: str, days: int, *, today: date | None = None) -> int:
    """Drops the days of a partitioned table that are older than `days`, and makes those to come; returns how many went."""
    gone, day = 0, today or datetime.now(UTC).date()
    with pool.connection() as db:
        while True:
            with db.transaction():
                # It reads the bounds of tables as they are shown, and behind a pooler the session is not ours.
                db.execute("SET LOCAL DateStyle = 'ISO, YMD'")
                row = db.execute("SELECT carillon.keep_days(%s, %s, %s)", (table, days, day)).fetchone()
            if row is None or not row[0]:
                return gone
            gone += 1


def forget_older(pool: Pool, tables: Mapping[str, str], days: int, *, bite: int, seconds: float) -> int:
    """Deletes what is older than `days` from tables (name -> column of its time, indexed); returns how many rows went.

    `bite` rows of each table in turn, until none is left or `seconds` are over: others write to them meanwhile.
    """

    def forget(table: str, column: str) -> Callable[[Connection], int]:
        statement = (
            f"DELETE FROM carillon.{table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM carillon.{table}"
            f" WHERE {column} < now() - make_interval(days => %s) ORDER BY {column} LIMIT %s))"
        ).encode()
        return lambda db: db.execute(statement, (days, bite)).rowcount

    return _in_bites(pool, [forget(table, column) for table, column in tables.items()], bite=bite, seconds=seconds)


def forget_people(pool: Pool, days: int, *, bite: int, seconds: float) -> int:
    """Forgets removed members, ended mutes and threads without a reply for `days`; returns how many rows went.

    With its last member goes a channel that has no name and is switched on. What somebody was before a change goes after a day.
    """

    def removed(db: Connection) -> int:
        return _count(
            db,
            "WITH gone AS (DELETE FROM carillon.members WHERE NOT present AND ctid = ANY(ARRAY("
            f"SELECT ctid FROM carillon.members WHERE NOT present AND changed_on < {_TODAY} - %(days)s"
            " ORDER BY changed_on LIMIT %(bite)s)) RETURNING app, channel),"
            " empty AS (DELETE FROM carillon.channels c USING (SELECT DISTINCT app, channel FROM gone) g"
            " WHERE c.app = g.app AND c.id = g.channel AND c.name IS NULL AND c.push"
            " AND NOT EXISTS (SELECT FROM carillon.members m WHERE m.app = c.app AND m.channel = c.id"
            f" AND (m.present OR m.changed_on >= {_TODAY} - %(days)s)))"
            " SELECT count(*) FROM gone",
        )

    def unmuted(db: Connection) -> int:
        return _count(
            db,
            "WITH gone AS (DELETE FROM carillon.mutes WHERE NOT muted AND ctid = ANY(ARRAY("
            f"SELECT ctid FROM carillon.mutes WHERE NOT muted AND changed_on < {_TODAY} - %(days)s"
            " ORDER BY changed_on LIMIT %(bite)s)) RETURNING 1) SELECT count(*) FROM gone",
        )

    def threads(db: Connection) -> int:
        # A thread may have thousands of people: as many threads as have a bite of them.
        return _count(
            db,
            "WITH old AS (SELECT app, channel, id FROM (SELECT t.*, sum(people) OVER (ORDER BY day, app, channel, id) AS n"
            f" FROM (SELECT * FROM carillon.threads WHERE day < {_TODAY} - %(days)s ORDER BY day LIMIT %(bite)s) t) o"
            " WHERE n - people < %(bite)s),"
            " gone AS (DELETE FROM carillon.threads t USING old o WHERE t.app = o.app AND t.channel = o.channel"
            f" AND t.id = o.id AND t.day < {_TODAY} - %(days)s RETURNING t.app, t.channel, t.id),"
            " people AS (DELETE FROM carillon.thread_participants p USING gone g WHERE p.app = g.app AND p.thread = g.id"
            " AND p.channel = g.channel RETURNING 1)"
            " SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM people)",
        )

    def _count(db: Connection, statement: str) -> int:
        row = db.execute(statement.encode(), {"days": days, "bite": bite}).fetchone()
        return 0 if row is None else int(row[0])

    gone = _in_bites(pool, [removed, unmuted, threads], bite=bite, seconds=seconds)
    past = {f"{name}_past": "ended_at" for name in ("member", "mute", "channel")}
    return gone + forget_older(pool, past, _PAST_DAYS, bite=bite, seconds=seconds)


def _in_bites(pool: Pool, forgets: list[Callable[[Connection], int]], *, bite: int, seconds: float) -> int:
    gone, ends, left = 0, time.monotonic() + seconds, list(forgets)
    with pool.connection() as db:
        while left and time.monotonic() < ends:
            for forget in list(left):
                went = forget(db)
                gone += went
                if went < bite:
                    left.remove(forget)
    return gone
