"""The leader's hint in Redis. It saves the other workers a query to Postgres, whose row decides."""

import contextlib

from worker.state import keys, redis


class LeaderHint:
    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def read(self) -> str | None:
        """Raises what stands for a Redis that is away."""
        hint = self._redis.get(keys.LEADER())
        return hint.decode() if isinstance(hint, bytes) else None

    def write(self, hint: str, seconds: float) -> None:
        """If Redis is away nothing is written, and the others ask Postgres."""
        with contextlib.suppress(redis.Error):
            self._redis.set(keys.LEADER(), hint, px=int(seconds * 1000))

    def withdraw(self, hint: str) -> None:
        """Deletes the hint if it still says this. If Redis is away, it ends by itself."""
        with contextlib.suppress(redis.Error):
            if self._redis.get(keys.LEADER()) == hint.encode():
                self._redis.delete(keys.LEADER())
