"""Whether what must hold between all that Redis and Postgres keep does: docs/state.md. Changes nothing."""

import time
from collections.abc import Iterator
from typing import Final

from worker.core.entry import Names, id_key, id_of
from worker.database import cursors
from worker.database.postgres import Connection
from worker.state import invariants
from worker.state.partition import Keyspace

#: Looks that must agree on a violation, and the seconds between two: each step of a worker is shorter than all of them.
LOOKS: Final = 4
PAUSE: Final = 0.5


def check_invariants(keyspace: Keyspace, db: Connection, *, looks: int = LOOKS) -> list[str]:
    """The violations that lasted through all checks, in words. An idle system needs one check.

    Raises `invariants.TooLargeError` if there is more than one check compares.
    """
    found = _look(keyspace, db)
    for _ in range(looks - 1):
        if not found:
            break
        time.sleep(PAUSE)
        found &= _look(keyspace, db)
    return sorted(found)


def _look(keyspace: Keyspace, db: Connection) -> set[str]:
    found: set[str] = set()
    for partition in keyspace:
        now = invariants.look(partition)
        # Behind Redis: a leader moves its cursor before it opens entries.
        found |= invariants.violations_of(now) | set(_unread(now, partition.names, db))
    return found


def _unread(now: invariants.Look, names: Names, db: Connection) -> Iterator[str]:
    """An entry that is open was read: it is not behind the cursor of its stream in Postgres."""
    taken = {stream: id_key(cursor) for stream, (cursor, _) in cursors.moved_at(db).items()}
    for entry in now.open:
        cursor = taken.get(names.stream_of(entry))
        if cursor is None or id_key(id_of(entry)) > cursor:
            yield f"entry {entry} is open, and intake has not come to it"


#: What must hold, a sentence each.
SENTENCES: Final = tuple(check.__doc__ or "" for check in (*invariants.CHECKS, _unread))
