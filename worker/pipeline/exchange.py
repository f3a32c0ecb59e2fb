"""Sends some of a batch's jobs to their provider, and has an outcome decided for each answer."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from worker.core import webhook_answer
from worker.core.batch_run import BatchRun, notifications
from worker.core.breaker import is_fault
from worker.core.model import ACCEPTED, HELD_UP, Answer, Notification, Provider, Response
from worker.core.outcome import DELIVERED, OpenBreaker, Retry, decide_outcome, within_life
from worker.core.webhook import Recipient, recipients
from worker.pipeline.bulkhead import Bulkhead
from worker.pipeline.insist import Insist
from worker.pipeline.recorder import Recorder
from worker.providers.apns.token import ClockError, issued_at
from worker.state.limiter import Limiter


class Tokens(Protocol):
    def current(self, provider: Provider, now: float) -> str: ...
    def refuse(self, provider: Provider, token: str, now: float) -> str: ...


class Sender(Protocol):
    def send(
        self,
        provider: Provider,
        notifications: Sequence[Notification],
        *,
        authorization: str | None,
        deadline: float,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> list[Response]: ...


class Webhooks(Protocol):
    def send(
        self,
        provider: Provider,
        recipients: Sequence[Recipient],
        *,
        now: Callable[[], float],
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> list[Response]: ...


class LeaseRunsOut(Exception):
    """Too much of a batch's lease is gone to send it: another worker may have it before the first answer is here."""


class Exchange:
    """`lease`: seconds for which a batch is leased; `timeout`: seconds that a provider has for its answers.

    `webhooks` gives the client for them; it is asked for one when there is something to send.
    """

    def __init__(
        self,
        sender: Sender,
        tokens: Tokens,
        webhooks: Callable[[], Webhooks],
        limiter: Limiter,
        recorder: Recorder,
        bulkhead: Bulkhead,
        insist: Insist,
        *,
        lease: float,
        timeout: float,
        now: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._sender, self._tokens, self._webhooks, self._limiter = sender, tokens, webhooks, limiter
        self._recorder, self._bulkhead, self._insist = recorder, bulkhead, insist
        self._lease, self.timeout, self._now, self._random = lease, timeout, now, random

    def send(self, run: BatchRun, indexes: Sequence[int], *, timeout: float | None = None) -> None:
        """Each of these jobs has its outcome then, but for those behind one that was not accepted."""
        if not indexes:
            return
        now, jitter = self._now(), self._random()
        if now - run.renewed_at > self._lease / 2:
            raise LeaseRunsOut
        provider = run.provider
        try:
            by_token = provider.kind == "apns" and not provider.certificate
            authorization = self._tokens.current(provider, now) if by_token else None
            responses = self._responses(run, indexes, authorization, timeout or self.timeout)
        except ValueError as fault:
            # A key or certificate that cannot be used: the command that stored it said what is wrong.
            run.set_outcome(indexes, OpenBreaker(getattr(fault, "reason", "unusable_credential")))
            return
        _decide(run, indexes, responses, authorization, sent_at=now, jitter=jitter)
        if authorization and any(isinstance(o, Retry) and o.refresh_token for o in run.outcomes):
            self._refresh(run, authorization)
        retries = [index for index in indexes if isinstance(run.outcomes[index], Retry)]
        if retries:
            _note_faults(run, dict(zip(indexes, responses, strict=True)), retries)
            self._cool_down(run, jitter)
            self._end_late(run, retries)
        else:
            run.answered = bool(run.answered) or any(isinstance(response, Answer) for response in responses)
        run.lasted = self._now() - now

    def _responses(
        self, run: BatchRun, indexes: Sequence[int], authorization: str | None, timeout: float
    ) -> list[Response]:
        """While answers are missing the batch stays ours, and what was accepted is not sent again should we die."""
        seen: list[Response | None] = [None] * len(indexes)
        following = run.following(indexes)
        watch = self._recorder.watch(run.id, indexes, seen, run.renewed_at)
        with watch as flight, self._bulkhead.answers(run.provider.id, seen):
            if run.provider.kind == "webhook":
                responses = self._webhooks().send(
                    run.provider, recipients(run, indexes), now=self._now, following=following, seen=seen
                )
            else:
                responses = self._sender.send(
                    run.provider,
                    notifications(run, indexes),
                    authorization=authorization,
                    deadline=timeout,
                    following=following,
                    seen=seen,
                )
        run.renewed_at = flight.renewed_at
        return responses

    def _refresh(self, run: BatchRun, authorization: str) -> None:
        try:
            self._insist(self._tokens.refuse, run.provider, authorization, self._now())
        except ClockError:  # another token would be refused as well
            refused = [i for i, o in enumerate(run.outcomes) if isinstance(o, Retry) and o.refresh_token]
            run.set_outcome(refused, OpenBreaker("clock"))

    def _cool_down(self, run: BatchRun, jitter: float) -> None:
        """A device that refused gets nothing for a while, and what it refused waits as long."""
        least: defaultdict[int, float] = defaultdict(float)
        for index in run.throttled:
            if isinstance(outcome := run.outcomes[index], Retry):
                device = run.jobs[index].device
                least[device] = max(least[device], outcome.delay)
        waits = self._insist(self._limiter.cool_down, run.batch.provider, least, jitter=jitter)
        for index in run.throttled:
            if isinstance(outcome := run.outcomes[index], Retry):
                run.outcomes[index] = replace(outcome, delay=waits[run.jobs[index].device])

    def _end_late(self, run: BatchRun, retries: Sequence[int]) -> None:
        """Last of all, when delays are final and cooldowns stored: a try beyond a job's life is none."""
        now = self._now()
        for index in retries:
            if isinstance(outcome := run.outcomes[index], Retry):
                attempt, expires_at = run.jobs[index].attempt + 1, run.expires_at(index)
                run.outcomes[index] = within_life(outcome, now=now, attempt=attempt, expires_at=expires_at)


def _decide(
    run: BatchRun,
    indexes: Sequence[int],
    responses: Sequence[Response],
    authorization: str | None,
    *,
    sent_at: float,
    jitter: float,
) -> None:
    decide = webhook_answer.decide if run.provider.kind == "webhook" else decide_outcome
    token_age = sent_at - issued_at(authorization) if authorization else None
    sent_ms = int(sent_at * 1000)
    for index, response in zip(indexes, responses, strict=True):
        if response is ACCEPTED:
            run.outcomes[index] = DELIVERED
        elif response is not HELD_UP:
            job = run.jobs[index]
            run.outcomes[index] = decide(
                response,
                registered_at=job.registered_at,
                sent_at=sent_ms,
                attempt=job.attempt + 1,
                unsent=run.batch.unsent,
                jitter=jitter,
                token_age=token_age,
            )


def _note_faults(run: BatchRun, responses: Mapping[int, Response], retries: Sequence[int]) -> None:
    """What the tries say of the provider itself, see `is_fault`, and of devices that get too many."""
    for index in retries:
        outcome, response = run.outcomes[index], responses[index]
        if not isinstance(outcome, Retry):
            continue
        if is_fault(outcome):
            run.faults.append(index)
            if isinstance(response, Answer):
                run.retry_after = max(run.retry_after, response.retry_after or 0.0)
        elif outcome.scope == "device":
            run.throttled.append(index)
    faults = set(run.faults)
    run.answered = bool(run.answered) or any(
        isinstance(response, Answer) and index not in faults for index, response in responses.items()
    )
