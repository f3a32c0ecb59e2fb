"""Live Activities: the newest of the updates for each user, how many were urgent, and how many a user was sent the start of."""

from collections.abc import Collection, Sequence
from typing import Final

from worker.state.partition import Partition

#: Seconds for which an activity is known after its last update: the system ends it after 12 hours.
KEPT: Final = 43_200
#: Seconds in which one update of an activity may go out at once. The system stops showing those of an app that sends more.
URGENT_EVERY: Final = 15
#: Activities that one user may be sent the start of in an hour: beyond some ten the phone drops them, without an error.
STARTS: Final = 8
_HOUR: Final = 3_600


class Activities:
    def __init__(self, partition: Partition) -> None:
        self._redis, self._keys = partition.redis, partition.keys

    def note(self, app: str, activity: str, users: Sequence[str], at: int) -> set[str]:
        """An update of this time (microseconds) is for these users. Returns those who have a newer one."""
        if not users:
            return set()
        key = self._keys.ACTIVITY(app, activity)
        with self._redis.pipeline() as pipe:
            pipe.zadd(key, dict.fromkeys(users, at), gt=True)
            pipe.expire(key, KEPT)
            pipe.zmscore(key, list(users))
            *_, newest = pipe.execute()
        return {user for user, time in zip(users, newest, strict=True) if time is not None and time > at}

    def newest(self, app: str, asked: Sequence[tuple[str, str]]) -> list[int]:
        """The time of the newest update for each (activity, user); 0: none is known."""
        with self._redis.pipeline(transaction=False) as pipe:
            for activity, user in asked:
                pipe.zscore(self._keys.ACTIVITY(app, activity), user)
            found = pipe.execute() if asked else []
        return [int(time or 0) for time in found]

    def may_be_urgent(self, app: str, activity: str, event: str) -> bool:
        """Whether no other event of the activity was urgent in the last seconds. A second time says the same."""
        first = self._redis.set(self._keys.ACTIVITY_URGENT(app, activity), event, nx=True, get=True, ex=URGENT_EVERY)
        return first is None or first == event.encode()

    def over_budget(self, app: str, users: Collection[str], event: str, now: float) -> set[str]:
        """The users who were sent the start of as many activities as one may be in an hour. A second time says the same."""
        over = set()
        for user in users:
            key = self._keys.ACTIVITY_STARTS(app, user)
            with self._redis.pipeline() as pipe:
                pipe.zremrangebyscore(key, "-inf", now - _HOUR)
                pipe.zadd(key, {event: now}, nx=True)
                pipe.expire(key, _HOUR)
                pipe.zrank(key, event)
                *_, rank = pipe.execute()
            if rank >= STARTS:
                self._redis.zrem(key, event)
                over.add(user)
        return over
