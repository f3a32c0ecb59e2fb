"""Delivers one batch: sends its jobs, asks the core about each answer, and carries the outcomes out.

`Delivery.deliver` is the main path. A batch is leased to one worker at a time. What was decided is marked before it is carried
out, so that another worker that has to resume the batch sends nothing twice that was answered and marked.
"""

import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol, TypeVar

from worker.core import webhook_answer
from worker.core.again import decide_again, is_old
from worker.core.batch import NEVER, Lane, batch_id
from worker.core.breaker import PASSING, Stopped, fault_reason, is_fault, opens, probe_interval, probe_timeout
from worker.core.fleet import may_push_to
from worker.core.ledger_entry import account
from worker.core.model import ACCEPTED, HELD_UP, Answer, AppSettings, Notification, Provider, Response
from worker.core.outcome import (
    DELIVERED,
    GONE_MINIMUM,
    GUARD_MINIMUM,
    IN_A_ROW,
    MASS_REFUSAL,
    Delivered,
    Drop,
    OpenBreaker,
    Retry,
    Unregister,
    decide_outcome,
    guard,
    is_mass_unregister,
    within_life,
)
from worker.core.webhook import Recipient, recipients
from worker.core.work import (
    EARLIER,
    Wait,
    Work,
    accounts,
    encode_marks,
    following,
    later,
    marks,
    name,
    notifications,
    resumed,
    totals,
    wait_with_earlier,
    waits_again,
)
from worker.database import postgres
from worker.database.devices import Devices
from worker.database.ledger import DeadLetter
from worker.database.standings import Question, Standings
from worker.pipeline.apps import Apps
from worker.pipeline.bulkhead import Bulkhead
from worker.pipeline.deferred_retirement import DEFERRED_REASONS, DeferredRetirement
from worker.pipeline.poison import Poison
from worker.pipeline.rate_limits import limit
from worker.pipeline.recorder import Recorder
from worker.providers.apns.token import issued_at
from worker.state import redis
from worker.state.breaker import Breaker
from worker.state.journal import Journal, Look, QueuedBatch, Taken, Unreadable
from worker.state.limiter import Limiter

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds after which what waits for a notification that was not tried yet looks again by itself.
LONG: Final = 300.0
#: Seconds for which outcomes are kept for a Redis that is away.
INSIST_SECONDS: Final = 90.0


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


class _LeaseRunsOut(Exception):
    """Too much of a batch's lease is gone to send it: another worker may have it before the first answer is here."""


class Delivery:
    """`now` gives UNIX seconds, `random` a number in [0, 1), `new_id` a batch id that was never given before,
    `add_dead_letter` keeps one.

    `webhooks` gives the client for them; it is asked for one when there is something to send.
    """

    def __init__(
        self,
        journal: Journal,
        devices: Devices,
        apps: Apps,
        sender: Sender,
        tokens: Tokens,
        breaker: Breaker,
        limiter: Limiter,
        deferred_retirement: DeferredRetirement,
        standings: Standings,
        *,
        webhooks: Callable[[], Webhooks],
        timeout: float,
        now: Callable[[], float],
        random: Callable[[], float],
        new_id: Callable[[], str],
        add_dead_letter: Callable[[DeadLetter], None],
        bulkhead: Bulkhead | None = None,
    ) -> None:
        self._poison = Poison(journal, add_dead_letter)
        self.recorder = Recorder(journal, now)
        self._journal, self._devices, self._apps = journal, devices, apps
        self._sender, self._tokens, self._breaker, self._limiter = sender, tokens, breaker, limiter
        self._deferred_retirement, self._standings = deferred_retirement, standings
        self._webhooks = webhooks
        self._bulkhead = bulkhead or Bulkhead()
        self._timeout, self._now, self._random, self._new_id = timeout, now, random, new_id

    def deliver(self, lane: Lane, wake: Callable[[Lane, int], None] | None = None) -> dict[str, int]:
        """What became of the jobs of the lane's next batch, as counts; empty when none waits.

        `wake` is told how many batches are ready that waited for this one, but for one of this lane: who comes again takes that.
        """
        taken_at = self._now()
        try:
            taken = self._journal.take_batch(lane, full=self._bulkhead.full())
        except Unreadable as batch:
            self._poison.put_off_unread(batch)
            return {"failed": 1}
        if taken is None:
            return {}
        work = resumed(taken.id, taken.batch, taken.badges, taken.outcomes, taken.accepted, taken_at=taken_at)
        counts = self._try(work, taken)
        if wake is not None:
            wake("urgent", max(0, work.freed.urgent - (lane == "urgent")))
            wake("bulk", max(0, work.freed.bulk - (lane == "bulk")))
        return counts

    def _try(self, work: Work, taken: Taken) -> dict[str, int]:
        try:
            return self._process(work, taken)
        except _LeaseRunsOut:
            log.warning("batch left to its lease, an engine took too long", extra={"batch": work.id})
            return {"left": len(work.open())}
        except (postgres.Unavailable, *redis.Unavailable):
            raise
        except Exception as fault:  # noqa: BLE001 - whatever the bug is, it stays with its job
            self._insist(lambda: self._journal.mark(work.id, encode_marks(marks(work))))
            if self._poison.put_off(work, fault):
                return {"failed": len(work.jobs)}
        return self._end(work)

    def _end(self, work: Work) -> dict[str, int]:
        """Carries out what is left of a batch that failed too often; where that fails as well, the batch is a dead letter."""
        try:
            return self._carry_out(work)
        except (postgres.Unavailable, *redis.Unavailable):
            raise
        except Exception as fault:  # noqa: BLE001 - it must not come back for ever
            self._poison.give_up(work, fault)
            return {"failed": len(work.jobs)}

    def _process(self, work: Work, taken: Taken) -> dict[str, int]:
        provider = self._apps.provider(work.batch.provider)
        app = self._apps.app(work.batch.app)
        if provider is None:
            work.set_outcome(work.open(), Drop("no_provider"))
            self._breaker.resume(work.batch.provider, by_hand=True)
        elif app is None or not app.push_enabled:
            work.set_outcome(work.open(), Drop("app_push_off"))
        else:
            self._drop_unwanted(work, app)
            if taken.look is not None and not taken.look.probe and work.open():
                return self._hand_back(work)
            self._wait_for_earlier(work, taken, app)
            if not work.open():
                return self._carry_out(work, looked=taken.look)
            if not self._bulkhead.enter(provider.id):
                return self._hand_back(work)
            try:
                self._decide_again(work)
                if (look := taken.look) is not None:
                    flows = self._probe(work, provider, look.stopped)
                    if look.alone or (not flows and work.open()):
                        return self._hand_back(work)
                    if not flows:
                        return self._carry_out(work, looked=look)
                limit(work, app, provider, self._limiter, now=self._now())
                if any(work.outcomes):
                    wait_with_earlier(work, range(len(work.jobs)))
                self._send_all(work, provider)
                self._guard(work, provider)
            finally:
                self._bulkhead.leave(provider.id, answered=work.alive)
        return self._carry_out(work, looked=taken.look if work.alive is None else None)

    def _hand_back(self, work: Work) -> dict[str, int]:
        """Its provider is stopped, or has its share of this process: the batch is the first of its line again."""
        work.freed = self._insist(lambda: self._journal.return_batch(work.id))
        return {"parked": len(work.open())}

    def _probe(self, work: Work, provider: Provider, stopped: Stopped) -> bool:
        """Whether a stopped provider takes one of the batch's jobs; if so it flows again, and the others may go out."""
        candidates, now = work.foremost(), self._now()
        if not candidates:
            return False
        probe = candidates[int(self._random() * len(candidates))]
        self._send(work, provider, [probe], timeout=probe_timeout(stopped, now, self._timeout))
        outcome = work.outcomes[probe]
        # A 410 is about the device, so it proves as much as an acceptance: the credential was taken.
        proof = isinstance(outcome, Delivered) or (isinstance(outcome, Unregister) and not outcome.guarded)
        if not proof and not (stopped.passing and work.alive):
            work.outcomes[probe] = None
            interval = probe_interval(stopped, self._now())
            self._insist(lambda: self._breaker.put_off(provider.id, max(work.asked, interval)))
            return False
        # The others have yet to be sent, which may fail: the probe is not to be sent again because of them.
        self._insist(lambda: self._journal.mark(work.id, encode_marks(marks(work))))
        work.renewed_at = self._now()
        self._insist(lambda: self._breaker.resume(provider.id))
        if self._insist(lambda: self._breaker.stopped(provider.id)):  # by a person, meanwhile
            return False
        log.warning(
            "provider flows again",
            extra={
                "app": provider.app,
                "provider": provider.name,
                "reason": stopped.reason,
                "seconds": round(self._now() - stopped.since, 1),
            },
        )
        return True

    def _drop_unwanted(self, work: Work, app: AppSettings) -> None:
        """What is too old, and what is for somebody to whom this environment may not push."""
        now = self._now()
        late = [index for index in work.open() if work.expires_at(index) <= now]
        work.set_outcome(late, Drop("expired"))
        if app.only_to is not None:
            elsewhere = [index for index in work.open() if not may_push_to(app, work.jobs[index].user)]
            work.set_outcome(elsewhere, Drop("not_allowed_here"))

    def _decide_again(self, work: Work) -> None:
        """A3: what was expanded for a user goes to no device that has another one since, or none.

        Of what is sent long after its place everything else is looked at as well.
        """
        now, sendings = self._now(), work.batch.sendings
        old = {number for number, sending in enumerate(sendings) if is_old(sending, now)}
        young = {i: (work.jobs[i].device, work.jobs[i].user) for i in work.open() if work.jobs[i].sending not in old}
        if young:
            owned = self._devices.owned(young.values())
            work.set_outcome([index for index, job in young.items() if job not in owned], Drop("device_moved"))
        again = [index for index in work.open() if work.jobs[index].sending in old]
        asked = [
            Question(job.device, job.user, sendings[job.sending].channel, sendings[job.sending].sender)
            for job in (work.jobs[index] for index in again)
        ]
        for index, standing in zip(again, self._standings.read(work.batch.app, asked), strict=True):
            work.outcomes[index] = decide_again(sendings[work.jobs[index].sending], standing)

    def _wait_for_earlier(self, work: Work, taken: Taken, app: AppSettings) -> None:
        """A job waits for an earlier one of its device and channel that is put off. A mention passes those that a rate holds.

        One whose device another batch has had in flight for long waits for that: those of other devices go.
        """
        now = self._now()
        for index, (until, holder) in taken.waits.items():
            passes = app.channel_rate is not None and work.jobs[index].why == "mention"
            if work.outcomes[index] is None and not passes:
                # What has no try yet is over with its life. Whoever waits for it is told when it is done.
                seconds = LONG if until == NEVER else max(1.0, math.ceil(until - now))
                work.outcomes[index] = Wait(EARLIER, seconds, behind=holder)
        blocked = [index for index in work.open() if work.jobs[index].device in taken.blocked] if taken.blocked else []
        work.set_outcome(blocked, Wait(EARLIER, 0.0, in_flight=True))
        work.overtaking.update(taken.overtaking)

    def _send_all(self, work: Work, provider: Provider) -> None:
        """Sends what is open. What follows one that is over for good goes in another round."""
        while sending := work.open():
            self._send(work, provider, sending)
            if work.open():
                wait_with_earlier(work, sending)

    def _send(self, work: Work, provider: Provider, sending: Sequence[int], *, timeout: float | None = None) -> None:
        if not sending:
            return
        now = self._now()
        if now - work.renewed_at > self._journal.lease / 2:
            raise _LeaseRunsOut
        by_webhook = provider.kind == "webhook"
        decide = webhook_answer.decide if by_webhook else decide_outcome
        try:
            authorization = None if by_webhook or provider.certificate else self._tokens.current(provider, now)
            responses = self._responses(work, provider, sending, authorization, timeout or self._timeout)
        except ValueError as fault:
            # A key or certificate that cannot be used: what is wrong with it was told whoever stored it.
            work.set_outcome(sending, OpenBreaker(getattr(fault, "reason", "unusable_credential")))
            return
        sent_at, jitter = int(now * 1000), self._random()
        token_age = now - issued_at(authorization) if authorization else None
        for index, response in zip(sending, responses, strict=True):
            if response is HELD_UP:
                continue
            job = work.jobs[index]
            work.outcomes[index] = (
                DELIVERED
                if response is ACCEPTED
                else decide(
                    response,
                    registered_at=job.registered_at,
                    sent_at=sent_at,
                    attempt=job.attempt + 1,
                    unsent=work.batch.unsent,
                    jitter=jitter,
                    token_age=token_age,
                )
            )
        if authorization and any(isinstance(o, Retry) and o.refresh_token for o in work.outcomes):
            self._refresh(work, provider, authorization)
        retries = [index for index in sending if isinstance(work.outcomes[index], Retry)]
        if retries:
            self._note_faults(work, dict(zip(sending, responses, strict=True)), retries)
            self._cool_down(work, jitter)
            self._end_late(work, retries)
        else:
            work.alive = bool(work.alive) or any(isinstance(response, Answer) for response in responses)
        work.lasted = self._now() - now

    def _responses(
        self, work: Work, provider: Provider, sending: Sequence[int], authorization: str | None, timeout: float
    ) -> list[Response]:
        """While answers are missing the batch stays ours, and what was accepted is not sent again should we die."""
        seen: list[Response | None] = [None] * len(sending)
        chains = following(work, sending)
        watch = self.recorder.watch(work.id, sending, seen, work.renewed_at)
        with watch as flight, self._bulkhead.answers(provider.id, seen):
            if provider.kind == "webhook":
                responses = self._webhooks().send(
                    provider, recipients(work, sending), now=self._now, following=chains, seen=seen
                )
            else:
                responses = self._sender.send(
                    provider,
                    notifications(work, sending, provider),
                    authorization=authorization,
                    deadline=timeout,
                    following=chains,
                    seen=seen,
                )
        work.renewed_at = flight.renewed_at
        return responses

    def _insist(self, write: Callable[[], T]) -> T:
        """Writes what APNs has answered, if need be once Redis is back: nobody else knows it, and it must not be sent again.

        From the answers on nothing may end the delivery but the outcomes written, so every step on Redis goes through here.
        """
        ends = self._now() + INSIST_SECONDS
        while True:
            try:
                return write()
            except redis.Error:
                if self._now() > ends:
                    raise
                log.warning("outcomes not written yet, redis is away")
                time.sleep(0.3)

    def _refresh(self, work: Work, provider: Provider, authorization: str) -> None:
        try:
            self._insist(lambda: self._tokens.refuse(provider, authorization, self._now()))
        except RuntimeError:  # our clock is wrong: another token would be refused as well
            refused = [i for i, o in enumerate(work.outcomes) if isinstance(o, Retry) and o.refresh_token]
            work.set_outcome(refused, OpenBreaker("clock"))

    def _note_faults(self, work: Work, responses: Mapping[int, Response], retries: Sequence[int]) -> None:
        """What the tries say of the provider itself, see `is_fault`, and of devices that get too many."""
        for index in retries:
            outcome, response = work.outcomes[index], responses[index]
            if not isinstance(outcome, Retry):
                continue
            if is_fault(outcome):
                work.faults.append(index)
                if isinstance(response, Answer):
                    work.asked = max(work.asked, response.retry_after or 0.0)
            elif outcome.scope == "device":
                work.busy.append(index)
        faults = set(work.faults)
        work.alive = bool(work.alive) or any(
            isinstance(response, Answer) and index not in faults for index, response in responses.items()
        )

    def _cool_down(self, work: Work, jitter: float) -> None:
        """A device that refused gets nothing for a while, and what it refused waits as long."""
        least: defaultdict[int, float] = defaultdict(float)
        for index in work.busy:
            if isinstance(outcome := work.outcomes[index], Retry):
                device = work.jobs[index].device
                least[device] = max(least[device], outcome.delay)
        waits = self._insist(lambda: self._limiter.cool_down(work.batch.provider, least, jitter=jitter))
        for index in work.busy:
            if isinstance(outcome := work.outcomes[index], Retry):
                work.outcomes[index] = replace(outcome, delay=waits[work.jobs[index].device])

    def _end_late(self, work: Work, retries: Sequence[int]) -> None:
        """Last of all, when delays are final and cooldowns stored: a try beyond a job's life is none."""
        now = self._now()
        for index in retries:
            if isinstance(outcome := work.outcomes[index], Retry):
                attempt, expires_at = work.jobs[index].attempt + 1, work.expires_at(index)
                work.outcomes[index] = within_life(outcome, now=now, attempt=attempt, expires_at=expires_at)

    def _guard(self, work: Work, provider: Provider) -> None:
        """Refusals that a wrong host or topic gives as well retire a device only while the provider is known to be well."""
        refused = [i for i, o in enumerate(work.outcomes) if isinstance(o, Unregister) and o.guarded]
        # Its provider has proved to be well since these were refused: they say nothing of it.
        again = [index for index in refused if index in work.batch.refused]
        work.set_outcome(again, Drop("refused_unproven"))
        refused = [index for index in refused if index not in again] if again else refused
        gone = [i for i, o in enumerate(work.outcomes) if isinstance(o, Unregister) and not o.guarded]
        # Counted by device: one that everybody writes to says as much as any other.
        # Once: what an earlier try of the batch had marked was counted by it.
        bad, away = work.devices(work.fresh(refused)), work.devices(work.fresh(gone))
        well = work.devices(work.fresh(i for i, o in enumerate(work.outcomes) if isinstance(o, Delivered)))
        if bad:
            bad -= self._insist(lambda: self._deferred_retirement.known(provider.id))
        failed = work.devices([*work.busy, *work.faults])
        if not (refused or bad or away or well or failed):
            return
        answered = len(well) + len(away) + len(bad)
        # Where nothing at all was answered, one fault explains all of the batch: its number says nothing of the share.
        alive = work.alive or (None if not work.faults else False)
        seen = self._insist(
            lambda: self._breaker.record(
                provider.id,
                answered=answered,
                refused=bad,
                gone=len(away),
                failed=len(failed) if work.alive else 0,
                alive=alive,
                lasted=work.lasted,
            )
        )
        # Whoever answers none and says when to come again is asked no earlier.
        asked = work.asked > 0.0 and not work.alive
        recent = {"answered": seen.answered, "failed": seen.failed, "size": len(failed)}
        if asked or (failed and opens(row=seen.row, lasted=seen.lasted, **recent)):
            self._open_breaker(work, provider)
        minimum = webhook_answer.GONE_MINIMUM if provider.kind == "webhook" else GONE_MINIMUM
        if gone and is_mass_unregister(seen.gone, seen.answered, minimum=minimum):
            work.unconfirmed = work.refusals(gone)
            work.set_outcome(gone, Drop("mass_gone", alarm=True))
        if refused and guard(seen.refused, seen.answered, seen.in_a_row):
            # Most are refused: the provider is at fault, and what it refused may be good. Else it works for many: go on.
            at_fault = seen.refused * 2 > seen.answered or seen.in_a_row >= IN_A_ROW
            work.set_outcome(refused, OpenBreaker(MASS_REFUSAL) if at_fault else Drop("refused_unproven"))
        elif seen.answered < GUARD_MINIMUM:
            work.set_outcome(refused, Drop("refused_unproven"))

    def _carry_out(self, work: Work, *, looked: Look | None = None) -> dict[str, int]:
        """`looked`: of a stopped provider it was taken to see, and nothing was sent: the next one may be looked at at once."""
        retired = work.refusals(range(len(work.outcomes)))
        if retired or work.unconfirmed:
            self._insist(lambda: self._journal.mark(work.id, encode_marks(marks(work))))
            self._devices.retire(work.batch.provider, [one for one in retired if one[2] not in DEFERRED_REASONS])
            suspected = [one for one in retired if one[2] in DEFERRED_REASONS]
            self._insist(lambda: self._deferred_retirement.defer(work.batch.provider, suspected))
            self._devices.note_mass_unregister(work.batch.provider, work.unconfirmed)
        self._stop_provider(work)
        if OpenBreaker(MASS_REFUSAL) in work.outcomes:
            self._insist(lambda: self._deferred_retirement.cancel(work.batch.provider))
        counts: Counter[str] = Counter(map(name, work.outcomes))
        new = counts - Counter(name(work.outcomes[index]) for index in waits_again(work))
        if overtaking := sum(isinstance(work.outcomes[index], Delivered) for index in work.overtaking):
            counts["overtaken"] = new["overtaken"] = overtaking
        again = [
            QueuedBatch(
                batch_id(batch, self._new_id()),
                batch,
                how.delay,
                how.behind,
                put_off=True,
                takes_over=how.takes_over,
            )
            for how, batch in later(work, self._now())
        ]
        written = again, {work.batch.app: totals(new)}, _accounts(work)
        work.freed = self._insist(lambda: self._journal.finish(work.id, *written))
        if looked is not None:
            self._insist(lambda: self._breaker.look_again(work.batch.provider))
        _report(work, self._apps.provider_name(work.batch.provider), counts)
        return dict(counts)

    def _put_off_probes(self, work: Work) -> None:
        if work.asked > 0.0:
            self._insist(lambda: self._breaker.put_off(work.batch.provider, work.asked))

    def _open_breaker(self, work: Work, provider: Provider) -> None:
        """Faults of the way to the provider, or of its servers: its pushes wait in the store, and one probe at a time goes."""
        faults = [outcome for i in work.faults if isinstance(outcome := work.outcomes[i], Retry)]
        reason = fault_reason(faults, alive=bool(work.alive))
        again = self._insist(lambda: self._breaker.was_stopped_recently(provider.id, reason))
        fresh = self._insist(lambda: self._breaker.stop(provider.id, reason, self._now()))
        self._put_off_probes(work)
        if fresh:
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

    def _stop_provider(self, work: Work) -> None:
        reasons = {outcome.reason for outcome in work.outcomes if isinstance(outcome, OpenBreaker)}
        for reason in sorted(reasons):
            if self._insist(lambda: self._breaker.stop(work.batch.provider, reason, self._now())):  # noqa: B023 - called here
                log.error(
                    "provider stopped: check its key, topic and environment",
                    extra={
                        "app": work.batch.app,
                        "provider": self._apps.provider_name(work.batch.provider),
                        "reason": reason,
                    },
                )


def _accounts(work: Work) -> list[bytes]:
    part = f"batch:{work.id}"
    return [account(work.batch.app, event, part, content) for event, content in accounts(work).items()]


def _report(work: Work, provider: str, counts: Mapping[str, int]) -> None:
    """Says delivered only of what was, and warns of what the provider or the way there kept from it."""
    extra = {"app": work.batch.app, "provider": provider, "batch": work.id, "jobs": len(work.jobs), **_flat(counts)}
    if not work.faults:
        log.info("batch delivered" if counts.get("accepted") else "batch done", extra=extra)
    else:
        log.warning("batch delivered in part" if counts.get("accepted") else "batch not delivered", extra=extra)
    bugs = Counter(o.reason for o in work.outcomes if isinstance(o, Drop) and o.alarm)
    for reason, n in bugs.items():
        log.error(
            "notifications refused for good: this is a fault of ours",
            extra={"app": work.batch.app, "provider": provider, "reason": reason, "count": n},
        )


def _flat(counts: Mapping[str, int]) -> dict[str, int]:
    return {name.replace(".", "_").lower(): n for name, n in counts.items()}
