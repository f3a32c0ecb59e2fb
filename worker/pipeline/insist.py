"""Writes to Redis that must not be lost, because what they write exists nowhere else."""

import logging
import time
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from config.seldom import Seldom
from worker.state import redis

log = logging.getLogger(__name__)
seldom = Seldom(log)
P = ParamSpec("P")
T = TypeVar("T")

#: Seconds for which outcomes are kept for a Redis that is away.
INSIST_SECONDS: Final = 90.0
_PAUSE: Final = 0.3


class Insist:
    """Repeats a call to Redis until it succeeds, for up to 90 s.

    A provider's answers exist only in this process; losing them would send the pushes twice. So from the answers on every step
    speaks to Redis through this. `now` gives UNIX seconds.
    """

    def __init__(self, now: Callable[[], float], *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._now, self._sleep = now, sleep

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        ends = self._now() + INSIST_SECONDS
        while True:
            try:
                return call(*args, **kwargs)
            except redis.Error:
                if self._now() > ends:
                    raise
                seldom.warning("outcomes not written yet, redis is away")
                self._sleep(_PAUSE)
