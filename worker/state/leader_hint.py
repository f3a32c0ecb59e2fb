"""The leader's hint in Redis. It saves the other workers a query to Postgres, whose row decides."""

import contextlib

from worker.state import redis
from worker.state.partition import Partition


class LeaderHint:
    def __init__(self, partition: Partition) -> None:
        self._redis, self._keys = partition.redis, partition.keys

    def read(self) -> str | None:
        """Raises what stands for a Redis that is away."""
        hint = self._redis.get(self._keys.LEADER())
        return hint.decode() if isinstance(hint, bytes) else None

    def write(self, hint: str, seconds: float) -> None:
        """If Redis is away nothing is written, and the others ask Postgres."""
        with contextlib.suppress(redis.Error):
            self._redis.set(self._keys.LEADER(), hint, px=int(seconds * 1000))

    def withdraw(self, hint: str) -> None:
        """Deletes the hint if it still says this. If Redis is away, it ends by itself."""
        with contextlib.suppress(redis.Error):
            if self._redis.get(self._keys.LEADER()) == hint.encode():
                self._redis.delete(self._keys.LEADER())
