"""The worker's thread that says that it lives, and looks for conditions. It does no work, so that no work keeps it from this."""

import logging
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

from config.seldom import Seldom
from worker.database import postgres
from worker.process.background_thread import BackgroundThread
from worker.process.broker import Away
from worker.process.runtime import Runtime
from worker.reports import signs
from worker.reports.faults import first_line
from worker.state import redis, servers
from worker.state.partition import Fleet

log = logging.getLogger(__name__)

#: Seconds between two rounds, and while Redis does not answer.
PAUSE: Final = 2.5
AWAY: Final = 1.0


class Lookout(BackgroundThread):
    """`name` is that of the worker in Flower; `lanes` gives those that it works on now. One process of the fleet looks at a time.

    It also writes the notes that need the secret keys: see `worker/reports/notes.py`.
    """

    def __init__(self, runtime: Runtime, name: str, lanes: Callable[[], list[str]]) -> None:
        super().__init__("carillon-lookout")
        self._runtime, self._name, self._lanes = runtime, name, lanes
        self._seldom = Seldom(log)

    def _run(self) -> None:
        # A server that is frozen answers nothing, and is noticed as soon as one that is gone.
        with closing(servers.impatient(self._runtime.fleet.redis)) as client:
            fleet, stopped = self._runtime.fleet.through(client), False
            while not stopped:
                stopped = self._stop.wait(self._look(fleet))
        with suppress(redis.Error):
            signs.withdraw(self._runtime.fleet, self._name)

    def _look(self, fleet: Fleet) -> float:
        """Returns the seconds until the next round. `fleet`: by a client that waits for no answer for long."""
        watch = self._runtime.watch
        try:
            signs.give(fleet, self._name, self._lanes(), broker=self._fault_of_broker())
            watch.redis_is_back()
            watch.look()
            self._runtime.notes.write()
        except redis.Away as fault:
            watch.redis_is_away(fault)
            return AWAY
        except (*redis.Unavailable, postgres.Unavailable, *postgres.Unready):
            pass  # what could be looked at was
        except Exception:  # noqa: BLE001 - whatever it was, the next round may succeed
            self._seldom.exception("looking for conditions failed")
        return PAUSE

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
