"""The worker's thread that ticks if no other process does: beat is down, all task threads hang, or their queue is long."""

import logging
from collections.abc import Callable
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
        """Whether nobody ticks, by the first partition whose server answers soon. Raises what that of the last one raises."""
        every = self._runtime.partitions
        if len(every) == 1:
            return every[0].journal.unwatched()
        fault: Exception | None = None
        for one in every:
            outcome = self._runtime.parts.call(f"watch-{one.index}", one.journal.unwatched)
            if outcome is None:
                continue
            if outcome.fault is None:
                return bool(outcome.value)
            fault = outcome.fault
            if not isinstance(fault, redis.Unavailable):
                break
        if fault is not None:
            raise fault
        return False
