"""The thread of a worker process that tries to lead the intake, and takes the stream while it does."""

import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Final

from psycopg.errors import InsufficientPrivilege, InvalidSchemaName, UndefinedColumn, UndefinedTable

from worker.beside import Beside
from worker.intake import Intake
from worker.reports.faults import sentence
from worker.runtime import Runtime
from worker.stores import postgres, redis
from worker.stores.lease import Lease, LeaseLost

log = logging.getLogger(__name__)

#: Seconds between two attempts to lead, and longest wait while an engine is away.
_ATTEMPT: Final = 1.0
_LONGEST_WAIT: Final = 5.0
_UNAVAILABLE: Final = (postgres.Unavailable, *redis.Unavailable)


class Leader(Beside):
    """`ring` is told how many messages became ready. Once it is stopped the next leader may begin."""

    def __init__(self, runtime: Runtime, ring: Callable[[int], None]) -> None:
        super().__init__("carillon-intake")
        self._runtime, self._ring = runtime, ring

    def _run(self) -> None:
        runtime = self._runtime
        lease = Lease(runtime.pool, runtime.redis, owner=f"{socket.gethostname()}:{os.getpid()}")
        wait = 0.0
        while not self._stop.wait(wait):
            began = time.monotonic()
            try:
                wait = self._lead(lease)
            except _UNAVAILABLE as fault:
                # Who has led for a while meets a new fault, not the old one again.
                before = 0.0 if time.monotonic() - began > _LONGEST_WAIT else wait
                wait = min(_LONGEST_WAIT, before * 2 or 0.2)
                log.warning("intake waits, an engine is away", extra={"fault": sentence(fault), "seconds": wait})
            except LeaseLost as fault:
                wait = _ATTEMPT
                log.warning("another process leads the intake now", extra={"lost": str(fault)})
            except (UndefinedTable, UndefinedColumn, InvalidSchemaName, InsufficientPrivilege) as fault:
                wait = _LONGEST_WAIT
                log.error("intake waits: %s", sentence(fault))
            except Exception:  # whatever it is, the next attempt starts from what is committed
                wait = _LONGEST_WAIT
                log.exception("intake failed and starts over")
            lease.release()

    def _lead(self, lease: Lease) -> float:
        """Leads until told to stop or until something fails; returns the seconds to wait when another process leads."""
        if not lease.acquire():
            return _ATTEMPT
        runtime = self._runtime
        intake = Intake(
            runtime.redis, runtime.journal, runtime.apps, batch=runtime.settings.intake_batch, ring=self._ring
        )
        cursor = intake.cursor(lease)
        recovered = intake.recover(lease, cursor)
        log.info("leading the intake", extra={"recovered": recovered})
        while not self._stop.is_set():
            lease.renew()
            if self._busy():
                self._stop.wait(0.02)
            else:
                cursor = intake.step(lease, cursor, wait=1.0)
        return 0.0

    def _busy(self) -> bool:
        """Whether so much waits for the fleet that more would only lie about. What is parked waits for its time, not for us."""
        return max(self._runtime.journal.load()) >= self._runtime.settings.max_open
