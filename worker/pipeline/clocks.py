"""What time the engines say it is, asked every few seconds and reckoned on in between."""

import time
from collections.abc import Callable
from typing import Final

from worker.state import redis
from worker.state.redis import Redis

#: Seconds for which what the engines said is reckoned on.
_KEPT: Final = 10.0


class Clocks:
    """`of_postgres` gives the time by Postgres' clock, in UNIX seconds."""

    def __init__(self, client: Redis, of_postgres: Callable[[], float]) -> None:
        self._redis, self._of_postgres = client, of_postgres
        self._asked_at = -_KEPT
        self._said: dict[str, float] = {}

    def look(self, *, kept: float = _KEPT) -> None:
        """Asks both engines, unless they were asked in the last `kept` seconds."""
        if time.monotonic() - self._asked_at < kept:
            return
        self._said = {"Postgres": self._of_postgres(), "Redis": redis.clock(self._redis)}
        self._asked_at = time.monotonic()

    def now(self) -> dict[str, float]:
        """UNIX seconds by the name of the engine. `look` first."""
        passed = time.monotonic() - self._asked_at
        return {name: said + passed for name, said in self._said.items()}
