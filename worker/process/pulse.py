"""Beat's sign of life, for each command that runs it: `carillon beat`, `celery beat`, or a worker with `-B`."""

import logging
import time
from typing import Final

import redis

from config.seldom import Seldom
from worker.core.errors import UnfitError
from worker.reports.faults import sentence
from worker.state.partition import Keyspace
from worker.state.redis import connect

log = logging.getLogger(__name__)
seldom = Seldom(log)

#: Seconds within which `carillon health --beat` expects a tick.
PULSE_SECONDS: Final = 30
_EVERY: Final = 2.0


class Pulse:
    """To be called at each tick that was sent. `ticked_at`: when that was last, by the monotonic clock."""

    def __init__(self, redis_url: str) -> None:
        self._redis = connect(redis_url)
        self.ticked_at = time.monotonic()
        self._last = 0.0

    def __call__(self, **_: object) -> None:
        self.ticked_at = time.monotonic()
        if self.ticked_at - self._last < _EVERY:
            return
        try:
            # Beat need not be started again where the partitions are changed.
            fleet = Keyspace(self._redis).fleet
            fleet.redis.set(fleet.keys.BEAT(), 1, ex=PULSE_SECONDS)
            self._last = self.ticked_at
        except (redis.RedisError, UnfitError) as fault:
            seldom.warning("pulse not written: %s", sentence(fault) if isinstance(fault, redis.RedisError) else fault)
