"""The worker's thread that says that it lives, and looks for conditions. It does no work, so that no work keeps it from this."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from config.seldom import Seldom
from worker.database import postgres
from worker.process.background_thread import BackgroundThread
from worker.process.broker import Away
from worker.process.runtime import Runtime
from worker.reports import signs
from worker.reports.faults import first_line
from worker.state import redis

log = logging.getLogger(__name__)

#: Seconds between two rounds.
PAUSE: Final = 2.5


class Lookout(BackgroundThread):
    """`name` is that of the worker in Flower; `lanes` gives those that it works on now. One process of the fleet looks at a time.

    It also writes the notes that need the secret keys: see `worker/reports/notes.py`.
    """

    def __init__(self, runtime: Runtime, name: str, lanes: Callable[[], list[str]]) -> None:
        super().__init__("carillon-lookout")
        self._runtime, self._name, self._lanes = runtime, name, lanes
        self._seldom = Seldom(log)

    def _run(self) -> None:
        stopped = False
        while not stopped:
            self._look()
            stopped = self._stop.wait(PAUSE)
        with suppress(redis.Error):
            signs.withdraw(self._runtime.fleet, self._name)

    def _look(self) -> None:
        watch = self._runtime.watch
        try:
            signs.give(self._runtime.fleet.brief, self._name, self._lanes(), broker=self._fault_of_broker())
            watch.redis_is_back()
            watch.look()
            self._runtime.notes.write()
        except redis.Away as fault:
            watch.redis_is_away(fault)
        except (*redis.Unavailable, postgres.Unavailable, *postgres.Unready):
            return  # what could be looked at was
        except Exception:  # noqa: BLE001 - whatever it was, the next round may succeed
            self._seldom.exception("looking for conditions failed")

    def _fault_of_broker(self) -> str:
        """Why Celery's broker does not answer, or ''. The journal's Redis has a condition of its own."""
        broker = self._runtime.broker
        if not broker.apart:
            return ""
        try:
            broker.ping()
        except Away as fault:
            return first_line(fault)
        return ""
