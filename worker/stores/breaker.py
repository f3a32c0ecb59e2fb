"""The health of each provider as the fleet sees it: recent answers, and the breaker that stops one whose answers say so.

carillon:breaker:<provider>   hash: reason, since, manual; there while the provider is stopped
carillon:probe:<provider>     there until the next probe may be sent
carillon:answers:<provider>:<bucket>   hash: answered, refused (guarded refusals of a device token), gone (410)
"""

from typing import Any, NamedTuple

from worker.core.breaker import Stopped, probe_interval
from worker.stores.redis import Redis

#: Seconds for which answers count, in two buckets of half of it.
WINDOW = 600


class Answers(NamedTuple):
    answered: int
    refused: int
    #: Answers 410: the app is gone from the device.
    gone: int = 0


class Breaker:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def stopped(self, provider: int) -> Stopped | None:
        found: Any = self._redis.hgetall(_key(provider))
        if not found:
            return None
        return Stopped(found[b"reason"].decode(), float(found[b"since"]), found.get(b"manual") == b"1")

    def may_probe(self, provider: int, stopped: Stopped, now: float) -> bool:
        """Whether this worker may send one notification to see; one worker of the fleet in each interval may."""
        if stopped.manual:
            return False
        wait = int(probe_interval(stopped, now) * 1000)
        return bool(self._redis.set(f"carillon:probe:{provider}", 1, nx=True, px=wait))

    def stop(self, provider: int, reason: str, now: float, *, manual: bool = False) -> bool:
        """Stops the provider; True when it flowed before. A person's stop outlasts ours."""
        with self._redis.pipeline() as pipe:
            pipe.hsetnx(_key(provider), "since", now)
            if manual:
                pipe.hset(_key(provider), mapping={"reason": reason, "manual": 1})
            else:
                pipe.hsetnx(_key(provider), "reason", reason)
            pipe.set(f"carillon:probe:{provider}", 1, nx=True, px=int(probe_interval(Stopped(reason, now), now) * 1000))
            fresh, *_ = pipe.execute()
        return bool(fresh)

    def resume(self, provider: int) -> bool:
        """Lets the provider flow again; True when it was stopped."""
        return bool(self._redis.delete(_key(provider), f"carillon:probe:{provider}"))

    def record(self, provider: int, *, answered: int, refused: int, now: float, gone: int = 0) -> Answers:
        """Adds a batch's answers; returns the totals of the window with them in it."""
        half = WINDOW // 2
        current = int(now) // half
        keys = [f"carillon:answers:{provider}:{current - age}" for age in (0, 1)]
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hincrby(keys[0], "answered", answered)
            pipe.hincrby(keys[0], "refused", refused)
            pipe.hincrby(keys[0], "gone", gone)
            pipe.expire(keys[0], WINDOW)
            pipe.hmget(keys[1], "answered", "refused", "gone")
            *current_counts, _, before = pipe.execute()
        return Answers(*(n + int(earlier or 0) for n, earlier in zip(current_counts, before, strict=True)))


def _key(provider: int) -> str:
    return f"carillon:breaker:{provider}"
