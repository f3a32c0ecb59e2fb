"""Beat's sign of life, for each command that runs it: `carillon beat`, `celery beat`, or a worker with `-B`."""

import logging
import time
from collections.abc import Callable
from typing import Final

import redis

from worker.state import keys
from worker.state.redis import connect

log = logging.getLogger(__name__)

#: Seconds within which `carillon health --beat` expects a tick.
PULSE_SECONDS: Final = 30
_EVERY: Final = 2.0


def pulse(redis_url: str) -> Callable[..., None]:
    """Returns a function to call at each tick that was sent."""
    client = connect(redis_url)
    last = 0.0

    def give(**_: object) -> None:
        nonlocal last
        if time.monotonic() - last < _EVERY:
            return
        try:
            client.set(keys.BEAT(), 1, ex=PULSE_SECONDS)
            last = time.monotonic()
        except redis.RedisError as fault:
            log.warning("pulse not written", extra={"fault": type(fault).__name__})

    return give
