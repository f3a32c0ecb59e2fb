"""Records which notifications were accepted while others of their batches are in flight, and keeps the leases of these batches.

It also makes ready in time what its process has put off for some seconds. The tick, which comes once a second, does it otherwise.

One thread of a process writes for all of a server together, some fifty times a second while anything is in flight for longer
than that. So after a `kill -9` little more than the unanswered notifications is sent again. Most batches have all of their
answers sooner: who sends them writes these at once, and nothing is written here.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from heapq import heappop, heappush
from typing import Final, NamedTuple

from config.seldom import Seldom
from worker.core.batch import Freed, Lane
from worker.core.model import ACCEPTED, Response
from worker.state import redis
from worker.state.homes import Home
from worker.state.journal import Journal, QueuedBatch
from worker.state.parts import Parts

log = logging.getLogger(__name__)
seldom = Seldom(log)

#: Seconds between two writes.
PAUSE: Final = 0.02
#: Seconds between two renewals of a lease when there is nothing else to write.
RENEW_SECONDS: Final = 1.0
#: Seconds until it tries again where Redis does not take what it writes.
AWAY: Final = 0.2
#: Seconds after which the thread ends where nothing is in flight.
_IDLE: Final = 5.0
#: Pauses after the last batch for which the thread goes on to look for the next: waking it interrupts whoever sends that.
_LOOKS: Final = 5
#: Longest delay of a batch in seconds for which it is made ready here, and how many such batches it remembers.
_SOON: Final = 5.0
_MOST: Final = 10_000


class Claim(NamedTuple):
    """The devices of a batch that it has at the home of its app, one for each job, and those that it needs afterwards too."""

    home: Home
    devices: Sequence[int]
    needed: Collection[int] = ()


class Flight:
    """Notifications of one batch in flight: `seen[n]` is the response to the batch's job `jobs[n]`, None while there is none."""

    __slots__ = (
        "_jobs",
        "_missing",
        "_patience",
        "_renewals",
        "_seen",
        "_unwritten",
        "about",
        "batch",
        "claim",
        "claimed_at",
        "hangs",
        "renewed_at",
    )

    def __init__(
        self,
        batch: str,
        jobs: Sequence[int],
        seen: Sequence[Response | None],
        renewed_at: float,
        claim: Claim | None = None,
        patience: float = math.inf,
        about: Mapping[str, str] | None = None,
    ) -> None:
        self.batch, self.claim, self.claimed_at = batch, claim, renewed_at
        #: App and provider, for the log.
        self.about = about or {}
        #: Whether it went without a response for longer than any send may.
        self.hangs = False
        self._patience = patience
        #: UNIX seconds from which the lease counts.
        self.renewed_at = renewed_at
        self._jobs, self._seen = jobs, seen
        self._missing: Sequence[int] = range(len(jobs))
        self._unwritten: list[int] = []
        #: Since the last response. They are counted, as no time passes for a process that is frozen.
        self._renewals = 0

    def accepted(self) -> list[int]:
        """Jobs that were accepted and are not written yet."""
        seen, found, missing = self._seen, self._unwritten, []
        for place in self._missing:
            response = seen[place]
            if response is None:
                missing.append(place)
            elif response is ACCEPTED:
                found.append(self._jobs[place])
        if len(missing) < len(self._missing):
            self._renewals = 0
        self._missing = missing
        return list(found)

    def accepting(self) -> list[int]:
        """The devices all of whose notifications were accepted."""
        if self.claim is None:
            return []
        answers = list(zip(self.claim.devices, self._seen, strict=True))
        left = {device for device, response in answers if response is not ACCEPTED}
        return list({device for device, _ in answers} - left - {*self.claim.needed})

    def written(self, now: float) -> None:
        """What `accepted` gave last is written; the lease counts from `now`."""
        self._renewals += not self._unwritten
        self._unwritten, self.renewed_at = [], now
        if not self.hangs and self._renewals * RENEW_SECONDS >= self._patience:
            self.hangs = True
            log.error(
                "batch in flight for longer than a send may take, another worker takes it: restart this one, and report the"
                " lines before this as a fault of Carillon's",
                extra={**self.about, "batch": self.batch},
            )


class Recorder:
    """`now` gives UNIX seconds. `by`: the one whose thread also writes for this one, as both write to the same server."""

    def __init__(self, journal: Journal, now: Callable[[], float], by: "Recorder | None" = None) -> None:
        self._journal, self._now, self._by = journal, now, by
        self._lock, self._begun = threading.Lock(), threading.Event()
        self._flights: dict[Flight, None] = {}
        self._thread: threading.Thread | None = None
        #: A home that does not answer delays no acceptance of another batch.
        self._homes = Parts(PAUSE, passing=redis.Unavailable)
        #: Gets the number of batches that can be taken.
        self.wake: Callable[[Lane, int], None] | None = None
        #: The same of the partition of this number, where it is the home of an app.
        self.wake_home: Callable[[int, Lane, int], None] | None = None
        #: Whether what is ready waits for threads that do not get on. It is asked while anything is in flight.
        self.is_left: Callable[[], bool] = lambda: False
        #: When batches that were put off are due (UNIX seconds), and their ids: a heap.
        self._due: list[tuple[float, str]] = []
        #: All that its thread writes for.
        self._of_thread = [self]
        if by is not None:
            by.write_for(self)

    @contextmanager
    def watch(
        self,
        batch: str,
        jobs: Sequence[int],
        seen: Sequence[Response | None],
        renewed_at: float,
        claim: Claim | None = None,
        patience: float = math.inf,
        about: Mapping[str, str] | None = None,
    ) -> Iterator[Flight]:
        """Records acceptances of these and renews the batch's lease, as long as the caller is inside; its `claim` as well.

        After `patience` seconds without a response the lease runs out: a thread that hangs must not keep its batch. `about`: app
        and provider, for the log.
        """
        flight = Flight(batch, jobs, seen, renewed_at, claim, patience, about)
        try:
            with self._lock:
                self._flights[flight] = None
                self._begin()
            yield flight
        finally:
            with self._lock:
                del self._flights[flight]

    def put_off(self, batches: Iterable[QueuedBatch]) -> None:
        """Makes these ready when it is time, where workers are woken for it."""
        self._note((one.id, one.delay) for one in batches)

    def come_back(self, batch: str, delay: float) -> None:
        """The same for one that waits as a whole."""
        self._note([(batch, delay)])

    def _note(self, batches: Iterable[tuple[str, float]]) -> None:
        now = self._now()
        due = [(now + delay, id) for id, delay in batches if 0.0 < delay <= _SOON]
        if not due or self.wake is None:
            return
        with self._lock:
            for one in due[: _MOST - len(self._due)]:
                heappush(self._due, one)
            self._begin()

    def write_for(self, other: "Recorder") -> None:
        """The thread of this one writes for that one as well, which calls `begin` once it has something."""
        self._of_thread.append(other)

    def begin(self) -> None:
        """Sees to it that a thread writes."""
        with self._lock:
            self._begin()

    def _begin(self) -> None:
        if self._by is not None:
            self._by.begin()
            return
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="carillon-recorder", daemon=True)
            thread.start()
            self._thread = thread
        self._begun.set()

    @property
    def in_flight(self) -> int:
        """Batches that are watched now."""
        return len(self._flights)

    @property
    def is_idle(self) -> bool:
        """Whether no batch is watched, and none waits for its time."""
        return not self._flights and not self._due

    def flights(self) -> Sequence[Flight]:
        """What is in flight now."""
        with self._lock:
            return tuple(self._flights)

    def record(self, among: Sequence[Flight] | None = None) -> None:
        """Writes the acceptances since the last write, of all that are in flight, or of those among these."""
        with self._lock:
            flights = [one for one in (self._flights if among is None else among) if one in self._flights]
        now = self._now()
        news = [(flight, flight.accepted()) for flight in flights]
        due = [
            (flight, jobs)
            for flight, jobs in news
            if jobs or (now - flight.renewed_at >= RENEW_SECONDS and not flight.hangs)
        ]
        if due:
            freed = self._journal.record([(flight.batch, jobs) for flight, jobs in due])
            for flight, _ in due:
                flight.written(now)
            self._wake(freed)
        claims: dict[Home, list[tuple[str, list[int]]]] = {}
        for flight in flights:
            if flight.claim is not None and now - flight.claimed_at >= RENEW_SECONDS and not flight.hangs:
                flight.claimed_at = now
                claims.setdefault(flight.claim.home, []).append((flight.batch, flight.accepting()))
        for home, batches in claims.items():
            outcome = self._homes.call(home, partial(self._renew, home, batches))
            if outcome is None:
                continue
            if isinstance(outcome.fault, redis.Unavailable):
                # It is asked again in a second, and the lease there is longer.
                seldom.warning("devices of batches in flight not kept, their home is away")
            elif outcome.fault is not None:
                raise outcome.fault

    def _renew(self, home: Home, batches: Sequence[tuple[str, Sequence[int]]]) -> None:
        freed = home.renew(batches, self._journal.lease)
        wake = self.wake_home
        if wake is not None:
            wake(home.partition.index, "urgent", freed.urgent)
            wake(home.partition.index, "bulk", freed.bulk)

    def make_ready(self) -> float:
        """Makes ready what is due by now; returns the seconds until the next is."""
        now, due = self._now(), []
        with self._lock:
            while self._due and self._due[0][0] <= now:
                due.append(heappop(self._due)[1])
            rest = self._due[0][0] - now if self._due else _IDLE
        if due:
            self._wake(self._journal.ready_batches(due))
        if self.is_left():
            self._wake(Freed(1, 0))
        return min(_IDLE, max(PAUSE, rest))

    def _wake(self, freed: Freed) -> None:
        wake = self.wake  # another thread may take it back meanwhile
        if wake is not None:
            wake("urgent", freed.urgent)
            wake("bulk", freed.bulk)

    def _run(self) -> None:
        rest = _IDLE
        while True:
            if not self._begun.wait(rest):
                with self._lock:
                    if all(one.is_idle for one in self._of_thread):
                        self._thread = None
                        return
            self._begun.clear()
            rest = min(one.try_make_ready() for one in self._of_thread)
            looks = _LOOKS
            while looks:
                before = [(one, one.flights()) for one in self._of_thread]
                looks = _LOOKS if any(flights for _, flights in before) else looks - 1
                time.sleep(PAUSE)
                rest = min(one.try_make_ready() for one in self._of_thread)
                for one, flights in before:
                    if flights:
                        one.try_record(flights)

    def try_record(self, among: Sequence[Flight]) -> None:
        """As `record`. Raises nothing."""
        try:
            self.record(among)
        except redis.Error:  # what it did not write it writes later, unless the batch's outcomes are written first
            seldom.warning("batches in flight not recorded, redis is away")
            time.sleep(AWAY)
        except Exception:  # noqa: BLE001 - without this thread leases would end while their batches are sent
            seldom.exception("batches in flight not recorded")
            time.sleep(AWAY)

    def try_make_ready(self) -> float:
        """As `make_ready`. Raises nothing."""
        try:
            return self.make_ready()
        except redis.Error:  # the tick finds them
            return AWAY
        except Exception:  # noqa: BLE001 - the same
            seldom.exception("batches that were put off not made ready")
            return AWAY
