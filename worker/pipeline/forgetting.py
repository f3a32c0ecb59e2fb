"""Forgets a user: what Postgres and Redis have of them."""

from typing import NamedTuple

from worker.database import forget_user as rows
from worker.database.postgres import Pool
from worker.state import forget_user as members
from worker.state.partition import Partition


class Forgotten(NamedTuple):
    """Rows of Postgres by what they were, keys and members of Redis by their family, and events on streams that name the user."""

    postgres: dict[str, int]
    redis: dict[str, int]
    waiting: int


def forget_user(pool: Pool, partition: Partition, app: str, user: str, *, dry: bool = False) -> Forgotten:
    """Deletes what is stored, not what is on its way. A second call deletes what came in between; a dry run counts."""
    of_rows = rows.forget(pool, rows.Of(app, user, dry), lambda ids: members.forget_badges(partition, app, ids))
    of_keys = members.forget(partition, app, user, dry=dry)
    return Forgotten(of_rows, of_keys, members.on_streams(partition, app, user))
