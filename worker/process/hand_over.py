"""Threads of a worker that take what its own leader opened, so that a message for few people needs no Celery message.

They take it only while one of them has nothing to do; a wake-up of Celery's asks all workers for everything else. What a process
had taken or was handed when it died is ready, or leased, like any other work, and the tick wakes workers for it.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

log = logging.getLogger(__name__)

#: Some expand, the others deliver. One that waits for answers of a provider costs nothing.
THREADS: Final = 8


class HandOver:
    """`most` threads. Nobody takes anything before `start`, or while `takes` says so. `within`: around all that they do."""

    def __init__(
        self, most: int = THREADS, *, within: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._most, self._takes, self._within = most, _nothing, within
        self._changed = threading.Condition()
        self._given: deque[Callable[[], object]] = deque()
        self._idle = self._reserved = 0
        self._stopped = False
        self._threads: list[threading.Thread] = []

    def start(self, takes: Callable[[], bool]) -> None:
        """`takes`: whether this process works on urgent messages."""
        self._takes, self._stopped = takes, False
        for number in range(self._most):
            thread = threading.Thread(target=self._run, name=f"carillon-hand-over-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def offer(self, work: Callable[[], object], *, spare: int = 0) -> bool:
        """Whether a thread takes the work at once. So many others stay idle."""
        if not self.reserve(spare=spare):
            return False
        self.give(work)
        return True

    def reserve(self, *, spare: int = 0) -> bool:
        """Whether a thread waits for what it will be given: `give` has to follow. So many others stay idle."""
        if not self._takes():
            return False
        with self._changed:
            if self._stopped or len(self._given) + self._reserved + spare >= self._idle:
                return False
            self._reserved += 1
        return True

    def give(self, work: Callable[[], object] | None) -> None:
        """The work of a thread that was reserved; None: there is none."""
        with self._changed:
            self._reserved -= 1
            if work is not None:
                self._given.append(work)
            # After `stop` all wait for what is still to be given.
            self._changed.notify_all() if self._stopped else self._changed.notify()

    def stop(self) -> None:
        """Lets the threads finish what they have, and what those who have reserved one give them."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def join(self, ends: float) -> None:
        """Waits for the threads, until this time of `time.monotonic()`."""
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                with self._within():
                    work()
            except Exception:  # the tick wakes workers for what it left
                log.exception("what was handed over failed")

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            self._idle += 1
            while not self._given and not (self._stopped and not self._reserved):
                self._changed.wait()
            self._idle -= 1
            return self._given.popleft() if self._given else None


def _nothing() -> bool:
    return False
