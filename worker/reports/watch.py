"""Logs each condition when it begins and when it ends, once for the whole fleet, and keeps since when it lasts."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from worker.database import postgres
from worker.database.postgres import Pool
from worker.reports.acts import log_acts
from worker.reports.conditions import Condition, find
from worker.reports.reading import read
from worker.state import keys
from worker.state.redis import Redis
from worker.state.scripts import Scripts

log = logging.getLogger(__name__)

#: Milliseconds between two looks of the fleet.
_EVERY: Final = 5_000
#: Conditions whose beginning one check logs; the next check logs the others.
_MOST: Final = 50
_LEVELS: Final = {"error": logging.ERROR, "warning": logging.WARNING}
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Condition).decode


def known(redis: Redis) -> dict[str, Condition]:
    """The conditions of the last check, by key; `since` is the time of the first check that found one, or a better known time."""
    found: Any = redis.hgetall(keys.CONDITIONS())
    return {key.decode(): _decode(document) for key, document in found.items()}


def with_since(found: list[Condition], seen: dict[str, Condition]) -> list[Condition]:
    """The conditions with the time since which they are, where they have none of their own."""
    return [
        one if one.since is not None or one.key not in seen else one._replace(since=seen[one.key].since)
        for one in found
    ]


class Watch:
    """The fleet looks once every five seconds, whichever process ticks. `now` gives UNIX seconds."""

    def __init__(self, redis: Redis, pool: Pool, *, now: Callable[[], float] = time.time) -> None:
        self._redis, self._pool, self._now = redis, pool, now
        self._scripts = Scripts(redis)

    def look(self) -> int:
        """Logs conditions that begin and end; returns how many there are, 0 if another process has just looked."""
        log_acts(self._redis)
        if not self._scripts.while_full(command="SET", key=keys.CONDITIONS_LOOKED(), arguments=[1, "NX", "PX", _EVERY]):
            return 0
        complete = True
        try:
            with self._pool.connection() as db:
                reading = read(self._redis, db)
        except postgres.Unavailable:
            reading = read(self._redis, None)
            complete = False
        found, seen = find(reading.snapshot), known(self._redis)
        self._begin([one for one in found if one.key not in seen or seen[one.key].severity != one.severity])
        if complete and not reading.unknown:  # what could not be looked at is not over
            still = {one.key for one in found}
            self._end([one for key, one in seen.items() if key not in still])
        return len(found)

    def _begin(self, conditions: list[Condition]) -> None:
        for one in conditions[:_MOST]:
            since = self._now() if one.since is None else one.since
            self._scripts.while_full(
                command="HSET", key=keys.CONDITIONS(), arguments=[one.key, _encode(_stored(one._replace(since=since)))]
            )
            log.log(_LEVELS[one.severity], "condition begins", extra=_fields(one) | {"what": one.text})

    def _end(self, conditions: list[Condition]) -> None:
        for one in conditions:
            self._redis.hdel(keys.CONDITIONS(), one.key)
            lasted = round(self._now() - (one.since or self._now()))
            log.warning("condition is over", extra=_fields(one) | {"seconds": lasted})


def _stored(one: Condition) -> Sequence[object]:
    """As a release before has it, where it knows the condition."""
    return one if one.origin or one.until is not None else one[:6]


def _fields(one: Condition) -> dict[str, object]:
    fields = {"condition": one.name, "app": one.app, "provider": one.provider, "origin": one.origin or None}
    return {name: value for name, value in fields.items() if value is not None}
