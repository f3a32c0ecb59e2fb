"""A batch while it is being delivered: what became of each job so far, and what follows from it. Pure; carries nothing out."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from worker.core.batch import LEAVE, NONE_FREED, Batch, Freed, Job
from worker.core.model import Notification, Provider
from worker.core.notification import Rendered, apns_ids
from worker.core.outcome import DELIVERED, MASS_REFUSAL, Delivered, Drop, OpenBreaker, Outcome, Retry, Unregister


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """A final outcome as it is remembered until the batch is done."""

    job: int
    kind: str
    reason: str = ""
    not_after: int = 0
    guarded: bool = False


encode_marks: Final = msgspec.json.Encoder().encode
_decode_marks: Final = msgspec.json.Decoder(list[Mark]).decode


class Wait(NamedTuple):
    """Over a rate of ours, or behind an earlier notification of its device: not sent yet, and no try of the job's.

    `reserved` and `moved` as of `Batch`.
    """

    limit: str
    delay: float
    reserved: int = 0
    moved: float = 0.0
    #: The batch that it waits for, `delay` seconds at most.
    behind: str = ""
    #: Whether another batch has its device in flight, rather than an earlier one of its channel being put off.
    in_flight: bool = False


#: In an account: beside a job's outcome, that it went before an earlier one of its device and channel.
OVERTOOK: Final = "overtook"
#: Why a job waits whose device and channel have an earlier one that is put off.
EARLIER: Final = "earlier"


JobOutcome = Outcome | Wait


@dataclass(slots=True)
class Work:
    """A batch in this worker's hands. `outcomes[i]` is what became of `jobs[i]`, None while nobody knows."""

    id: str
    batch: Batch
    jobs: list[Job]
    outcomes: list[JobOutcome | None]
    #: Jobs that go although an earlier one of their device and channel is put off: it has held them for long enough.
    overtaking: set[int] = field(default_factory=set)
    #: Jobs whose outcome an earlier try had marked: the breaker has counted their answers.
    remembered: frozenset[int] = frozenset()
    #: UNIX seconds from which the lease counts; it began no earlier.
    renewed_at: float = 0.0
    #: Jobs whose last try speaks against the provider, whether any other was answered (None: nothing was sent), and the seconds
    #: that the sending took.
    faults: list[int] = field(default_factory=list)
    alive: bool | None = None
    lasted: float = 0.0
    #: Jobs whose device gets too many, and the seconds for which the provider asked to be left alone (Retry-After).
    busy: list[int] = field(default_factory=list)
    asked: float = 0.0
    #: Batches that waited for this one and are ready now that it is done.
    freed: Freed = NONE_FREED
    #: `refusals` of devices that are not believed to be gone.
    unconfirmed: list[tuple[int, int, str]] = field(default_factory=list)

    def set_outcome(self, indexes: Sequence[int], outcome: JobOutcome) -> None:
        for index in indexes:
            self.outcomes[index] = outcome

    def open(self) -> list[int]:
        """Jobs of which nobody knows what became."""
        return [index for index, outcome in enumerate(self.outcomes) if outcome is None]

    def expires_at(self, index: int) -> int:
        """UNIX seconds after which nobody wants this job's push any more."""
        return self.batch.sendings[self.jobs[index].sending].expires_at

    def foremost(self) -> list[int]:
        """Open jobs that may be sent at once: the first of each device."""
        first: dict[int, int] = {}
        for index in self.open():
            first.setdefault(self.jobs[index].device, index)
        return list(first.values())

    def devices(self, indexes: Iterable[int]) -> set[int]:
        return {self.jobs[index].device for index in indexes}

    def fresh(self, indexes: Iterable[int]) -> list[int]:
        """Those of the jobs that had their outcome now, not on an earlier try of the batch."""
        return [index for index in indexes if index not in self.remembered]

    def refusals(self, indexes: Iterable[int]) -> list[tuple[int, int, str]]:
        """Device, ms up to which the refusal holds and reason, of those jobs whose device is to be retired."""
        found = []
        for index in indexes:
            outcome = self.outcomes[index]
            if isinstance(outcome, Unregister):
                found.append((self.jobs[index].device, outcome.not_after, outcome.reason))
        return found


def resumed(
    id: str,
    batch: Batch,
    badges: Sequence[int],
    remembered: bytes,
    accepted: Sequence[int] = (),
    *,
    taken_at: float = 0.0,
) -> Work:
    """The batch with every badge in place, and with what an earlier try had marked."""
    numbers = iter(badges)
    left = {index for index, sending in enumerate(batch.sendings) if sending.badge == LEAVE}
    asked = [job.sending not in left for job in batch.jobs]
    if sum(asked) != len(badges):  # of a release before: it asked for no number where a job had one
        asked = [told and job.badge is None for told, job in zip(asked, batch.jobs, strict=True)]
    jobs = [_numbered(job, next(numbers)) if told else job for told, job in zip(asked, batch.jobs, strict=True)]
    outcomes: list[JobOutcome | None] = [None] * len(jobs)
    known = [Mark(index, "delivered") for index in accepted]
    known += _decode_marks(remembered) if remembered else []
    for mark in known:
        outcomes[mark.job] = _remembered(mark)
    return Work(id, batch, jobs, outcomes, remembered=frozenset(mark.job for mark in known), renewed_at=taken_at)


def _numbered(job: Job, badge: int) -> Job:
    # By hand: `structs.replace` took a tenth of a delivery.
    return Job(job.sending, job.device, job.user, job.token, job.registered_at, job.attempt, badge, job.why, job.tried)


def _remembered(mark: Mark) -> Outcome:
    if mark.kind == "delivered":
        return DELIVERED
    if mark.kind == "retired":
        return Unregister(mark.reason, mark.not_after, mark.guarded)
    return Drop(mark.reason)


def marks(work: Work) -> list[Mark]:
    marks = []
    for index, outcome in enumerate(work.outcomes):
        match outcome:
            case Delivered():
                marks.append(Mark(index, "delivered"))
            case Unregister(reason=reason, not_after=not_after, guarded=guarded):
                marks.append(Mark(index, "retired", reason, not_after, guarded))
            case Drop(reason=reason):
                marks.append(Mark(index, "dropped", reason))
    return marks


def notifications(work: Work, indexes: Sequence[int], provider: Provider) -> list[Notification]:
    sendings = work.batch.sendings
    rendered = [Rendered(s.prefix.encode(), s.suffix.encode()) for s in sendings]
    ids = [apns_ids(s.event_id, work.batch.app) for s in sendings]
    made = []
    for index in indexes:
        job = work.jobs[index]
        sending = sendings[job.sending]
        made.append(
            Notification(
                job.token,
                ids[job.sending](job.device),
                rendered[job.sending].payload(job.badge),
                provider.topic,
                sending.push_type,
                sending.priority,
                sending.expires_at,
                sending.collapse_id,
            )
        )
    return made


class Again(NamedTuple):
    """What the jobs of a batch to be tried later have in common; `reserved` and `moved` as of `Batch`, the rest as of `Wait`."""

    delay: float
    unsent: int = 0
    reserved: int = 0
    moved: float = 0.0
    behind: str = ""
    #: It was not put off: its provider is stopped, or another batch has its devices in flight. It keeps its place.
    takes_over: bool = False


def later(work: Work, now: float) -> Iterator[tuple[Again, Batch]]:
    """The batches of what is tried again later. `now` in UNIX seconds."""
    groups: defaultdict[Again, list[int]] = defaultdict(list)
    for index, outcome in enumerate(work.outcomes):
        match outcome:
            case Retry(spends_attempt=False):
                groups[Again(outcome.delay, work.batch.unsent + 1)].append(index)
            case Retry():
                groups[Again(outcome.delay)].append(index)
            case Wait(limit="earlier", behind="", in_flight=False):  # with the one that it follows
                same = (one for one in groups if one.delay == outcome.delay and not one.reserved and not one.behind)
                groups[next(same, Again(outcome.delay))].append(index)
            case Wait():
                line = (outcome.behind, outcome.in_flight)
                groups[Again(outcome.delay, work.batch.unsent, outcome.reserved, outcome.moved, *line)].append(index)
            case OpenBreaker():
                groups[Again(0.0, takes_over=True)].append(index)
    for again, indexes in groups.items():
        yield again, _rest(work, indexes, again, now)


def _rest(work: Work, indexes: Sequence[int], again: Again, now: float) -> Batch:
    """The jobs as a batch of their own, with the sendings that they still need."""
    used = sorted({work.jobs[index].sending for index in indexes})
    place = {sending: new for new, sending in enumerate(used)}
    jobs, waited, refused = [], [], []
    before = set(work.batch.waited)
    for number, index in enumerate(indexes):
        job, outcome = work.jobs[index], work.outcomes[index]
        spent = isinstance(outcome, Retry) and outcome.spends_attempt
        tried = job.tried or (int(now) if isinstance(outcome, Retry) else 0)
        if index in before or (isinstance(outcome, Wait) and outcome.limit == EARLIER):
            waited.append(number)
        if isinstance(outcome, OpenBreaker) and outcome.reason == MASS_REFUSAL:
            refused.append(number)
        jobs.append(msgspec.structs.replace(job, sending=place[job.sending], attempt=job.attempt + spent, tried=tried))
    batch = work.batch
    sendings = [batch.sendings[sending] for sending in used]
    due = now + again.delay if again.reserved else 0.0
    given = (again.unsent, again.reserved, due, again.moved, waited, refused)
    return Batch(batch.app, batch.provider, batch.lane, sendings, jobs, *given)


def following(work: Work, indexes: Sequence[int]) -> dict[int, int]:
    """For `send`: the place of each of these jobs -> that of the next one to the same device."""
    last: dict[int, int] = {}
    found = {}
    for place, index in enumerate(indexes):
        device = work.jobs[index].device
        if device in last:
            found[last[device]] = place
        last[device] = place
    return found


def wait_with_earlier(work: Work, indexes: Sequence[int]) -> None:
    """Open jobs wait with an earlier one of their device that was put off after a try, or that waits for a rate.

    A rate holds only its own channel, and a channel's rate no mention. Others stay open.
    """
    tried: dict[int, Retry | OpenBreaker] = {}
    waiting: dict[tuple[int, str], Wait] = {}
    for index in indexes:
        job, outcome = work.jobs[index], work.outcomes[index]
        channel = work.batch.sendings[job.sending].channel
        match outcome:
            case None:
                ahead = tried.get(job.device) or (waiting.get((job.device, channel)) if channel else None)
                match ahead:
                    case OpenBreaker():
                        work.outcomes[index] = ahead
                    case Wait(limit="channel_rate") if job.why == "mention":
                        pass
                    case Retry() | Wait():
                        work.outcomes[index] = Wait(EARLIER, ahead.delay)
            case Retry() | OpenBreaker():
                tried.setdefault(job.device, outcome)
            case Wait():
                waiting.setdefault((job.device, channel), outcome)


def waits_again(work: Work) -> list[int]:
    """Jobs that wait for an earlier one and were counted for that before."""
    found = []
    for index in work.batch.waited:
        outcome = work.outcomes[index]
        if isinstance(outcome, Wait) and outcome.limit == EARLIER:
            found.append(index)
    return found


def name(outcome: JobOutcome | None) -> str:
    match outcome:
        case Delivered():
            return "accepted"
        case Retry(reason=reason):
            return f"retry.{reason}"
        case Unregister(reason=reason):
            return f"retired.{reason}"
        case Drop(reason=reason):
            return f"dropped.{reason}"
        case OpenBreaker(reason=reason):
            return f"parked.{reason}"
        case Wait(limit=limit):
            return f"limited.{limit}"
        case None:
            raise AssertionError("a job without an outcome")


def totals(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts, and sums over the reasons of each outcome."""
    sums: Counter[str] = Counter(counts)
    for name, n in counts.items():
        if "." in name:
            sums[name.partition(".")[0]] += n
    return dict(sums)


def accounts(work: Work) -> dict[str, dict[str, list[Any]]]:
    """For each message of the batch, however many ways it was rendered: its users and devices by outcome.

    A wait is told once: not again where a device waits for another of its app's limits. What only waits for an earlier one has
    nothing to tell.
    """
    told = work.batch.reserved > 0
    by_event: dict[str, dict[str, list[Any]]] = {sending.event_id: {} for sending in work.batch.sendings}
    for index, (job, outcome) in enumerate(zip(work.jobs, work.outcomes, strict=True)):
        if isinstance(outcome, Wait) and (told or outcome.limit == EARLIER):
            continue
        account = by_event[work.batch.sendings[job.sending].event_id]
        account.setdefault(name(outcome), []).append((job.user, job.device))
        if index in work.overtaking and isinstance(outcome, Delivered):
            account.setdefault(OVERTOOK, []).append((job.user, job.device))
    return by_event
