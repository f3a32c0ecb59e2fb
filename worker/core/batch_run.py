"""One try to deliver a batch: what became of each job so far. Delivery's steps change it; it carries nothing out."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from worker.core import recorded_outcome
from worker.core.batch import COUNT, LEAVE, NONE_FREED, Batch, Freed, Job, Sending
from worker.core.breaker import Look
from worker.core.model import AppSettings, Provider
from worker.core.outcome import DELIVERED, Delivered, Drop, OpenBreaker, Outcome, Refusal, Retry, Unregister
from worker.core.tally import Histogram
from worker.core.triggers import CALLED
from worker.core.way import Way


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


class Well(NamedTuple):
    """So many devices accepted what was sent, with the credential of this name."""

    devices: int
    credential: str


#: Why a job waits whose device and channel have an earlier one that is put off.
EARLIER: Final = "earlier"

JobOutcome = Outcome | Wait


@dataclass(slots=True)
class BatchRun:
    """`outcomes[i]` is what became of `jobs[i]`, None while that is open."""

    id: str
    batch: Batch
    jobs: list[Job]
    outcomes: list[JobOutcome | None]
    #: By job the badge number that it shows on this try; None: it says nothing of it.
    badges: Sequence[int | None]
    #: Jobs whose outcome an earlier try had recorded: the breaker has counted their answers.
    recorded: Collection[int] = frozenset()
    #: UNIX seconds from which the lease counts; it began no earlier.
    renewed_at: float = 0.0
    #: UNIX seconds at which it was taken, at which the first request was sent, and of the last answer; 0: not.
    taken_at: float = 0.0
    sent_at: float = 0.0
    answered_at: float = 0.0
    #: Whether whoever decided it has it without a pause: its devices were read with the decision.
    just_decided: bool = False
    #: Why a batch of a stopped provider was handed out; None: its provider is not stopped.
    look: Look | None = None
    #: Devices that another batch has had in flight for long, or that are another's turn.
    blocked: Collection[int] = frozenset()
    #: Job -> until when (UNIX seconds) it waits for an earlier one of its device and channel, and the batch of that one.
    waits: Mapping[int, tuple[int, str]] = field(default_factory=dict)
    #: Jobs that go although an earlier one of their device and channel is put off: it has held them for long enough.
    overtaking: Collection[int] = ()

    #: Whether its badge numbers are those of the home of its app, which is another partition, and were taken there before.
    numbered: bool = False
    #: Whether it has its devices there.
    claims: bool = False

    #: Whether any device of its way may be in a cooldown, or was refused and accepted nothing since.
    troubled: bool = True
    #: Where all jobs were accepted, and nothing more is to be asked: the answers, which are counted as the batch is finished.
    well: Well | None = None

    #: By job its device, once that was asked of all.
    _devices: list[int] = field(default_factory=list)
    #: By job: what is sent in place of its sending, made with the keys of its device.
    sealed: dict[int, Sending] = field(default_factory=dict)

    #: What steps ask of every batch, and mostly to learn that there is nothing for them to do: the kinds of its messages, when
    #: the first entry came and when the first push expires (UNIX seconds), and whether any job was tried before.
    kinds: Collection[str] = field(init=False)
    first_came: int = field(init=False)
    first_expires: int = field(init=False)
    tried: bool = field(init=False)

    #: Set by the first step. Without them there is no other.
    app: AppSettings = field(init=False)
    provider: Provider = field(init=False)

    #: Jobs that this try has sent, and those that it took out of the badge numbers.
    sent: set[int] = field(default_factory=set)
    uncounted: set[int] = field(default_factory=set)
    #: Jobs whose last try speaks against the provider.
    faults: list[int] = field(default_factory=list)
    #: How many of these are answers.
    said: int = 0
    #: Devices whose last answer may have been that they get too many; their cooldown is over.
    after_cooldown: set[int] = field(default_factory=set)
    #: Jobs whose device gets too many, and those that are over a quota of their origin or provider.
    throttled: list[int] = field(default_factory=list)
    over_quota: list[int] = field(default_factory=list)
    #: Jobs that the client refused to send: what becomes of them says nothing of the provider.
    unwritable: set[int] = field(default_factory=set)
    #: Whether the provider answered any job otherwise than by a fault; None: nothing was sent.
    answered: bool | None = None
    #: Seconds that the sending took, and for which the provider asked to be left alone (Retry-After).
    lasted: float = 0.0
    retry_after: float = 0.0
    #: Refusals of devices that are not believed to be gone.
    unconfirmed: list[Refusal] = field(default_factory=list)

    #: How long the provider took for its answers, and how long what it accepted took since it was published.
    answer_times: Histogram = field(default_factory=Histogram)
    accept_times: Histogram = field(default_factory=Histogram)

    #: What is sent in place of jobs that failed for good, to other devices.
    instead: Sequence[Batch] = ()

    #: Once it is written: the jobs by outcome label, and batches that waited for this one.
    counts: Counter[str] = field(init=False)
    freed: Freed = NONE_FREED
    #: Whether any of it may be ready again: it is returned or left to its lease, or has jobs that are sent later.
    leaves: bool = True
    #: The partition of its home, and batches that waited for this one there.
    freed_at_home: tuple[int, Freed] | None = None

    def __post_init__(self) -> None:
        # Together, and at once: each later look at all of them finds them out of the processor's cache.
        sendings = self.batch.sendings
        self.kinds = frozenset([sending.kind for sending in sendings])
        self.first_came = min([sending.at for sending in sendings], default=0)
        self.first_expires = min([sending.expires_at for sending in sendings], default=0)
        self.tried = max([job.attempt for job in self.jobs], default=0) > 0

    @property
    def way(self) -> Way:
        return self.batch.way

    def set_outcome(self, indexes: Iterable[int], outcome: JobOutcome) -> None:
        for index in indexes:
            self.outcomes[index] = outcome

    @property
    def is_delivered(self) -> bool:
        """Whether every job was accepted, as mostly."""
        outcomes = self.outcomes
        return bool(outcomes) and outcomes[0] is DELIVERED and outcomes.count(DELIVERED) == len(outcomes)

    def delivered(self) -> Sequence[int]:
        """Jobs that were accepted."""
        if self.is_delivered:
            return range(len(self.outcomes))
        return [index for index, outcome in enumerate(self.outcomes) if isinstance(outcome, Delivered)]

    def pending(self) -> Sequence[int]:
        """Jobs without an outcome."""
        outcomes = self.outcomes
        if outcomes and outcomes[0] is None and outcomes.count(None) == len(outcomes):  # as mostly, until they are sent
            return range(len(outcomes))
        return [index for index, outcome in enumerate(outcomes) if outcome is None]

    def drops_any(self) -> bool:
        """Whether a job is dropped: in most batches none is."""
        return not self._alike() and Drop in set(map(type, self.outcomes))

    def _alike(self) -> bool:
        """Whether every job is pending, or every job was accepted, as mostly."""
        first = self.outcomes[0] if self.outcomes else None
        return (first is None or first is DELIVERED) and self.outcomes.count(first) == len(self.outcomes)

    def expires_at(self, index: int) -> int:
        """UNIX seconds at which this job's push expires."""
        return self.batch.sendings[self.jobs[index].sending].expires_at

    def renderable(self, indexes: Sequence[int]) -> tuple[Sequence[Sending], list[Job], Sequence[int | None]]:
        """What a kind renders these jobs from, and their badge numbers. A sealed one has a sending of its own."""
        jobs, badges = self.jobs_at(indexes), self.badges
        if len(indexes) < len(badges):
            badges = [badges[index] for index in indexes]
        if not self.sealed:
            return self.batch.sendings, jobs, badges
        jobs = list(jobs)
        sendings = list(self.batch.sendings)
        for place, index in enumerate(indexes):
            if index in self.sealed:
                jobs[place] = msgspec.structs.replace(jobs[place], sending=len(sendings))
                sendings.append(self.sealed[index])
        return sendings, jobs, badges

    def first_of_each_device(self) -> list[int]:
        """Pending jobs that may be sent at once."""
        first: dict[int, int] = {}
        for index in self.pending():
            first.setdefault(self.jobs[index].device, index)
        return list(first.values())

    def following(self, indexes: Sequence[int]) -> dict[int, int]:
        """For `send`: the place of each of these jobs -> that of the next one to the same device."""
        last: dict[int, int] = {}
        found: dict[int, int] = {}
        devices = self.device_of_each(indexes)
        if len(set(devices)) == len(devices):
            return found
        for place, device in enumerate(devices):
            if (before := last.get(device)) is not None:
                found[before] = place
            last[device] = place
        return found

    def jobs_at(self, indexes: Sequence[int]) -> list[Job]:
        """These jobs, each named once and in their order."""
        return self.jobs if len(indexes) == len(self.jobs) else [self.jobs[index] for index in indexes]

    def devices(self, indexes: Iterable[int]) -> set[int]:
        return {self.jobs[index].device for index in indexes}

    def device_of_each(self, indexes: Sequence[int]) -> Sequence[int]:
        """The devices of these jobs, each named once and in their order. Of all jobs they are looked up once."""
        if len(indexes) < len(self.jobs):
            return [job.device for job in self.jobs_at(indexes)]
        if not self._devices:
            self._devices = [job.device for job in self.jobs]
        return self._devices

    def new(self, indexes: Sequence[int]) -> Sequence[int]:
        """Those of the jobs that had their outcome now, not on an earlier try of the batch."""
        return [index for index in indexes if index not in self.recorded] if self.recorded else indexes

    def to_uncount(self) -> list[int]:
        """Jobs that were counted and are dropped unsent, and have not given their numbers back."""
        if not self.drops_any():
            return []
        return [
            index
            for index, outcome in enumerate(self.outcomes)
            if isinstance(outcome, Drop)
            and index not in self.sent
            and index not in self.recorded
            and index not in self.uncounted
            and self._counted_unsent(index)
        ]

    def _counted_unsent(self, index: int) -> bool:
        job = self.batch.jobs[index]
        badge = self.batch.sendings[job.sending].badge
        return not job.tried and (badge == COUNT or (badge >= 0 and job.badge is None))

    def counted_earlier(self, indexes: Iterable[int]) -> bool:
        """Whether any of these jobs was counted in a batch of which this one was a part."""
        return any(self.batch.jobs[index].badge is not None for index in indexes)

    def set_numbers(self, badges: Sequence[int]) -> None:
        """The jobs have these badge numbers, in the order in which the batch was taken with its own."""
        self.badges = numbered(self.batch, badges)

    def refusals(self, indexes: Iterable[int]) -> list[Refusal]:
        """Of those jobs whose device is to be retired."""
        found: list[Refusal] = []
        if self.is_delivered:
            return found
        for index in indexes:
            outcome = self.outcomes[index]
            if isinstance(outcome, Unregister):
                found.append((self.jobs[index].device, outcome.not_after, outcome.reason))
        return found

    def still_waiting(self) -> list[int]:
        """Jobs that wait for an earlier one and were counted for that before."""
        found = []
        for index in self.batch.waited:
            outcome = self.outcomes[index]
            if isinstance(outcome, Wait) and outcome.limit == EARLIER:
                found.append(index)
        return found

    def wait_with_earlier(self, indexes: Iterable[int]) -> None:
        """Pending jobs wait with an earlier one of their device that was put off after a try, or that waits for a rate.

        A rate holds only its own channel, and a channel's rate no mention. Others stay pending.
        """
        tried: dict[int, Retry | OpenBreaker] = {}
        waiting: dict[tuple[int, str], Wait] = {}
        for index in indexes:
            job, outcome = self.jobs[index], self.outcomes[index]
            channel = self.batch.sendings[job.sending].channel
            match outcome:
                case None:
                    ahead = tried.get(job.device) or (waiting.get((job.device, channel)) if channel else None)
                    match ahead:
                        case OpenBreaker():
                            self.outcomes[index] = ahead
                        case Wait(limit="channel_rate") if job.why in CALLED:
                            pass
                        case Retry():
                            self.outcomes[index] = Wait(EARLIER, ahead.delay)
                        case Wait():
                            self.outcomes[index] = Wait(EARLIER, ahead.delay, behind=ahead.behind)
                case Retry() | OpenBreaker():
                    tried.setdefault(job.device, outcome)
                case Wait():
                    waiting.setdefault((job.device, channel), outcome)


def numbered(batch: Batch, badges: Sequence[int]) -> Sequence[int | None]:
    """The badge number of each of the batch's jobs. `badges`: those that were given to it when it was taken."""
    if len(badges) == len(batch.jobs):
        return badges
    numbers = iter(badges)
    without = {index for index, sending in enumerate(batch.sendings) if sending.badge == LEAVE}
    counted = [job.sending not in without for job in batch.jobs]
    if sum(counted) != len(badges):  # of a release before: it asked for no number where a job had one
        counted = [has and job.badge is None for has, job in zip(counted, batch.jobs, strict=True)]
    return [next(numbers) if has else job.badge for has, job in zip(counted, batch.jobs, strict=True)]


def begin(
    id: str,
    batch: Batch,
    badges: Sequence[int],
    recorded: bytes,
    accepted: Sequence[int] = (),
    *,
    renewed_at: float = 0.0,
) -> BatchRun:
    """A try that goes on where an earlier one of the batch ended, with what that had recorded."""
    known = recorded_outcome.decode(recorded, accepted)
    jobs = batch.jobs
    numbers = numbered(batch, badges) if badges else [job.badge for job in jobs]
    outcomes: list[JobOutcome | None] = [None] * len(jobs)
    for index, outcome in known.items():
        outcomes[index] = outcome
    return BatchRun(id, batch, jobs, outcomes, numbers, recorded=known.keys(), renewed_at=renewed_at)
