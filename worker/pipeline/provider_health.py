"""What a batch's answers say about its provider: which refusals count, and when its circuit breaker opens and closes.

Answers are counted by device: a busy device says no more about its provider than any other.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final

from worker.core.batch_run import BatchRun
from worker.core.breaker import PASSING, Stopped, fault_reason, opens, probe_interval, probe_timeout
from worker.core.outcome import (
    GUARD_MINIMUM,
    IN_A_ROW,
    MASS_REFUSAL,
    Delivered,
    Drop,
    OpenBreaker,
    Retry,
    Unregister,
    guard,
    is_mass_unregister,
)
from worker.pipeline.deferred_retirement import DeferredRetirement
from worker.pipeline.insist import Insist
from worker.providers.kinds import kind_of
from worker.state.breaker import Answers, Breaker

log = logging.getLogger(__name__)

#: What becomes of a refused token while nothing proves that its provider is well: the device stays.
_UNPROVEN: Final = Drop("refused_unproven")


class ProviderHealth:
    """`timeout`: seconds that a provider has for its answers; `name` gives its name for people."""

    def __init__(
        self,
        breaker: Breaker,
        deferred_retirement: DeferredRetirement,
        insist: Insist,
        *,
        timeout: float,
        name: Callable[[int], str],
        now: Callable[[], float],
    ) -> None:
        self._breaker, self._deferred_retirement, self._insist = breaker, deferred_retirement, insist
        self._timeout, self._name, self._now = timeout, name, now

    # of a provider that is stopped

    def probe_timeout(self, stopped: Stopped) -> float:
        """Seconds that a probe may take."""
        return probe_timeout(stopped, self._now(), self._timeout)

    def proves(self, run: BatchRun, probe: int, stopped: Stopped) -> bool:
        """Whether the provider is well, going by what became of this job. If not the job is pending again."""
        outcome = run.outcomes[probe]
        # A 410 is about the device, so it proves as much as an acceptance: the credential was taken.
        proof = isinstance(outcome, Delivered) or (isinstance(outcome, Unregister) and not outcome.guarded)
        if proof or (stopped.passing and run.answered):
            return True
        run.outcomes[probe] = None
        interval = probe_interval(stopped, self._now())
        self._insist(self._breaker.put_off, run.provider.id, max(run.retry_after, interval))
        return False

    def resume(self, run: BatchRun, stopped: Stopped) -> bool:
        """Lets the provider flow again; False where a person has stopped it meanwhile."""
        self._insist(self._breaker.resume, run.provider.id)
        if self._insist(self._breaker.stopped, run.provider.id):
            return False
        log.warning(
            "provider flows again",
            extra={
                "app": run.provider.app,
                "provider": run.provider.name,
                "reason": stopped.reason,
                "seconds": round(self._now() - stopped.since, 1),
            },
        )
        return True

    def look_again(self, run: BatchRun) -> None:
        """Nothing was sent of a batch that was handed out to see how its provider is: the next one may be."""
        if run.look is not None and run.answered is None:
            self._insist(self._breaker.look_again, run.batch.provider)

    # of what the provider answered

    def judge_answers(self, run: BatchRun) -> None:
        """Counts the answers. Refusals that a wrong host or topic gives as well stand only while the provider is well."""
        refused = self._first_refusals(run)
        gone = [i for i, o in enumerate(run.outcomes) if isinstance(o, Unregister) and not o.guarded]
        recent = self._record(run, refused, gone)
        if recent is None:
            return
        self._check_mass_unregister(run, gone, recent)
        if refused and guard(recent.refused, recent.answered, recent.in_a_row):
            # Most are refused: the provider is at fault, and what it refused may be good. Else it works for many: go on.
            at_fault = recent.refused * 2 > recent.answered or recent.in_a_row >= IN_A_ROW
            run.set_outcome(refused, OpenBreaker(MASS_REFUSAL) if at_fault else _UNPROVEN)
        elif recent.answered < GUARD_MINIMUM:
            run.set_outcome(refused, _UNPROVEN)

    def stop_provider(self, run: BatchRun) -> None:
        """Stops the provider for what its answers say: that waits for a person, and for a probe."""
        reasons = {outcome.reason for outcome in run.outcomes if isinstance(outcome, OpenBreaker)}
        for reason in sorted(reasons):
            if self._insist(self._breaker.stop, run.batch.provider, reason, self._now()):
                log.error(
                    "provider stopped: check its key, topic and environment",
                    extra={"app": run.batch.app, "provider": self._name(run.batch.provider), "reason": reason},
                )
        if MASS_REFUSAL in reasons:
            self._insist(self._deferred_retirement.cancel, run.batch.provider)

    def _first_refusals(self, run: BatchRun) -> list[int]:
        """Jobs whose token was refused. A refusal from before the provider proved to be well does not count."""
        refused = [i for i, o in enumerate(run.outcomes) if isinstance(o, Unregister) and o.guarded]
        if not run.batch.refused:
            return refused
        before = set(run.batch.refused)
        run.set_outcome(before.intersection(refused), _UNPROVEN)
        return [index for index in refused if index not in before]

    def _record(self, run: BatchRun, refused: Iterable[int], gone: Iterable[int]) -> Answers | None:
        """Adds what is new to the provider's recent answers, and stops it where too many are faults; None where nothing was said.

        Outcomes that an earlier try of the batch recorded were counted then.
        """
        refused = list(refused)
        bad, away = run.devices(run.new(refused)), run.devices(run.new(gone))
        well = run.devices(run.new(i for i, o in enumerate(run.outcomes) if isinstance(o, Delivered)))
        if bad:
            bad -= self._insist(self._deferred_retirement.known, run.provider.id)
        failed = run.devices([*run.throttled, *run.faults])
        if not (refused or bad or away or well or failed):
            return None
        recent = self._insist(
            self._breaker.record,
            run.provider.id,
            answered=len(well) + len(away) + len(bad),
            refused=bad,
            gone=len(away),
            failed=len(failed) if run.answered else 0,
            # Where nothing at all was answered, one fault explains all of the batch: its number says nothing of the share.
            alive=run.answered or (False if run.faults else None),
            lasted=run.lasted,
        )
        # A provider that answers nothing but a Retry-After is not asked before that.
        asked = run.retry_after > 0.0 and not run.answered
        if asked or (failed and _opens(recent, size=len(failed))):
            self._stop_for_faults(run)
        return recent

    def _check_mass_unregister(self, run: BatchRun, gone: list[int], recent: Answers) -> None:
        minimum = kind_of(run.provider).gone_minimum
        if gone and is_mass_unregister(recent.gone, recent.answered, minimum=minimum):
            run.unconfirmed = run.refusals(gone)
            run.set_outcome(gone, Drop("mass_gone", alarm=True))

    def _stop_for_faults(self, run: BatchRun) -> None:
        """Faults of the way to the provider, or of its servers: its pushes wait in the store, and one probe at a time goes."""
        faults = [outcome for i in run.faults if isinstance(outcome := run.outcomes[i], Retry)]
        reason, provider = fault_reason(faults, alive=bool(run.answered)), run.provider
        again = self._insist(self._breaker.was_stopped_recently, provider.id, reason)
        first = self._insist(self._breaker.stop, provider.id, reason, self._now())
        if run.retry_after > 0.0:
            self._insist(self._breaker.put_off, provider.id, run.retry_after)
        if first:
            # One line an episode: a provider that fails half of the time opens its breaker again and again.
            log.log(
                logging.INFO if again else logging.ERROR,
                "provider stopped: %s. Its pushes wait and go out by themselves",
                PASSING[reason],
                extra={
                    "app": provider.app,
                    "provider": provider.name,
                    "reason": reason,
                    "causes": ", ".join(sorted({fault.reason for fault in faults})[:3]),
                },
            )


def _opens(recent: Answers, *, size: int) -> bool:
    return opens(row=recent.row, lasted=recent.lasted, answered=recent.answered, failed=recent.failed, size=size)
