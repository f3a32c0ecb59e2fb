"""A discrete-event simulation of resources with queues. Knows nothing of Carillon; times are microseconds.

A job visits resources in their order. A resource has servers, takes jobs first come, first served, and may take several in one
step, which costs something by itself. Servers need a core to work: a resource has cores of its own, or shares a pool of them with
others.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

#: More servers than any resource needs.
UNBOUNDED: Final = 1 << 30

Action = Callable[[], None]


class Clock:
    """The events that are to come, in the order of their times."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Action]] = []
        self._number = count()

    def at(self, time: float, action: Action) -> None:
        heapq.heappush(self._events, (time, next(self._number), action))

    def run(self) -> None:
        """Until nothing is to come."""
        events = self._events
        while events:
            self.now, _, action = heapq.heappop(events)
            action()


class Cores:
    """So many cores, which who asks first gets first. A fraction makes all of them slower: 1.5 are two of 0.75."""

    def __init__(self, cores: float) -> None:
        whole = max(1, -int(-cores // 1))
        self.slowdown = whole / cores
        self._free = whole
        self._waiting: deque[Action] = deque()

    def take(self, begin: Action) -> None:
        """Calls `begin` as soon as a core is free."""
        if self._free:
            self._free -= 1
            begin()
        else:
            self._waiting.append(begin)

    def give(self) -> None:
        if self._waiting:
            self._waiting.popleft()()
        else:
            self._free += 1


@dataclass
class Job:
    """`route`: the resources that it visits, and the work at each."""

    born: float
    route: Sequence[tuple["Resource", float]]
    done: Callable[["Job"], None]
    _next: int = 0

    def go_on(self) -> None:
        """To the next resource, or to its end."""
        if self._next == len(self.route):
            self.done(self)
            return
        resource, work = self.route[self._next]
        self._next += 1
        resource.arrive(self, work)


@dataclass
class Resource:
    """`fixed`: what a step costs besides the work of its jobs, of which it takes up to `step` at once."""

    clock: Clock
    cores: Cores
    servers: int = 1
    step: int = 1
    fixed: float = 0.0
    #: Microseconds that its servers worked.
    worked: float = field(default=0.0, init=False)
    _busy: int = field(default=0, init=False)
    _queue: deque[tuple[Job, float]] = field(default_factory=deque, init=False)

    def arrive(self, job: Job, work: float) -> None:
        self._queue.append((job, work))
        self._begin()

    def _begin(self) -> None:
        if self._queue and self._busy < self.servers:
            self._busy += 1
            self.cores.take(self._work)

    def _work(self) -> None:
        """With a core: takes what waits by now. Another server may have taken it meanwhile."""
        taken = [self._queue.popleft() for _ in range(min(self.step, len(self._queue)))]
        took = (self.fixed + sum(work for _, work in taken)) * self.cores.slowdown if taken else 0.0
        self.worked += took
        self.clock.at(self.clock.now + took, lambda: self._end([job for job, _ in taken]))

    def _end(self, jobs: list[Job]) -> None:
        self._busy -= 1
        self.cores.give()
        for job in jobs:
            job.go_on()
        self._begin()
