"""The thread of a worker process that tries to lead the intake. While it leads, it reads the streams."""

import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Final

from config.seldom import Seldom
from worker.core.backoff import backoff
from worker.core.errors import LeaseLost
from worker.core.pace import Pace
from worker.database import postgres
from worker.database.lease import Lease
from worker.pipeline.intake import Intake
from worker.pipeline.rounds import Rounds
from worker.process.background_thread import BackgroundThread
from worker.process.runtime import Runtime
from worker.reports.faults import sentence
from worker.state import redis
from worker.state.leader_hint import LeaderHint
from worker.state.streams import Streams

log = logging.getLogger(__name__)

#: Seconds between two attempts to lead, and bounds of the wait while an engine is down.
_ATTEMPT: Final = 1.0
_SHORTEST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 5.0
_UNAVAILABLE: Final = (postgres.Unavailable, *redis.Unavailable)


class Leader(BackgroundThread):
    """`wake` gets the number of messages that became ready. Once this thread is stopped the next leader may begin."""

    def __init__(self, runtime: Runtime, wake: Callable[[int], None]) -> None:
        super().__init__("carillon-intake")
        self._runtime, self._wake = runtime, wake
        self._seldom = Seldom(log)
        self._paces: dict[str, Pace] = {}
        #: Whether this process leads now.
        self.leads = False

    def _run(self) -> None:
        runtime = self._runtime
        lease = Lease(runtime.pool, LeaderHint(runtime.partition), owner=f"{socket.gethostname()}:{os.getpid()}")
        wait, failures = 0.0, 0
        while not self._stop.wait(wait):
            began = time.monotonic()
            try:
                wait, failures = self._lead(lease), 0
            except _UNAVAILABLE as fault:
                # After some time of leading this is a new fault, not the old one.
                failures = 1 if time.monotonic() - began > _LONGEST_WAIT else failures + 1
                wait = backoff(failures, base=_SHORTEST_WAIT, longest=_LONGEST_WAIT, growth=2)
                self._seldom.warning(
                    "intake waits, an engine is away", extra={"fault": sentence(fault), "seconds": wait}
                )
            except LeaseLost as fault:
                wait = _ATTEMPT
                log.warning("another process leads the intake now", extra={"lost": str(fault)})
            except postgres.Unready as fault:
                wait = _LONGEST_WAIT
                self._seldom.error("intake waits: %s", sentence(fault))
            except Exception:  # noqa: BLE001 - the next attempt continues from the last commit
                wait = _LONGEST_WAIT
                self._seldom.exception("intake failed and starts over")
            finally:
                self.leads = False
            lease.release()

    def _lead(self, lease: Lease) -> float:
        """Leads until it is stopped or something fails; returns the seconds to wait when another process leads."""
        if not lease.acquire():
            return _ATTEMPT
        runtime = self._runtime
        intake = Intake(
            *(runtime.partition, runtime.journal, runtime.apps),
            transaction=lease.transaction,
            at_once=lease.at_once,
            wake=self._wake,
            export=runtime.export,
        )
        rounds = Rounds(
            Streams(runtime.partition),
            intake,
            runtime.journal,
            runtime.apps,
            lease,
            batch=runtime.settings.intake_batch,
            max_open=runtime.settings.max_open,
            paces=self._paces,
        )
        self.leads = True
        log.info("leading the intake", extra={"recovered": rounds.begin()})
        while not self._stop.is_set():
            lease.renew()
            rounds.step(wait=1.0)
        return 0.0
