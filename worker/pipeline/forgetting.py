"""Forgets a user, and deletes an app: what Postgres and Redis have of them."""

import time
from collections.abc import Collection
from functools import partial
from typing import Final, NamedTuple

from worker.database import cursors, delete_app
from worker.database import forget_user as rows
from worker.database.postgres import Pool
from worker.state import backlog
from worker.state import delete_app as of_app
from worker.state import forget_user as members
from worker.state.backlog import Waiting
from worker.state.journal import Journal
from worker.state.partition import Keyspace

#: Minutes without a message after which an app counts as one that takes no events, and seconds between two looks at what waits.
QUIET: Final = 10
_PAUSE: Final = 0.25


class Forgotten(NamedTuple):
    """Rows of Postgres by what they were, keys and members of Redis by their family, and events on streams that name the user."""

    postgres: dict[str, int]
    redis: dict[str, int]
    waiting: int


def forget_user(pool: Pool, keyspace: Keyspace, app: str, user: str, *, dry: bool = False) -> Forgotten:
    """Deletes what is stored, not what is on its way. A second call deletes what came in between; a dry run counts."""
    home = keyspace.of_app(app)
    of_rows = rows.forget(pool, rows.Of(app, user, dry), lambda ids: members.forget_badges(home, app, ids))
    of_keys: dict[str, int] = {}
    partitions = keyspace.all_of(app)
    for one in partitions:
        _add(of_keys, members.forget(one, app, user, dry=dry, producers=one is home))
    return Forgotten(of_rows, of_keys, sum(members.on_streams(one, app, user) for one in partitions))


class DeletedApp(NamedTuple):
    """Rows of Postgres by their table, keys and members of Redis by their family."""

    postgres: dict[str, int]
    redis: dict[str, int]


def in_use(keyspace: Keyspace, pool: Pool, app: str) -> str | None:
    """A sentence that says why the app is in use; None: nothing of it waits, and no message came within minutes."""
    waiting = waits(keyspace, pool, app)
    if waiting:
        return f"{sum(one.messages + one.batches for one in waiting):,} messages and batches of it wait"
    with pool.connection() as db:
        if delete_app.had_messages(db, app, QUIET):
            return f"it had messages within the last {QUIET} minutes"
    return None


def waits(keyspace: Keyspace, pool: Pool, app: str) -> list[Waiting]:
    """What waits of an app anywhere."""
    with pool.connection() as db:
        taken = cursors.taken(db)
    return [one for one in backlog.read(keyspace, taken).waiting if one.app == app]


def give_work_up(keyspace: Keyspace, pool: Pool, app: str, seconds: float) -> bool:
    """Waits until workers have given up what they had of an app that they know no more. Whether they have."""
    ends = time.monotonic() + seconds
    seen = min(ends, time.monotonic() + of_app.SEEN)
    for partition in keyspace.all_of(app):
        while of_app.is_known(partition, app) and time.monotonic() < seen:
            time.sleep(_PAUSE)
        partition.redis.unlink(partition.names.stream_for(app))
        of_app.give_up(Journal(partition, lease=0.0), partition, app)
    while waits(keyspace, pool, app):
        if time.monotonic() > ends:
            return False
        time.sleep(_PAUSE)
    return True


def delete_app_data(pool: Pool, keyspace: Keyspace, app: str, providers: Collection[int]) -> DeletedApp:
    """Deletes everything but the settings, which are gone. A call that ended in the middle is gone on with by the next."""
    found = DeletedApp({}, {})
    for _ in range(2):  # what a worker had in its hands when the first began
        for partition in keyspace.all_of(app):
            stream, forget_badges = partition.names.stream_for(app), partial(members.forget_badges, partition, app)
            _add(found.postgres, delete_app.delete(pool, app, stream, forget_badges))
            _add(found.redis, of_app.delete(partition, app, providers))
    return found


def _add(to: dict[str, int], more: dict[str, int]) -> None:
    for what, n in more.items():
        to[what] = to.get(what, 0) + n
