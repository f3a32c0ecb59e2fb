"""Shares the task threads of one process: a few work at once, and a bounded number may wait for each way.

A way is a provider or one of its origins. A thread that waits for a silent one uses no CPU, so another thread works meanwhile: a
silent way costs waiting threads, of which there are many. How many it may have depends on how many are free, so that one way
alone has what it can use, and many slow ones, or many origins of one provider, leave room for the next.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from worker.core.way import Way, provider_in
from worker.metrics.figures import Threads
from worker.pipeline.precedence import Precedence

#: Threads that may wait for answers, in addition to those that work.
WAITING: Final = 56
#: Threads that work at once, by default.
WORKING: Final = 8
#: Of those, threads that compute for the bulk lane, where the process has the urgent one as well. The interpreter runs one thread
#: at a time, and each step of a small message waits for all that compute.
BULK: Final = 2
#: Batches that each way may have in progress, however few threads are free.
LEAST: Final = 2
#: Parts of the free threads that a way may have: a way that answers; and a quiet one, which sent no answer for a second or left
#: its last batch without any answer.
SHARE: Final = 2
QUIET_SHARE: Final = 8
QUIET_SECONDS: Final = 1.0
#: Seconds without any answer of the way after which a waiting thread lets another one work.
PATIENCE: Final = 0.25
#: Seconds between two checks of the answers so far.
LOOK: Final = 0.1


class Bulkhead:
    """Shared by the task threads of a process. `clock` gives seconds."""

    def __init__(self, working: int = WORKING, waiting: int = WAITING, *, clock: Callable[[], float] = time.monotonic):
        self._working, self._threads, self._waiting = working, working + waiting, waiting
        self._clock = clock
        self._precedence = Precedence(clock=clock)
        self._at_work = 0
        #: Of those, on the bulk lane and not waiting for answers; and how many may be.
        self._bulk_at_work, self._bulk = 0, working
        self._changed = threading.Condition()
        self._own = threading.local()
        self._waits: dict[_Wait, None] = {}
        self._looked_at = 0.0
        self._in_work: Counter[Way] = Counter()
        self._heard_at: dict[Way, float] = {}
        #: Ways whose last batch got no answer.
        self._quiet: set[Way] = set()

    def resize(self, working: int, *, bulk: int | None = None) -> None:
        """Sets how many threads work at once from now on, and how many of these in the bulk lane (None: all)."""
        with self._changed:
            self._working, self._threads = working, working + self._waiting
            self._bulk = working if bulk is None else min(bulk, working)
            self._changed.notify_all()

    @contextmanager
    def working(self, *, bulk: bool = False) -> Iterator[bool]:
        """Waits until fewer threads than the bound work, or one of them waits without an answer; then works itself.

        `bulk`: on the bulk lane. Gives False at once, and then nothing may be done, while enough threads work there.
        """
        with self._changed:
            mine = not bulk or self._bulk_at_work < self._bulk
            self._bulk_at_work += bulk and mine
            while mine and self._at_work >= self._working and not self._give_way():
                self._changed.wait(LOOK)
            self._at_work += mine
        self._own.working, self._own.bulk = mine, bulk
        try:
            yield mine
        finally:
            self._own.working = False
            with self._changed:
                self._at_work -= mine
                self._bulk_at_work -= bulk and mine
                self._changed.notify()

    @contextmanager
    def answers(self, way: Way, seen: Sequence[object]) -> Iterator[None]:
        """Around the wait for a batch's answers. `seen` has the answers so far, and None for the others.

        Once they all are the thread goes on at once, though more than the bound may work then: the answers must be kept.
        """
        at_work = getattr(self._own, "working", False)
        wait, bulk = _Wait(way, seen, at_work), at_work and self._own.bulk
        with self._changed:
            self._waits[wait] = None
            self._bulk_at_work -= bulk
        try:
            with self._precedence.waiting():
                yield
        finally:
            with self._changed:
                del self._waits[wait]
                self._bulk_at_work += bulk
                if at_work and not wait.at_work:
                    self._at_work += 1

    def urgent(self) -> AbstractContextManager[None]:
        """Around work on urgent messages that `working` does not count."""
        return self._precedence.urgent()

    def pause(self) -> None:
        """Between two steps on the bulk lane: waits while others compute for urgent messages, for a moment at most."""
        self._precedence.pause()

    def room(self) -> int:
        """Tasks that this process can have at once: those that work, and those that wait without an answer."""
        with self._changed:
            self._look()
            vain = sum(not wait.at_work or self._silence(wait.way) > PATIENCE for wait in self._waits)
            return self._working + min(vain, self._waiting)

    def figures(self) -> Threads:
        """Threads that are busy now."""
        with self._changed:
            waiting = sum(not wait.at_work for wait in self._waits)
            return Threads(self._working, self._at_work, waiting)

    def full(self) -> list[Way]:
        """Ways whose share is used up."""
        with self._changed:
            known = self._in_work.keys() | self._quiet
            return [way for way in known if self._in_work[way] >= self._limit(way)]

    def enter(self, way: Way) -> bool:
        """Whether a batch of the way may be sent now; `leave` after it. False: its share is used up."""
        with self._changed:
            if self._in_work[way] >= self._limit(way):
                return False
            if not self._in_work[way]:
                self._heard_at[way] = self._clock()
            self._in_work[way] += 1
            return True

    def leave(self, way: Way, *, answered: bool | None) -> None:
        """A batch has ended. `answered`: whether any job was answered; None if nothing was sent."""
        with self._changed:
            self._in_work[way] -= 1
            if answered:
                self._quiet.discard(way)
                self._heard_at[way] = self._clock()
            elif answered is not None:
                self._quiet.add(way)
            if not self._in_work[way]:
                del self._in_work[way]
                self._heard_at.pop(way, None)

    def _limit(self, way: Way) -> int:
        self._look()
        free = self._threads - self._in_work.total()
        whole = max(LEAST, free // SHARE)
        if not self._is_quiet(way):
            return whole
        # All quiet origins of a provider together have the share of one way.
        others = 0 if isinstance(way, int) else sum(self._in_work[one] for one in self._quiet_origins(way))
        return max(0, min(max(LEAST, free // QUIET_SHARE), whole - others))

    def _is_quiet(self, way: Way) -> bool:
        return way in self._quiet or self._silence(way) > QUIET_SECONDS

    def _quiet_origins(self, way: Way) -> Iterator[Way]:
        """The other ways of its provider that are quiet and have a batch in progress."""
        provider = provider_in(way)
        return (one for one in self._in_work if one != way and provider_in(one) == provider and self._is_quiet(one))

    def _give_way(self) -> bool:
        """Whether a working thread waited without an answer: it no longer counts as working."""
        self._look()
        for wait in self._waits:
            if wait.at_work and self._silence(wait.way) > PATIENCE:
                wait.at_work = False
                self._at_work -= 1
                return True
        return False

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked_at < LOOK:
            return
        self._looked_at = now
        for wait in self._waits:
            answered = len(wait.seen) - wait.seen.count(None)
            if answered > wait.answered:
                wait.answered, self._heard_at[wait.way] = answered, now

    def _silence(self, way: Way) -> float:
        """Seconds since its last answer, or since it has a batch in progress."""
        now = self._clock()
        return now - self._heard_at.get(way, now)


class _Wait:
    """A thread that waits for a batch's answers, and whether it counts as working."""

    __slots__ = ("answered", "at_work", "seen", "way")

    def __init__(self, way: Way, seen: Sequence[object], at_work: bool) -> None:
        self.way, self.seen, self.at_work, self.answered = way, seen, at_work, 0
