"""Who leads, as far as Redis knows: it spares the others a question to Postgres, whose row decides.

carillon:leader   string   `<owner> <token>`, for as long as the lease lasts
"""

import contextlib
from typing import Final

from worker.state import redis

LEADER_KEY: Final = "carillon:leader"


class LeaderHint:
    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def read(self) -> str | None:
        """Raises what stands for a Redis that is away."""
        hint = self._redis.get(LEADER_KEY)
        return hint.decode() if isinstance(hint, bytes) else None

    def write(self, hint: str, seconds: float) -> None:
        """Where Redis is away nothing is written, and the others ask Postgres."""
        with contextlib.suppress(redis.Error):
            self._redis.set(LEADER_KEY, hint, px=int(seconds * 1000))

    def withdraw(self, hint: str) -> None:
        """Nobody leads, if this is still what the key says. Where Redis is away, it ends by itself."""
        with contextlib.suppress(redis.Error):
            if self._redis.get(LEADER_KEY) == hint.encode():
                self._redis.delete(LEADER_KEY)
