"""What time the engines say it is, asked every few seconds and reckoned on in between."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from worker.database import postgres
from worker.database.postgres import Connection
from worker.state import redis
from worker.state.redis import Redis

#: Seconds for which what the engines said is reckoned on.
_KEPT: Final = 10.0


class Clocks:
    def __init__(self, client: Redis) -> None:
        self._redis = client
        self._asked_at = -_KEPT
        self._said: dict[str, float] = {}

    def look(self, transaction: Callable[[], AbstractContextManager[Connection]], *, kept: float = _KEPT) -> None:
        """Asks both engines, unless they were asked in the last `kept` seconds."""
        if time.monotonic() - self._asked_at < kept:
            return
        with transaction() as db:
            of_postgres = postgres.clock(db)
        self._said = {"Postgres": of_postgres, "Redis": redis.clock(self._redis)}
        self._asked_at = time.monotonic()

    def now(self) -> dict[str, float]:
        """UNIX seconds by the name of the engine. `look` first."""
        passed = time.monotonic() - self._asked_at
        return {name: said + passed for name, said in self._said.items()}
