"""Moves an outbox's rows to the stream, each exactly once, whichever process dies or stalls.

The fence refuses a relay that was replaced and wakes up. A batch that comes again, because its deletion was not committed, is
recognised by its rows.
"""

import secrets
from collections.abc import Sequence
from typing import Any

from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from producers.wire import FULL, RESERVED
from worker.core.errors import WorkerError
from worker.state.partition import untagged
from worker.state.redis import Redis, connect
from worker.state.streams import app_named

#: Redis does not let this user do it, or cannot write.
Refused = ResponseError


class Overtaken(WorkerError):
    """Another relay has become the holder; nothing was written."""


class Fence:
    """The way from one database's outbox to the stream. Only the holder of the outbox's lock may use it."""

    def __init__(self, redis_url: str, source: str, *, max_backlog: int) -> None:
        self._redis: Redis = connect(redis_url)
        # A command that is sent again by the client could come after one that was sent later.
        self._redis.set_retry(Retry(NoBackoff(), 0))
        partition = untagged(self._redis)
        self._keys, self._scripts = partition.keys, partition.scripts
        self._key, self._max_backlog = self._keys.OUTBOX(source), max_backlog
        self._holder: str | None = None

    def claim(self) -> None:
        """From now on this relay is the holder. Between taking the outbox's lock and reading the rows to be moved."""
        if self._holder is None:
            holder = secrets.token_hex(8)
            self._redis.hset(self._key, "holder", holder)
            self._holder = holder

    def move(self, rows: Sequence[tuple[str, bytes]]) -> str | None:
        """Puts the documents of (row, document) on the stream, in order; all are there when it returns None.

        Returns why not, with nothing written, where the stream or Redis is too full. Raises `Overtaken`.
        """
        # After a failure the state is unknown: the next try is a new holder's.
        holder, self._holder = self._holder, None
        apps = sorted({app for _, document in rows if (app := app_named(document)) and app not in RESERVED})
        answer: Any = self._scripts.outbox(
            stream=self._keys.EVENTS(),
            fence=self._key,
            holder=holder or "",
            backlog=self._max_backlog,
            full=FULL,
            apps=apps,
            rows=rows,
        )
        if answer == b"stale":
            raise Overtaken
        self._holder = holder
        if isinstance(answer, int):
            return f"{answer} events of an app wait unread" if answer > 0 else f"memory {-answer} % full"
        return None

    def close(self) -> None:
        self._redis.close()
