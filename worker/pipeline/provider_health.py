"""Judges a way by the answers to a batch: which refusals count, and when a circuit breaker opens and closes.

Answers are counted by device: a busy device says no more about its provider than any other.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple
from functools import lru_cache
from typing import Any, Final

from worker.core.batch import Job
from worker.core.batch_run import BatchRun, Well
from worker.core.breaker import PASSING, Look, Stopped, fault_reason, opens, probe_interval, probe_timeout
from worker.core.model import Provider
from worker.core.outcome import (
    CONFIRM_SECONDS,
    IN_A_ROW,
    MASS_REFUSAL,
    UNPROVEN,
    Delivered,
    Drop,
    OpenBreaker,
    Retry,
    Unregister,
    confirmed,
    guard,
    is_mass_unregister,
    within_life,
)
from worker.core.way import Way, origin_in
from worker.pipeline.deferred_retirement import DeferredRetirement
from worker.pipeline.insist import Insist
from worker.providers.kinds import kind_of
from worker.state.breaker import Answers, Breaker, FirstRefusal, Registration

log = logging.getLogger(__name__)

#: The outcome of a refused token while nothing proves that its provider works: the device stays.
_UNPROVEN: Final = Drop(UNPROVEN)


class ProviderHealth:
    """`timeout`: seconds that a provider has for its answers; `name` gives the name to print."""

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

    def proves(self, run: BatchRun, probe: int, look: Look) -> bool:
        """Whether the outcome of this job shows that what was stopped works again. If not, the job is pending again."""
        outcome = run.outcomes[probe]
        # "Gone" is about the device, so it proves as much as an acceptance: the credential was accepted.
        gone = isinstance(outcome, Unregister) and not outcome.guarded and probe not in run.unwritable
        if isinstance(outcome, Delivered) or gone or (look.stopped.passing and run.answered):
            return True
        run.outcomes[probe] = None
        interval = probe_interval(look.stopped, self._now())
        self._insist(self._breaker.put_off, look.way, max(run.retry_after, interval))
        return False

    def resume(self, run: BatchRun, look: Look) -> bool:
        """Lets what was stopped flow again; False if a person has stopped it meanwhile."""
        self._insist(self._breaker.resume, look.way)
        if look.way != run.way:  # what proves the provider proves this way to it
            self._insist(self._breaker.resume, run.way)
        if self._insist(self._breaker.stopped, look.way):
            return False
        lasted = {"reason": look.stopped.reason, "seconds": round(self._now() - look.stopped.since, 1)}
        log.info("provider flows again", extra=_where(run.provider, look.way) | lasted)
        return True

    def look_again(self, run: BatchRun) -> None:
        """Nothing was sent of a batch that was taken for a probe, or for what is too old: the next batch may be."""
        if run.look is not None and run.answered is None:
            self._insist(self._breaker.look_again, run.look.way, run.way, probe=run.look.probe)

    # of what the provider answered

    def judge_answers(self, run: BatchRun) -> None:
        """Counts the answers. A refusal that a wrong host or topic can cause as well counts only while the provider works.

        One that retires nobody stands unless the provider is at fault.
        """
        if run.is_delivered and not run.troubled:  # says nothing but that the way works: counted with the last write
            accepted = len(set(run.device_of_each(run.new(run.delivered()))))
            run.well = Well(accepted, _credential(run.provider.settings)) if accepted else None
            return
        if run.is_delivered:
            self._record(run, (), {}, (), self._proof(run))
            return
        refused = self._guarded_refusals(run)
        gone = [
            i
            for i, o in enumerate(run.outcomes)
            if isinstance(o, Unregister) and not o.guarded and i not in run.unwritable
        ]
        proof = self._proof(run)
        firsts = self._first_refusals(run, refused, proof)
        recent = self._record(run, refused, firsts, gone, proof)
        if recent is None:
            return
        self._check_mass_unregister(run, gone, recent)
        guarded = guard(recent.refused, recent.answered, recent.in_a_row)
        # If most are refused, the provider is at fault, and the refused tokens may be good. Otherwise it works for many.
        if guarded and (recent.refused * 2 > recent.answered or recent.in_a_row >= IN_A_ROW):
            run.set_outcome(refused, OpenBreaker(MASS_REFUSAL, "origin"))
            return
        self._confirm(run, refused, firsts)
        if guarded:
            _spare(run, refused)

    def _confirm(self, run: BatchRun, refused: Iterable[int], firsts: Mapping[Registration, FirstRefusal]) -> None:
        """Refusals that are not confirmed yet are tried again. What the client refused to send stops no way."""
        now = self._now()
        for index in refused:
            job, outcome = run.jobs[index], run.outcomes[index]
            assert isinstance(outcome, Unregister | Drop)
            first = firsts[_registration(job)]
            found = confirmed(outcome, age=first.age, proven=first.proven, worked=first.worked)
            if isinstance(found, OpenBreaker) and index in run.unwritable:
                found = _UNPROVEN
            run.outcomes[index] = within_life(found, now=now, attempt=job.attempt + 1, expires_at=run.expires_at(index))

    def stop_provider(self, run: BatchRun) -> None:
        """Stops the provider, or one origin, because its answers say so: until a person corrects it and a probe is accepted."""
        if run.is_delivered:
            return
        stops = {(o.reason, o.scope) for o in run.outcomes if isinstance(o, OpenBreaker)}
        for reason, scope in sorted(stops):
            way = run.way if scope == "origin" else run.batch.provider
            if self._insist(self._breaker.stop, way, reason, self._now()):
                log.info(
                    "provider stopped%s: %s",
                    _of_origin(run.provider, way),
                    kind_of(run.provider).words.fix,
                    extra=_where(run.provider, way) | {"reason": reason},
                )
            if reason == MASS_REFUSAL:
                self._insist(self._deferred_retirement.cancel, way)

    def _guarded_refusals(self, run: BatchRun) -> list[int]:
        """Jobs that were refused, maybe by the provider's fault. A refusal before it was proved to work does not count."""
        refused = [i for i, o in enumerate(run.outcomes) if isinstance(o, Unregister | Drop) and o.guarded]
        if not run.batch.refused:
            return refused
        before = set(run.batch.refused)
        _spare(run, before.intersection(refused))
        return [index for index in refused if index not in before]

    def _first_refusals(
        self, run: BatchRun, refused: Sequence[int], proof: Mapping[str, Any]
    ) -> dict[Registration, FirstRefusal]:
        """What is known of the refused devices, by registration."""
        found = list(dict.fromkeys(_registration(run.jobs[index]) for index in refused))
        if not found:
            return {}
        firsts = self._insist(self._breaker.first_refusals, run.way, found, **proof)
        return dict(zip(found, firsts, strict=True))

    def _proof(self, run: BatchRun) -> dict[str, Any]:
        """Seconds since the sending began, if anything was accepted, and the name of the credential."""
        accepted = run.is_delivered or any(isinstance(run.outcomes[index], Delivered) for index in run.sent)
        ago = max(0.0, self._now() - run.sent_at) if accepted else None
        return {"ago": ago, "credential": _credential(run.provider.settings)}

    def _record(
        self,
        run: BatchRun,
        refused: Sequence[int],
        firsts: Mapping[Registration, FirstRefusal],
        gone: Sequence[int],
        proof: Mapping[str, Any],
    ) -> Answers | None:
        """Adds new answers to the recent ones of the way, and stops it if too many are faults; None if there was no answer.

        Outcomes that an earlier try of the batch recorded were counted then. So were the refusals that are to be confirmed.
        """
        bad = {run.jobs[index].device for index in refused if _is_news(run.jobs[index], firsts)}
        away = run.devices(run.new(gone))
        accepted = run.new(run.delivered())
        well = run.devices(accepted)
        failed = run.devices([*run.throttled, *run.faults])
        if not (refused or away or well or failed):
            return None
        recent = self._insist(
            self._breaker.record,
            run.way,
            answered=len(well) + len(away) + len(bad),
            refused=bad,
            gone=len(away),
            failed=len(failed) if run.answered else 0,
            # Without any answer one fault explains the whole batch: the number of its jobs says nothing about the share.
            alive=run.answered or (False if run.faults else None),
            lasted=run.lasted,
            **proof,
        )
        if recent.unproven and accepted:
            self._insist(self._breaker.accepted, run.way, {_registration(run.jobs[index]) for index in accepted})
        # A provider that answers only with a Retry-After gets no probe before that time.
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
        """Stops the way for faults of its network or servers: its pushes wait in the store, and one probe at a time is sent."""
        faults = [outcome for i in run.faults if isinstance(outcome := run.outcomes[i], Retry)]
        reason = fault_reason(faults, said=run.said, alive=bool(run.answered))
        first = self._insist(self._breaker.stop, run.way, reason, self._now())
        if run.retry_after > 0.0:
            self._insist(self._breaker.put_off, run.way, run.retry_after)
        if first:
            log.info(
                "provider stopped%s: %s. Its pushes wait and go out by themselves",
                _of_origin(run.provider, run.way),
                PASSING[reason],
                extra=_where(run.provider, run.way)
                | {"reason": reason, "causes": ", ".join(sorted({fault.reason for fault in faults})[:3])},
            )


@lru_cache(maxsize=1024)
def _credential(settings: Any) -> str:
    """Names a provider's settings, and is another one after each change of them."""
    return hashlib.blake2b(repr(astuple(settings)).encode(), digest_size=8).hexdigest()


def _registration(job: Job) -> Registration:
    return job.device, job.registered_at


def _is_news(job: Job, firsts: Mapping[Registration, FirstRefusal]) -> bool:
    """Whether its refusal was not counted yet; soon after the device's first one another says nothing new."""
    age = firsts[_registration(job)].age
    return not age or (age > CONFIRM_SECONDS and not job.attempt)


def _spare(run: BatchRun, refused: Iterable[int]) -> None:
    """Retires nobody for these refusals."""
    run.set_outcome([index for index in refused if isinstance(run.outcomes[index], Unregister)], _UNPROVEN)


def _of_origin(provider: Provider, way: Way) -> str:
    """A part of a sentence about the provider: which of its origins is meant, if one is."""
    origin = origin_in(way)
    return f" for {kind_of(provider).words.origin} {origin}" if origin else ""


def _where(provider: Provider, way: Way) -> dict[str, Any]:
    """Fields of a log line."""
    origin = origin_in(way)
    return {"app": provider.app, "provider": provider.name} | ({"origin": origin} if origin else {})


def _opens(recent: Answers, *, size: int) -> bool:
    return opens(row=recent.row, lasted=recent.lasted, answered=recent.answered, failed=recent.failed, size=size)
