"""The threads of a worker process that try to lead the intake, one a partition. Who leads reads the partition's streams."""

import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from config.seldom import Seldom
from worker.core.backoff import backoff
from worker.core.errors import LeaseLost, UnfitError
from worker.core.pace import Pace
from worker.database import cursors, postgres
from worker.database.lease import Lease, lease_of
from worker.pipeline.barrier import Barrier
from worker.pipeline.intake import Idle, Intake
from worker.pipeline.rounds import Rounds
from worker.process.background_thread import BackgroundThread
from worker.process.partitions import PartitionRuntime
from worker.process.runtime import Runtime
from worker.process.spread import HANDED_OVER, LOOK, Spread
from worker.reports.faults import sentence
from worker.state import redis
from worker.state.journal import Opened
from worker.state.leader_hint import LeaderHint
from worker.state.streams import Streams

log = logging.getLogger(__name__)

#: Seconds between two attempts to lead, and bounds of the wait while an engine is down.
_ATTEMPT: Final = 1.0
_SHORTEST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 5.0
#: Seconds that the leaders have for their last step when the process ends.
_LAST: Final = 20.0
_UNAVAILABLE: Final = (postgres.Unavailable, *redis.Unavailable)


class Leaders(BackgroundThread):
    """The leader of each partition. `wake` and `idle` are those of `Intake`, and get the partition's number before the rest.

    Once this thread is stopped the next leaders may begin. `name`: the worker's, as its sign of life has it.
    """

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        wake: Callable[[int, int], None],
        idle: Callable[[int, int], Callable[[Sequence[Opened]], None] | None] = lambda *_: None,
    ) -> None:
        super().__init__("carillon-intake")
        self._runtime, self._wake, self._idle, self._spread = runtime, wake, idle, Spread(runtime, name)
        self._seldom = Seldom(log)
        self._threads: Sequence[Leader] = ()

    @property
    def leads(self) -> bool:
        """Whether this process leads any partition now."""
        return any(one.leads for one in self._threads)

    @property
    def fault(self) -> str | None:
        return next((fault for one in self._threads if (fault := one.fault)), super().fault)

    def stop(self) -> None:
        super().stop()
        for one in self._threads:
            one.stop()

    def _run(self) -> None:
        while not (partitions := self._known()):
            if self._stop.wait(_ATTEMPT):
                return
        self._spread.look()
        self._threads = [
            Leader(self._runtime, one, partial(self._wake, one.index), partial(self._idle, one.index), self._spread)
            for one in partitions
        ]
        for one in self._threads:
            one.start()
        if self._stop.is_set():  # it was set before there were any
            self.stop()
        while not self._stop.wait(LOOK):
            self._spread.look()
        for one in self._threads:
            one.join(_LAST)

    def _known(self) -> Sequence[PartitionRuntime]:
        """The partitions; none while Redis does not say."""
        try:
            return self._runtime.partitions
        except redis.Unavailable as fault:
            self._seldom.warning("intake waits, an engine is away", extra={"fault": sentence(fault)})
        except UnfitError as fault:
            self._seldom.error("intake waits: %s", fault)
        return ()


class Leader(BackgroundThread):
    """Tries to lead one partition. `wake` and `idle` are those of `Intake`."""

    def __init__(
        self, runtime: Runtime, of: PartitionRuntime, wake: Callable[[int], None], idle: Idle, spread: Spread
    ) -> None:
        super().__init__(f"carillon-intake-{of.index}" if of.index else "carillon-intake")
        self._runtime, self._of, self._wake, self._idle, self._spread = runtime, of, wake, idle, spread
        self._seldom = Seldom(log)
        self._paces: dict[str, Pace] = {}
        #: Whose data the partition's server had.
        self._lineage = ""
        #: Whether this process leads it now.
        self.leads = False
        self._about = {"partition": of.index} if len(runtime.partitions) > 1 else {}

    def _run(self) -> None:
        runtime, of = self._runtime, self._of.partition
        lease = Lease(
            *(runtime.pool, LeaderHint(of)),
            owner=f"{socket.gethostname()}:{os.getpid()}",
            name=lease_of(of.index, tagged=bool(of.names.mark)),
        )
        barrier = Barrier(runtime.keyspace, of, runtime.pool)
        wait, failures = 0.0, 0
        while not self._stop.wait(wait):
            began = time.monotonic()
            try:
                self._tell_again()
                wait, failures = self._lead(lease, barrier), 0
            except _UNAVAILABLE as fault:
                # After some time of leading this is a new fault, not the old one.
                failures = 1 if time.monotonic() - began > _LONGEST_WAIT else failures + 1
                wait = backoff(failures, base=_SHORTEST_WAIT, longest=_LONGEST_WAIT, growth=2)
                extra = {"fault": sentence(fault), "seconds": wait, **self._about}
                self._seldom.warning("intake waits, an engine is away", extra=extra)
            except LeaseLost as fault:
                wait = _ATTEMPT
                log.warning("another process leads the intake now", extra={"lost": str(fault), **self._about})
            except postgres.Unready as fault:
                wait = _LONGEST_WAIT
                self._seldom.error("intake waits: %s", sentence(fault))
            except Exception:  # noqa: BLE001 - the next attempt continues from the last commit
                wait = _LONGEST_WAIT
                self._seldom.exception("intake failed and starts over")
            finally:
                self.leads = False
            lease.release()

    def _tell_again(self) -> None:
        """Where another server has the partition, it gets what this process has delivered: no event is taken for lost then."""
        lineage = self._of.streams.lineage()
        if lineage and self._lineage and lineage != self._lineage:
            sent = self._of.journal.tell_again()
            log.info(
                "another server has the partition, it gets what was delivered recently",
                extra={"accounts": sent, **self._about},
            )
        self._lineage = lineage or self._lineage

    def _lead(self, lease: Lease, barrier: Barrier) -> float:
        """Leads until it is stopped, hands over or fails; returns the seconds to wait until the next attempt."""
        runtime, of = self._runtime, self._of
        if not self._spread.may_try(of) or not lease.acquire():
            return _ATTEMPT
        rounds = rounds_of(runtime, of, lease, barrier, self._paces, wake=self._wake, idle=self._idle)
        self.leads = True
        log.info("leading the intake", extra={"recovered": rounds.begin(), **self._about})
        while not self._stop.is_set():
            lease.renew()
            rounds.step(wait=1.0)
            if rounds.replaced:
                log.info("another server has the streams, the intake begins again", extra=self._about)
                return 0.0
            if (successor := self._spread.hand_over(of.index)) is not None:
                log.info("handing the intake over", extra={"to": successor, **self._about})
                return HANDED_OVER
        return 0.0


def rounds_of(
    runtime: Runtime,
    of: PartitionRuntime,
    lease: Lease,
    barrier: Barrier,
    paces: dict[str, Pace],
    *,
    wake: Callable[[int], None],
    idle: Idle = lambda _: None,
) -> Rounds:
    """What whoever has the partition's lease takes its streams with. `paces`: those of an earlier time of leading."""
    intake = Intake(
        *(of.partition, of.journal, runtime.apps),
        transaction=lease.transaction,
        clock=lease.clock,
        at_once=lease.at_once,
        draw=partial(cursors.draw_at_once, runtime.pool),
        wake=wake,
        idle=idle,
        export=runtime.export,
    )
    return Rounds(
        Streams(of.partition),
        intake,
        of.journal,
        runtime.apps,
        lease,
        batch=runtime.settings.intake_batch,
        max_open=runtime.settings.max_open,
        paces=paces,
        barrier=barrier,
        urgent=runtime.bulkhead.urgent,
    )
