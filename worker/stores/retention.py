"""Rows that are kept for a time go once they are older."""

import time
from collections.abc import Mapping

from worker.stores.postgres import Pool


def forget_older(pool: Pool, tables: Mapping[str, str], days: int, *, bite: int, seconds: float) -> int:
    """Deletes what is older than `days` from tables (name -> column of its time); returns how many rows went.

    `bite` rows of each table in turn, until none is left or `seconds` are over: others write to them meanwhile.
    """
    gone, ends, left = 0, time.monotonic() + seconds, dict(tables)
    with pool.connection() as db:
        while left and time.monotonic() < ends:
            for table, column in list(left.items()):
                went = db.execute(
                    f"DELETE FROM carillon.{table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM carillon.{table}"
                    f" WHERE {column} < now() - make_interval(days => %s) LIMIT %s))".encode(),
                    (days, bite),
                ).rowcount
                gone += went
                if went < bite:
                    del left[table]
    return gone
