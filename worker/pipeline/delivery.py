"""Delivers one batch: takes its steps one after another. A fault of one batch stays with that batch.

A batch is leased to one worker at a time. Outcomes are recorded before they are carried out, so that another worker
that resumes the batch sends nothing again that was answered and recorded.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from worker.core import recorded_outcome
from worker.core.batch import Lane
from worker.core.batch_run import BatchRun, begin
from worker.core.model import Provider
from worker.database import postgres
from worker.database.audience import Audience
from worker.database.devices import Devices
from worker.database.ledger import DeadLetter
from worker.database.standings import Standings
from worker.facts import changes, preferences, quiet
from worker.facts.base import Sources
from worker.pipeline.apps import Apps
from worker.pipeline.bulkhead import Bulkhead
from worker.pipeline.deferred_retirement import DeferredRetirement
from worker.pipeline.exchange import Exchange, LeaseRunsOut
from worker.pipeline.insist import Insist
from worker.pipeline.origins import DeviceOrigins
from worker.pipeline.poison import Poison
from worker.pipeline.provider_health import ProviderHealth
from worker.pipeline.recorder import Recorder
from worker.pipeline.spans import Export
from worker.pipeline.steps import Step, perform
from worker.pipeline.steps.apply_rate_limits import ApplyRateLimits
from worker.pipeline.steps.call_otherwise import CallOtherwise
from worker.pipeline.steps.check_provider import CheckProvider
from worker.pipeline.steps.drop_changed import DropChanged
from worker.pipeline.steps.drop_ended_calls import DropEndedCalls
from worker.pipeline.steps.drop_expired import DropExpired
from worker.pipeline.steps.drop_moved import DropMoved
from worker.pipeline.steps.drop_not_allowed import drop_not_allowed
from worker.pipeline.steps.drop_quiet import DropQuiet
from worker.pipeline.steps.drop_superseded import DropSuperseded
from worker.pipeline.steps.find_provider import FindProvider
from worker.pipeline.steps.hold_back import hold_back
from worker.pipeline.steps.in_bulkhead import InBulkhead
from worker.pipeline.steps.note_calls import NoteCalls
from worker.pipeline.steps.number_at_home import BUSY, NumberAtHome, ReleaseAtHome
from worker.pipeline.steps.record_answers import RecordAnswers
from worker.pipeline.steps.report import Report
from worker.pipeline.steps.retire_devices import RetireDevices
from worker.pipeline.steps.seal_payloads import SealPayloads
from worker.pipeline.steps.send import Send
from worker.pipeline.steps.trace import Trace
from worker.pipeline.steps.uncount import Uncount
from worker.pipeline.steps.wait_for_earlier import WaitForEarlier
from worker.pipeline.steps.write import Write
from worker.providers.base import Client
from worker.state import presence, redis
from worker.state.activities import Activities
from worker.state.breaker import Breaker
from worker.state.calls import Calls
from worker.state.homes import AWAY, HomeAwayError, Homes
from worker.state.journal import Journal, Taken, UnreadableError
from worker.state.limiter import Limiter
from worker.state.origins import Origins

log = logging.getLogger(__name__)


class Turn(NamedTuple):
    """What became of the jobs of a batch, as counts, and whether others may be ready since; without counts there was none."""

    counts: Mapping[str, int]
    more: bool


class Delivery:
    """`now` gives UNIX seconds, `random` a number in [0, 1), `new_id` a batch id that was never given before,
    `add_dead_letter` keeps one, `export` takes the spans of traced events, if they are exported.

    `client` gives the one for a provider; it is asked when there is something to send. `homes`: those of spread apps.
    """

    def __init__(
        self,
        journal: Journal,
        devices: Devices,
        apps: Apps,
        client: Callable[[Provider], Client],
        breaker: Breaker,
        limiter: Limiter,
        deferred_retirement: DeferredRetirement,
        standings: Standings,
        sources: Sources,
        *,
        timeout: float,
        now: Callable[[], float],
        random: Callable[[], float],
        new_id: Callable[[], str],
        add_dead_letter: Callable[[DeadLetter], None],
        bulkhead: Bulkhead | None = None,
        export: Export | None = None,
        homes: Homes | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._journal, self._now = journal, now
        self._poison = Poison(journal, add_dead_letter, apps.provider_name)
        self._bulkhead = bulkhead = bulkhead or Bulkhead()
        self._insist = insist = Insist(now)
        self.recorder = recorder or Recorder(journal, now)
        self._name = name = apps.provider_name
        self._homes = homes = homes or Homes(sources.partition)
        self._release = ReleaseAtHome(homes, journal.lease)
        health = ProviderHealth(breaker, deferred_retirement, insist, timeout=timeout, name=name, now=now)
        limits = {"lease": journal.lease, "timeout": timeout}
        exchange = Exchange(client, limiter, self.recorder, bulkhead, insist, homes, **limits, now=now, random=random)
        self._uncount = uncount = Uncount(journal, homes)
        self._steps: Sequence[Step] = (
            FindProvider(apps, breaker),
            DropExpired(now),
            DropEndedCalls(calls := Calls(sources.partition)),
            DropSuperseded(Activities(sources.partition)),
            drop_not_allowed,
            hold_back,
            NumberAtHome(journal, homes),
            WaitForEarlier(now),
            InBulkhead(
                bulkhead,
                (
                    DropMoved(devices, standings, partial(preferences.refused, sources.pool), now),
                    DropChanged(
                        partial(changes.read_of_app, sources.pool),
                        partial(presence.marked_in, sources.partition.any_slot),
                        now,
                    ),
                    DropQuiet(partial(quiet.read, sources.pool), now),
                    SealPayloads(devices, apps.device_secrets.unseal),
                    uncount,
                    CheckProvider(health, exchange, journal, insist, now, random),
                    ApplyRateLimits(limiter, homes, now),
                    uncount,
                    Send(exchange),
                    health.judge_answers,
                ),
            ),
        )
        #: Whatever became of the batch, unless it was returned.
        self._conclusion: Sequence[Step] = (
            uncount,
            RecordAnswers(journal, insist),
            NoteCalls(calls, insist),
            CallOtherwise(
                sources.pool,
                Audience(sources.pool),
                apps,
                calls,
                DeviceOrigins(apps, Origins(sources.partition)),
                now,
                new_id,
            ),
            RetireDevices(devices, deferred_retirement, insist),
            health.stop_provider,
            Write(journal, insist, now, new_id, self.recorder.put_off),
            self._release,
            health.look_again,
            Report(name, now),
            *([] if export is None else [Trace(export, name, now)]),
        )

    def deliver(
        self,
        lane: Lane,
        wake: Callable[[Lane, int], None] | None = None,
        tell: Callable[[str, str, Mapping[str, int]], None] | None = None,
        wake_home: Callable[[int, Lane, int], None] | None = None,
    ) -> dict[str, int]:
        """What became of the jobs of the lane's next batch, as counts; empty when none waits. The rest as of `deliver_next`."""
        return dict(self.deliver_next(lane, wake, tell, wake_home).counts)

    def deliver_next(
        self,
        lane: Lane,
        wake: Callable[[Lane, int], None] | None = None,
        tell: Callable[[str, str, Mapping[str, int]], None] | None = None,
        wake_home: Callable[[int, Lane, int], None] | None = None,
        others: Callable[[int], None] | None = None,
    ) -> Turn:
        """Delivers the lane's next batch.

        `others` gets how many more could be taken when this one was, as of `Taken`; 0 where none could. `wake` gets the number of
        batches that waited for this one and are ready now. One batch of this lane is not counted: the caller's next turn takes
        it. `wake_home` gets the same, and before it the number of the partition, of those that waited there, where it is the home
        of the app. `tell` gets the batch's app, its provider's name, and the counts.
        """
        self.recorder.wake, self.recorder.wake_home = wake, wake_home
        taken_at = self._now()
        try:
            taken = self._journal.take_batch(lane, full=[*self._bulkhead.full(), *self._homes.waiting()])
        except UnreadableError as batch:
            self._poison.put_off_unread(batch)
            return Turn({"failed": 1}, more=True)
        if others is not None:
            others(0 if taken is None else taken.others)
        if taken is None:
            return Turn({}, more=False)
        run = _begin(taken, taken_at)
        counts = self._deliver(run, lane, wake, tell)
        if wake_home is not None and run.freed_at_home is not None:
            home, freed = run.freed_at_home
            wake_home(home, "urgent", freed.urgent)
            wake_home(home, "bulk", freed.bulk)
        ready_since = run.freed.urgent if lane == "urgent" else run.freed.bulk
        return Turn(counts, more=run.leaves or ready_since > 0)

    def deliver_taken(
        self,
        taken: Taken,
        taken_at: float,
        wake: Callable[[Lane, int], None] | None = None,
        tell: Callable[[str, str, Mapping[str, int]], None] | None = None,
    ) -> dict[str, int]:
        """As `deliver`, of a batch that was taken as it was written. Its lease began no earlier than at `taken_at`.

        The caller has no next turn: `wake` gets all that are ready.
        """
        self.recorder.wake = wake
        run = _begin(taken, taken_at)
        run.just_decided = True
        return self._deliver(run, None, wake, tell)

    def _deliver(
        self,
        run: BatchRun,
        turn: Lane | None,
        wake: Callable[[Lane, int], None] | None,
        tell: Callable[[str, str, Mapping[str, int]], None] | None,
    ) -> dict[str, int]:
        """`turn`: the lane of which the caller's next turn takes a batch."""
        counts = self._try(run)
        if tell is not None:
            tell(run.batch.app, self._name(run.batch.provider), counts)
        if wake is not None:
            wake("urgent", max(0, run.freed.urgent - (turn == "urgent")))
            wake("bulk", max(0, run.freed.bulk - (turn == "bulk")))
        return counts

    def _try(self, run: BatchRun) -> dict[str, int]:
        try:
            end = perform(self._steps, run, self._bulkhead.pause)
            if end == "wait":
                self._uncount(run)
                self._release(run, done=False)
                return self._await_home(run, BUSY)
            if end == "return":
                if self._is_late(run):
                    return {"left": len(run.pending())}
                run.freed = self._insist(self._journal.return_batch, run.id)
                self._release(run, done=False)
                return {"parked": len(run.pending())}
            return self._conclude(run)
        except HomeAwayError:
            return self._put_off(run)
        except LeaseRunsOut:
            about = {"app": run.batch.app, "batch": run.id}
            log.warning("batch left to its lease, an engine took too long", extra=about)
            return {"left": len(run.pending())}
        except (postgres.Unavailable, *redis.Unavailable):
            raise
        except Exception as fault:  # noqa: BLE001 - whatever the bug is, it stays with its job
            self._insist(self._journal.mark, run.id, recorded_outcome.encode(run.outcomes))
            if self._poison.put_off(run, fault):
                self._release(run, done=False)
                return {"failed": len(run.jobs)}
        return self._conclude_failed(run)

    def _put_off(self, run: BatchRun) -> dict[str, int]:
        """The home of its app does not answer. What was sent is not sent again; all else is tried as if it had not been taken."""
        self._homes.put_off(run.way)
        return self._await_home(run, AWAY)

    def _await_home(self, run: BatchRun, delay: float) -> dict[str, int]:
        if run.sent or run.uncounted:
            to_uncount = set(run.to_uncount())
            outcomes = [None if n in to_uncount else outcome for n, outcome in enumerate(run.outcomes)]
            self._insist(self._journal.mark, run.id, recorded_outcome.encode(outcomes))
        if self._is_late(run):
            return {"left": len(run.pending())}
        self._journal.await_home(run.id, delay)
        self.recorder.come_back(run.id, delay)
        return {"parked": len(run.pending())}

    def _is_late(self, run: BatchRun) -> bool:
        """Whether the batch is soon another worker's, if it is not yet."""
        return self._now() - run.renewed_at > self._journal.lease / 2

    def _conclude(self, run: BatchRun) -> dict[str, int]:
        perform(self._conclusion, run, self._bulkhead.pause)
        return dict(run.counts)

    def _conclude_failed(self, run: BatchRun) -> dict[str, int]:
        """Concludes a batch that failed too often; where that fails as well, the batch is a dead letter."""
        try:
            return self._conclude(run)
        except (postgres.Unavailable, *redis.Unavailable):
            raise
        except Exception as fault:  # noqa: BLE001 - it must not come back for ever
            self._poison.give_up(run, fault)
            self._release(run)
            return {"failed": len(run.jobs)}


def _begin(taken: Taken, taken_at: float) -> BatchRun:
    run = begin(taken.id, taken.batch, taken.badges, taken.outcomes, taken.accepted, renewed_at=taken_at)
    run.taken_at = taken_at
    run.troubled, run.numbered = taken.troubled, taken.numbered
    run.look, run.waits, run.blocked, run.overtaking = taken.look, taken.waits, taken.blocked, taken.overtaking
    return run
