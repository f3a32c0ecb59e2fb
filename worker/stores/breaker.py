"""The health of each provider as the fleet sees it: recent answers, and the breaker that stops one whose answers say so.

carillon:breaker:<provider>   why it is stopped; the key's life time is how long
carillon:answers:<provider>:<minute>   hash: answered, refused (guarded refusals of a device token)
"""

from typing import NamedTuple

from worker.stores.redis import Redis

#: Seconds for which answers count, in two buckets of half of it.
WINDOW = 600


class Answers(NamedTuple):
    answered: int
    refused: int


class Breaker:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def stopped(self, provider: int) -> float:
        """Seconds for which the provider is still stopped; 0: it flows."""
        left = self._redis.pttl(f"carillon:breaker:{provider}")
        return max(0.0, left / 1000)

    def stop(self, provider: int, reason: str, seconds: float) -> None:
        self._redis.set(f"carillon:breaker:{provider}", reason, px=int(seconds * 1000))

    def record(self, provider: int, *, answered: int, refused: int, now: float) -> Answers:
        """Adds a batch's answers; returns the totals of the window with them in it."""
        half = WINDOW // 2
        current = int(now) // half
        keys = [f"carillon:answers:{provider}:{current - age}" for age in (0, 1)]
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hincrby(keys[0], "answered", answered)
            pipe.hincrby(keys[0], "refused", refused)
            pipe.expire(keys[0], WINDOW)
            pipe.hmget(keys[1], "answered", "refused")
            now_answered, now_refused, _, before = pipe.execute()
        return Answers(now_answered + int(before[0] or 0), now_refused + int(before[1] or 0))
