"""Urgent messages come before the bulk lane: threads that compute for the bulk lane pause between two steps meanwhile.

The interpreter runs one thread at a time. A direct message has some twenty steps, before each of which it waits for a thread that
computes for a large channel. The bulk lane always goes on: a thread pauses for no longer than it has worked.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

#: Seconds for which a thread pauses at once, at most.
MOST: Final = 0.05
#: Seconds after an urgent step in which the next one of the message may begin in another thread.
NEXT: Final = 0.002


class Precedence:
    """Shared by the threads of a process. `clock` gives seconds; for `most` seconds a thread pauses at once, at most."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, most: float = MOST) -> None:
        self._clock, self._most = clock, most
        #: Threads that compute for urgent messages, and when the last one ended.
        self._urgent, self._ended_at = 0, -math.inf
        self._changed = threading.Condition()
        self._own = threading.local()

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Around work on urgent messages."""
        self._own.urgent = True
        self._begin()
        try:
            yield
        finally:
            self._own.urgent = False
            self._end()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around a wait for a provider: the thread computes nothing, if it works on urgent messages at all."""
        if not getattr(self._own, "urgent", False):
            yield
            return
        self._end()
        try:
            yield
        finally:
            self._begin()

    def pause(self) -> None:
        """Between two steps on the bulk lane: waits while others compute for urgent messages, unless it did so just now."""
        now = self._clock()
        if not self._urgent and now >= self._ended_at + NEXT:
            return
        left, since = getattr(self._own, "left", (self._most, now))
        ends = now + min(self._most, left + now - since)
        with self._changed:
            while now < ends and (patience := self._patience(now)) > 0:
                self._changed.wait(min(ends - now, patience))
                now = self._clock()
        self._own.left = max(0.0, ends - now), now

    def _patience(self, now: float) -> float:
        return math.inf if self._urgent else self._ended_at + NEXT - now

    def _begin(self) -> None:
        with self._changed:
            self._urgent += 1

    def _end(self) -> None:
        with self._changed:
            self._urgent -= 1
            self._ended_at = self._clock()
            if not self._urgent:
                self._changed.notify_all()
