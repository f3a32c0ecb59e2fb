"""The worker's thread that ticks if no other process does: beat is down, all task threads hang, or their queue is long."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from config.seldom import Seldom
from worker.database import postgres
from worker.process.background_thread import BackgroundThread
from worker.process.runtime import Runtime
from worker.reports.faults import sentence
from worker.state import redis

log = logging.getLogger(__name__)

#: Seconds between two checks.
PAUSE: Final = 1.0
#: Seconds until it checks a database again whose schema is not up to date.
WAIT: Final = 5.0


class Ticker(BackgroundThread):
    """`tick` does the same as the task of that name. One process of the fleet calls it at a time."""

    def __init__(self, runtime: Runtime, tick: Callable[[], object]) -> None:
        super().__init__("carillon-ticker")
        self._runtime, self._tick = runtime, tick
        self._seldom = Seldom(log)

    def _run(self) -> None:
        while not self._stop.wait(PAUSE):
            try:
                if self._unwatched():
                    self._tick()
            except redis.Unavailable:
                continue
            except postgres.Unready as fault:
                self._seldom.error("the tick waits: %s", sentence(fault))
                self._stop.wait(WAIT)
            except Exception:  # noqa: BLE001 - whatever it was, the next tick may succeed
                self._seldom.exception("tick failed")

    def _unwatched(self) -> bool:
        """Whether nobody ticks, by the first partition whose server answers. Raises what that of the last one raises."""
        *others, last = self._runtime.partitions
        for one in others:
            with suppress(*redis.Unavailable):
                return one.journal.unwatched()
        return last.journal.unwatched()
