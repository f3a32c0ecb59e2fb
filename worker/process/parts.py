"""Calls whose servers may not answer, each in a thread of its own, so that one that is away delays nobody else for long."""

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Final, NamedTuple

from worker.database import postgres
from worker.state import redis

log = logging.getLogger(__name__)

#: Seconds that a caller waits for a call before it goes on with others.
PATIENCE: Final = 0.25
#: What a call may end with that is no bug.
_PASSING: Final = (postgres.Unavailable, *redis.Unavailable, *postgres.Unready)


class Outcome(NamedTuple):
    """What a call returned, or what it ended with."""

    value: Any = None
    fault: Exception | None = None


class _Call:
    def __init__(self, name: Hashable, work: Callable[[], Any]) -> None:
        self._name, self._work = name, work
        self.outcome = Outcome()
        #: Nobody waits for its outcome any more.
        self.left = False
        self.thread = threading.Thread(target=self._run, name=f"carillon-{name}", daemon=True)

    def _run(self) -> None:
        try:
            self.outcome = Outcome(self._work())
        except Exception as fault:
            self.outcome = Outcome(fault=fault)
            if self.left and not isinstance(fault, _PASSING):
                log.exception("a part failed after nobody waited for it any more", extra={"part": str(self._name)})


class Parts:
    """The calls of a process. One that takes longer than `patience` seconds goes on alone, and is not made again meanwhile."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._running: dict[Hashable, _Call] = {}

    def call(self, name: Hashable, work: Callable[[], Any]) -> Outcome | None:
        """What it comes to; None: it takes longer, or an earlier call of this name still does."""
        with self._lock:
            before = self._running.get(name)
            if before is not None and before.thread.is_alive():
                return None
            call = self._running[name] = _Call(name, work)
            call.thread.start()
        call.thread.join(self._patience)
        if call.thread.is_alive():
            call.left = True
            return None
        return call.outcome

    def join(self, seconds: float) -> None:
        """Waits until the calls have ended, so many seconds at most."""
        ends = time.monotonic() + seconds
        for call in list(self._running.values()):
            call.thread.join(max(0.0, ends - time.monotonic()))
