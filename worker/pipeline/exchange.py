"""Sends some jobs of a batch to their provider, and asks the kind for the outcome of each response."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from worker.core.batch_run import BatchRun
from worker.core.breaker import is_fault
from worker.core.errors import WorkerError
from worker.core.live import is_live, retried
from worker.core.model import ACCEPTED, HELD_UP, SEALED, Answer, NoAnswer, Provider, Response
from worker.core.outcome import DELIVERED, Drop, OpenBreaker, Retry, within_life
from worker.core.responses import Responses, all_accepted
from worker.core.tally import ACCEPT_BOUNDS, ANSWER_BOUNDS
from worker.core.way import Way
from worker.pipeline.bulkhead import Bulkhead
from worker.pipeline.insist import Insist
from worker.pipeline.recorder import Claim, Recorder
from worker.providers.base import Client, Sent, SettingsError, TokenAgeError
from worker.providers.kinds import kind_of
from worker.state.homes import Homes
from worker.state.limiter import Limiter

#: After so many timeouts a client has a response: Web Push sends over HTTP/2, over HTTP/1.1, and what is too long again.
_TIMEOUTS: Final = 4
#: Seconds that it takes beyond these: for an access token, and after each timeout.
_BEYOND: Final = 90.0


class LeaseRunsOut(WorkerError):
    """Too little of a batch's lease is left to send it: another worker may take it before the first answer arrives."""


class Exchange:
    """`lease`: seconds for which a batch is leased; `timeout`: seconds that a provider has for its answers.

    `client` gives the one for a provider; it is asked when there is something to send.
    """

    def __init__(
        self,
        client: Callable[[Provider], Client],
        limiter: Limiter,
        recorder: Recorder,
        bulkhead: Bulkhead,
        insist: Insist,
        homes: Homes,
        *,
        lease: float,
        timeout: float,
        now: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._client, self._limiter = client, limiter
        self._recorder, self._bulkhead, self._insist = recorder, bulkhead, insist
        self._homes = homes
        self._lease, self.timeout, self._now, self._random = lease, timeout, now, random

    def send(self, run: BatchRun, indexes: Sequence[int], *, timeout: float | None = None) -> None:
        """Sends these jobs. Each then has an outcome, except those behind one that was not accepted."""
        if not indexes:
            return
        now, jitter = self._now(), self._random()
        if now - run.renewed_at > self._lease / 2:
            raise LeaseRunsOut
        run.sent.update(indexes)
        try:
            sent = self._sent(run, indexes, timeout or self.timeout)
        except SettingsError as fault:
            # The command that stored the settings has said what is wrong.
            run.set_outcome(indexes, OpenBreaker(fault.reason, fault.scope))
            return
        _decide(run, indexes, sent, sent_at=now, jitter=jitter)
        if run.after_cooldown:
            self._end_rows(run, indexes)
        if run.is_delivered:
            run.answered = True
        else:
            self._note_others(run, indexes, sent, jitter)
        run.sent_at, run.answered_at = run.sent_at or now, self._now()
        run.lasted = run.answered_at - now

    def _note_others(self, run: BatchRun, indexes: Sequence[int], sent: Sent, jitter: float) -> None:
        """Of answers that are no acceptance: whether another access token is needed, and for how long what waits."""
        responses = sent.responses
        if sent.authorization and any(isinstance(o, Retry) and o.refresh_token for o in run.outcomes):
            self._renew(run, sent.authorization)
        retries = [index for index in indexes if isinstance(run.outcomes[index], Retry)]
        if retries:
            _note_faults(run, dict(zip(indexes, responses, strict=True)), retries)
            self._cool_down(run, jitter)
            self._keep_quotas(run, jitter)
            # Also where the life of the one ahead ends: those behind it would get no answer either, each round as slowly.
            run.wait_with_earlier(indexes)
            self._end_late(run, retries)
        else:
            _note_answered(run, any(isinstance(response, Answer) for response in responses), responses)

    def _sent(self, run: BatchRun, indexes: Sequence[int], timeout: float) -> Sent:
        """Renews the lease and records acceptances while answers are missing, so that little is repeated if the process dies."""
        provider, seen, began = run.provider, Responses(len(indexes)), time.monotonic()
        requests = kind_of(provider).render(provider, *run.renderable(indexes))
        claim, about = self._claim(run, indexes), {"app": run.batch.app, "provider": provider.name}
        patience = _TIMEOUTS * timeout + _BEYOND
        watch = self._recorder.watch(run.id, indexes, seen, run.renewed_at, claim, patience, about)
        with watch as flight, self._bulkhead.answers(run.way, seen):
            sent = self._client(provider).send(
                provider, requests, now=self._now, deadline=timeout, following=run.following(indexes), seen=seen
            )
        run.renewed_at = flight.renewed_at
        self._note_times(run, indexes, sent.responses, seen, began)
        return sent

    def _claim(self, run: BatchRun, indexes: Sequence[int]) -> Claim | None:
        home = self._homes.of(run.batch.app) if run.claims else None
        if home is None:
            return None
        needed = run.devices({*run.pending()} - {*indexes})
        return Claim(home, [run.jobs[index].device for index in indexes], needed)

    def _note_times(
        self, run: BatchRun, indexes: Sequence[int], responses: Sequence[Response], seen: Responses, began: float
    ) -> None:
        """Counts how long answers took, and acceptances since the publishing. A time that is not known is that of all."""
        ended, now = time.monotonic(), self._now()
        came = [sending.entry.partition("-")[0] for sending in run.batch.sendings]
        of_jobs = [came[job.sending] for job in run.jobs_at(indexes)]
        times: Iterable[tuple[str, float, float]] = zip(of_jobs, seen.written, seen.answered, strict=True)
        if not all_accepted(responses):
            times = [
                (at if response is ACCEPTED else "", written, answered)
                for response, (at, written, answered) in zip(responses, times, strict=True)
                if isinstance(response, Answer)
            ]
        # Requests that were written together mostly have their answers together, and messages come together: few times differ.
        for (at, written, answered), n in Counter(times).items():
            run.answer_times.add(ANSWER_BOUNDS, (answered or ended) - (written or began), n)
            if at:
                run.accept_times.add(ACCEPT_BOUNDS, now - (ended - (answered or ended)) - int(at) / 1000, n)

    def _end_rows(self, run: BatchRun, indexes: Sequence[int]) -> None:
        accepted = {run.jobs[index].device for index in indexes if run.outcomes[index] is DELIVERED}
        self._insist(self._limiter.end_rows, run.way, accepted & run.after_cooldown)
        run.after_cooldown -= accepted

    def _renew(self, run: BatchRun, authorization: str) -> None:
        try:
            self._insist(self._client(run.provider).renew, run.provider, authorization, self._now())
        except TokenAgeError:
            refused = [i for i, o in enumerate(run.outcomes) if isinstance(o, Retry) and o.refresh_token]
            run.set_outcome(refused, OpenBreaker("clock"))

    def _cool_down(self, run: BatchRun, jitter: float) -> None:
        """Starts the cooldown of devices that get too much; the refused notifications wait as long."""
        least: defaultdict[int, float] = defaultdict(float)
        for index in run.throttled:
            if isinstance(outcome := run.outcomes[index], Retry):
                device = run.jobs[index].device
                least[device] = max(least[device], outcome.delay)
        waits = self._insist(self._limiter.cool_down, run.way, least, jitter=jitter)
        for index in run.throttled:
            if isinstance(outcome := run.outcomes[index], Retry):
                run.outcomes[index] = replace(outcome, delay=waits[run.jobs[index].device])

    def _keep_quotas(self, run: BatchRun, jitter: float) -> None:
        """Starts the cooldown of an origin or provider over its quota; the refused notifications wait as long."""
        refused: defaultdict[Way, list[tuple[int, Retry]]] = defaultdict(list)
        for index in run.over_quota:
            if isinstance(outcome := run.outcomes[index], Retry):
                refused[run.way if outcome.scope == "origin" else run.provider.id].append((index, outcome))
        for way, jobs in refused.items():
            longest = max((outcome for _, outcome in jobs), key=lambda outcome: outcome.delay)
            delay = self._insist(self._limiter.over_quota, way, longest.delay, longest.reason, jitter=jitter)
            for index, outcome in jobs:
                run.outcomes[index] = replace(outcome, delay=delay)
        run.over_quota.clear()

    def _end_late(self, run: BatchRun, retries: Sequence[int]) -> None:
        """Runs last, when delays are final and cooldowns stored: drops a job whose next try would be after its expiry."""
        now = self._now()
        for index in retries:
            if isinstance(outcome := run.outcomes[index], Retry):
                attempt, expires_at = run.jobs[index].attempt + 1, run.expires_at(index)
                run.outcomes[index] = within_life(outcome, now=now, attempt=attempt, expires_at=expires_at)


def _decide(run: BatchRun, indexes: Sequence[int], sent: Sent, *, sent_at: float, jitter: float) -> None:
    if all_accepted(sent.responses):
        run.set_outcome(indexes, DELIVERED)
        return
    decide = kind_of(run.provider).decide
    sent_ms = int(sent_at * 1000)
    for index, response in zip(indexes, sent.responses, strict=True):
        if response is ACCEPTED:
            run.outcomes[index] = DELIVERED
        elif response is SEALED:
            run.outcomes[index] = Drop(SEALED.cause)
        elif response is not HELD_UP:
            job = run.jobs[index]
            if _is_unwritable(response):
                run.unwritable.add(index)
            outcome = decide(
                response,
                registered_at=job.registered_at,
                sent_at=sent_ms,
                attempt=job.attempt + 1,
                unsent=run.batch.unsent,
                jitter=jitter,
                token_age=sent.token_age,
            )
            if isinstance(outcome, Retry) and is_live(run.batch.sendings[job.sending]):
                least = (response.retry_after or 0.0) if isinstance(response, Answer) else 0.0
                outcome = retried(outcome, job.attempt + run.batch.unsent + 1, least=least)
            run.outcomes[index] = outcome


def _note_faults(run: BatchRun, responses: Mapping[int, Response], retries: Sequence[int]) -> None:
    """Sorts the tries: faults of the way (`is_fault`), devices that get too much, and quotas."""
    for index in retries:
        outcome, response = run.outcomes[index], responses[index]
        if not isinstance(outcome, Retry):
            continue
        if is_fault(outcome):
            run.faults.append(index)
            if isinstance(response, Answer):
                run.said += 1
                run.retry_after = max(run.retry_after, response.retry_after or 0.0)
        elif outcome.scope == "device":
            run.throttled.append(index)
        elif outcome.cooldown:
            run.over_quota.append(index)
    faults = set(run.faults)
    answered = any(isinstance(response, Answer) and index not in faults for index, response in responses.items())
    _note_answered(run, answered, responses.values())


def _note_answered(run: BatchRun, answered: bool, responses: Iterable[Response]) -> None:
    """`answered`: whether any of the responses is an answer that is no fault."""
    if answered or any(not _is_unwritable(response) for response in responses):
        run.answered = bool(run.answered) or answered


def _is_unwritable(response: Response) -> bool:
    return isinstance(response, NoAnswer) and response.sent == "unwritable"
