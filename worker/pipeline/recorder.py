"""Records which notifications were accepted while others of their batches are in flight, and keeps the leases of these batches.

One thread of a process writes for all of them together, some fifty times a second while anything is in flight. So after a
`kill -9` little more than the unanswered notifications is sent again.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from config.seldom import Seldom
from worker.core.batch import Lane
from worker.core.model import ACCEPTED, Response
from worker.state import redis
from worker.state.journal import Journal

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


class Flight:
    """Notifications of one batch in flight: `seen[n]` is the response to the batch's job `jobs[n]`, None while there is none."""

    __slots__ = ("_jobs", "_missing", "_seen", "_unwritten", "batch", "renewed_at")

    def __init__(self, batch: str, jobs: Sequence[int], seen: Sequence[Response | None], renewed_at: float) -> None:
        self.batch = batch
        #: UNIX seconds from which the lease counts.
        self.renewed_at = renewed_at
        self._jobs, self._seen = jobs, seen
        self._missing: Sequence[int] = range(len(jobs))
        self._unwritten: list[int] = []

    def accepted(self) -> list[int]:
        """Jobs that were accepted and are not written yet."""
        seen, found, missing = self._seen, self._unwritten, []
        for place in self._missing:
            response = seen[place]
            if response is None:
                missing.append(place)
            elif response is ACCEPTED:
                found.append(self._jobs[place])
        self._missing = missing
        return list(found)

    def written(self, now: float) -> None:
        """What `accepted` gave last is written; the lease counts from `now`."""
        self._unwritten, self.renewed_at = [], now


class Recorder:
    """`now` gives UNIX seconds."""

    def __init__(self, journal: Journal, now: Callable[[], float]) -> None:
        self._journal, self._now = journal, now
        self._lock, self._begun = threading.Lock(), threading.Event()
        self._flights: dict[Flight, None] = {}
        self._thread: threading.Thread | None = None
        #: Gets the number of batches that can be taken.
        self.wake: Callable[[Lane, int], None] | None = None

    @contextmanager
    def watch(
        self, batch: str, jobs: Sequence[int], seen: Sequence[Response | None], renewed_at: float
    ) -> Iterator[Flight]:
        """Records acceptances of these and renews the batch's lease, as long as the caller is inside."""
        flight = Flight(batch, jobs, seen, renewed_at)
        with self._lock:
            self._flights[flight] = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="carillon-recorder", daemon=True)
                self._thread.start()
        self._begun.set()
        try:
            yield flight
        finally:
            with self._lock:
                del self._flights[flight]

    @property
    def in_flight(self) -> int:
        """Batches that are watched now."""
        return len(self._flights)

    def record(self) -> None:
        """Writes the acceptances since the last write."""
        with self._lock:
            flights = list(self._flights)
        now = self._now()
        news = [(flight, flight.accepted()) for flight in flights]
        due = [(flight, jobs) for flight, jobs in news if jobs or now - flight.renewed_at >= RENEW_SECONDS]
        if due:
            freed = self._journal.record([(flight.batch, jobs) for flight, jobs in due])
            for flight, _ in due:
                flight.written(now)
            if self.wake is not None:
                self.wake("urgent", freed.urgent)
                self.wake("bulk", freed.bulk)

    def _run(self) -> None:
        while True:
            if not self._begun.wait(_IDLE):
                with self._lock:
                    if not self._flights:
                        self._thread = None
                        return
            self._begun.clear()
            while self._flights:
                time.sleep(PAUSE)
                try:
                    self.record()
                except (
                    redis.Error
                ):  # what it did not write it writes later, unless the batch's outcomes are written first
                    seldom.warning("batches in flight not recorded, redis is away")
                    time.sleep(AWAY)
