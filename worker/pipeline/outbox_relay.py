"""Moves what chat servers committed to their outbox onto the stream: exactly once, in order, however many relays run.

1. One transaction: take the outbox's lock, the lowest waiting rows, check their documents, put the good ones on the stream,
   delete them, mark the bad ones as failed, commit.
2. A relay that dies before its commit leaves the rows; the next one takes the same batch, and the fence adds no row twice.
3. Nothing is waiting: sleep until Postgres notifies, or a second. A relay that did not get the lock sleeps too.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from config.seldom import Seldom
from producers.documents import document
from producers.errors import EventError
from producers.events import MAX_DOCUMENT
from worker.core.backoff import backoff
from worker.core.errors import WorkerError
from worker.database import outbox, postgres
from worker.database.outbox import Outbox, Row
from worker.reports.faults import sentence
from worker.state import fence, redis
from worker.state.fence import Fence, Overtaken

log = logging.getLogger(__name__)
seldom = Seldom(log)

#: Bounds of the wait while something is away or full, in seconds.
_SHORTEST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 5.0
#: Seconds of listening between two checks whether to stop.
_LISTEN: Final = 0.5
#: Seconds between two lines about rows that were moved.
_REPORT: Final = 10.0
#: Batches behind the first that are looked at where nothing of it can be moved: it may be for a server that does not answer.
_PAGES: Final = 20
#: What names the Postgres that was asked: a variable, or an option.
URL: Final = "the outbox's URL"
_UNAVAILABLE: Final = (postgres.Unavailable, *redis.Unavailable)


class BacklogError(WorkerError):
    """The stream or Redis is as full as it may be; the transaction is undone and the rows wait where they are."""


@dataclass(frozen=True)
class Pace:
    """How the relay goes about it."""

    #: Rows moved at once.
    batch: int = 500
    #: Seconds after which it looks without having been notified.
    poll: float = 1.0
    #: Hours for which moved rows are kept; 0: they are deleted at once.
    keep_hours: float = 0.0


class Relay:
    """`fence` makes a fence from the source's name, which the database knows. `wait` sleeps until the relay is stopped."""

    def __init__(
        self, outbox: Outbox, fence: Callable[[str], Fence], pace: Pace, wait: Callable[[float], object]
    ) -> None:
        self._outbox, self._make_fence, self._pace, self._wait = outbox, fence, pace, wait
        self._fence: Fence | None = None
        self._moved = self._failed = 0
        self._reported_at = 0.0
        #: When it last began a step, by the monotonic clock.
        self.stepped_at = time.monotonic()

    def run(self, stopped: Callable[[], bool]) -> None:
        """Moves rows until stopped, whatever engine is away in between."""
        pause, failures = 0.0, 0
        while not stopped():
            self.stepped_at = time.monotonic()
            if self._went_well(pause, stopped):
                pause, failures = 0.0, 0
            else:
                failures += 1
                pause = backoff(failures, base=_SHORTEST_WAIT, longest=_LONGEST_WAIT, growth=2)
                self._wait(pause)
        self._report(now=True)

    def _went_well(self, pause: float, stopped: Callable[[], bool]) -> bool:
        """Moves a batch, or waits for one; False if it has to wait until something is corrected."""
        again = {"seconds": pause}
        try:
            with postgres.unavailable_as_such():
                if not self.step():
                    self._report()
                    self._await_rows(stopped)
            return True
        except Overtaken:
            return True
        except BacklogError as fault:
            seldom.warning("outbox waits, there is no room on the stream", extra=again | {"full": str(fault)})
            return False
        except _UNAVAILABLE as fault:
            seldom.warning("outbox waits, an engine is away", extra=again | {"fault": sentence(fault, postgres=URL)})
        except outbox.Missing as fault:
            advice = (
                "no outbox for this role: run what `carillon outbox sql` prints, then see docs/security.md for grants"
            )
            seldom.error(advice, extra=again | {"fault": sentence(fault, postgres=URL)})
        except (outbox.Refused, fence.Refused) as fault:
            seldom.error("outbox waits, an engine refuses it", extra=again | {"fault": sentence(fault, postgres=URL)})
        self._outbox.close()
        return False

    def step(self) -> int:
        """Moves one batch; returns how many rows were dealt with, 0 when none was waiting or another relay is at it."""
        stream = self._to_stream()
        with self._outbox.lead() as leading:
            if not leading:
                return 0
            stream.claim()
            rows = self._outbox.waiting(self._pace.batch)
            dealt = self._deal_with(rows, stream)
            for _ in range(_PAGES):
                if dealt or not rows:
                    break
                rows = self._outbox.waiting(self._pace.batch, after=rows[-1].id)
                dealt = self._deal_with(rows, stream)
        if self._pace.keep_hours > 0 and not rows:
            return self._outbox.purge(self._pace.keep_hours, self._pace.batch)
        return dealt

    def _deal_with(self, rows: Sequence[Row], stream: Fence) -> int:
        """Moves what can be moved of a batch; returns how many rows do not wait any more."""
        good, errors = _judged(rows)
        ids: list[int] = []
        if good:
            moved, full = stream.move([(f"{row.id}.{row.version}", checked) for row, checked in good])
            if full is not None:
                raise BacklogError(full)
            ids = [good[at][0].id for at in moved]
        if len(ids) < len(good):
            about = {"partitions": sorted(stream.silent)}
            seldom.warning("outbox rows wait, the servers of their partitions do not answer", extra=about)
        self._outbox.moved(ids, keep=self._pace.keep_hours > 0)
        self._outbox.refuse(errors)
        self._moved += len(ids)
        self._failed += len(errors)
        return len(ids) + len(errors)

    def close(self) -> None:
        self._outbox.close()
        if self._fence is not None:
            self._fence.close()

    def _await_rows(self, stopped: Callable[[], bool]) -> None:
        left = self._pace.poll
        while left > 0 and not stopped() and not self._outbox.wait(min(left, _LISTEN)):
            left -= _LISTEN

    def _to_stream(self) -> Fence:
        if self._fence is None:
            self._fence = self._make_fence(self._outbox.source())
        return self._fence

    def _report(self, *, now: bool = False) -> None:
        if (self._moved or self._failed) and (now or time.monotonic() - self._reported_at > _REPORT):
            log.info("outbox rows moved", extra={"moved": self._moved, "failed": self._failed})
            self._moved, self._failed, self._reported_at = 0, 0, time.monotonic()


def _judged(rows: Sequence[Row]) -> tuple[list[tuple[Row, bytes]], dict[int, str]]:
    """The rows that may go on the stream with their documents, and the error of each that may not."""
    good, errors = [], {}
    for row in rows:
        if row.event is None:
            errors[row.id] = f"document: {row.size:,} bytes, at most {MAX_DOCUMENT:,} are taken"
            continue
        try:
            good.append((row, document(row.event)))
        except EventError as fault:
            errors[row.id] = str(fault)
    return good, errors
