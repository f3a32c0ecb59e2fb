"""Calls whose servers may not answer, each in a thread of its own, so that one that is away delays nobody else for long."""

import logging
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, NamedTuple

log = logging.getLogger(__name__)

#: Seconds that a caller waits for a call before it goes on with others.
PATIENCE: Final = 0.25


class Outcome(NamedTuple):
    """What a call returned, or what it ended with."""

    value: Any = None
    fault: Exception | None = None


class _Call:
    def __init__(self, name: Hashable, work: Callable[[], Any], passing: tuple[type[Exception], ...]) -> None:
        self._name, self._work, self._passing = name, work, passing
        self.outcome = Outcome()
        #: Nobody waits for its outcome any more.
        self.left = False
        self.thread = threading.Thread(target=self._run, name=f"carillon-{name}", daemon=True)

    def _run(self) -> None:
        try:
            self.outcome = Outcome(self._work())
        except Exception as fault:
            self.outcome = Outcome(fault=fault)
            if self.left and not isinstance(fault, self._passing):
                log.exception("a part failed after nobody waited for it any more", extra={"part": str(self._name)})


class Parts:
    """The calls of a process. One that takes longer than `patience` seconds goes on alone, and is not made again meanwhile.

    Who makes a call that another thread has just begun waits for that one.

    `passing`: what a call may end with that is no bug, and no line in the log once nobody waits for it.
    """

    def __init__(self, patience: float = PATIENCE, *, passing: tuple[type[Exception], ...] = ()) -> None:
        self._patience, self._passing = patience, passing
        self._lock = threading.Lock()
        self._running: dict[Hashable, _Call] = {}

    def call(self, name: Hashable, work: Callable[[], Any]) -> Outcome | None:
        """What it comes to; None: it takes longer, or an earlier call of this name still does."""
        return self.calls({name: work})[name]

    def calls(self, works: Mapping[Hashable, Callable[[], Any]]) -> dict[Hashable, Outcome | None]:
        """The same for several at once, which share the patience."""
        with self._lock:
            begun = {name: call for name, work in works.items() if (call := self._begun(name, work)) is not None}
        ends = time.monotonic() + self._patience
        for call in begun.values():
            call.thread.join(max(0.0, ends - time.monotonic()))
            call.left = call.thread.is_alive()
        return {name: None if name not in begun or begun[name].left else begun[name].outcome for name in works}

    def _begun(self, name: Hashable, work: Callable[[], Any]) -> _Call | None:
        """The call to wait for; None: it takes long."""
        running = self._running.get(name)
        if running is not None and running.thread.is_alive():
            return None if running.left else running
        call = self._running[name] = _Call(name, work, self._passing)
        call.thread.start()
        return call

    def join(self, seconds: float) -> None:
        """Waits until the calls have ended, so many seconds at most."""
        ends = time.monotonic() + seconds
        for call in list(self._running.values()):
            call.thread.join(max(0.0, ends - time.monotonic()))
