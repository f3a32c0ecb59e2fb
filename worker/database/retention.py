"""Deletes old rows, in steps whose cost does not depend on the age of the system."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Final

from worker.database.postgres import Connection, Pool

#: Deletes up to so many rows, and returns how many it deleted.
Forget = Callable[[Connection, int], int]
#: The time and the day (UTC) that were `days` ago.
TIME: Final = "now() - make_interval(days => %(days)s)"
DAY: Final = "(now() AT TIME ZONE 'utc')::date - %(days)s"


def keep_days(pool: Pool, table: str, days: int, *, today: date | None = None) -> int:
    """Drops days of a partitioned table that are older than `days`, and makes the next ones; returns how many it dropped."""
    gone, day = 0, today or datetime.now(UTC).date()
    with pool.connection() as db:
        while True:
            with db.transaction():
                # The function reads the bounds of partitions as text, and behind a pooler the session may have another format.
                db.execute("SET LOCAL DateStyle = 'ISO, YMD'")
                row = db.execute("SELECT carillon.keep_days(%s, %s, %s)", (table, days, day)).fetchone()
            if row is None or not row[0]:
                return gone
            gone += 1


def forget_older(pool: Pool, tables: Mapping[str, str], days: int, *, bite: int, seconds: float) -> int:
    """Deletes rows older than `days` from tables (name -> its indexed column of time); returns how many rows."""
    return in_bites(pool, [older(table, column, days) for table, column in tables.items()], bite=bite, seconds=seconds)


def older(table: str, column: str, days: int, *, before: str = TIME, where: str = "true") -> Forget:
    """Deletes rows of a table that are older than `days` by an indexed column, and for which `where` is true."""
    return forget(
        f"WITH gone AS (DELETE FROM carillon.{table} WHERE {where} AND ctid = ANY(ARRAY(SELECT ctid FROM carillon.{table}"
        f" WHERE {where} AND {column} < {before} ORDER BY {column} LIMIT %(bite)s)) RETURNING 1) SELECT count(*) FROM gone",
        days,
    )


def forget(statement: str, days: int) -> Forget:
    """Deletes by a statement that takes `days` and `bite`, and returns how many rows it deleted."""

    def run(db: Connection, bite: int) -> int:
        row = db.execute(statement.encode(), {"days": days, "bite": bite}).fetchone()
        return 0 if row is None else int(row[0])

    return run


def in_bites(pool: Pool, forgets: Sequence[Forget], *, bite: int, seconds: float) -> int:
    """Runs each in turn, `bite` rows at a time, until none is left or `seconds` are over; returns how many rows were deleted.

    Other processes may write to the tables meanwhile.
    """
    gone, ends, left = 0, time.monotonic() + seconds, list(forgets)
    with pool.connection() as db:
        while left and time.monotonic() < ends:
            for one in list(left):
                went = one(db, bite)
                gone += went
                if went < bite:
                    left.remove(one)
    return gone
