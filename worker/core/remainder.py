"""The rest of a batch after a try, as batches to try again."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from worker.core.batch import Batch
from worker.core.batch_run import EARLIER, BatchRun, Wait
from worker.core.outcome import MASS_REFUSAL, OpenBreaker, Retry


class Again(NamedTuple):
    """How the jobs of one of these batches are tried again; `reserved` and `moved` as of `Batch`, the rest as of `Wait`."""

    delay: float
    unsent: int = 0
    reserved: int = 0
    moved: float = 0.0
    behind: str = ""
    #: It keeps its place: it was not put off, but its provider is stopped, or another batch has its devices in flight.
    takes_over: bool = False


def remainder(run: BatchRun, now: float) -> Iterator[tuple[Again, Batch]]:
    """`now` in UNIX seconds."""
    if run.is_delivered:
        return
    groups: defaultdict[Again, list[int]] = defaultdict(list)
    for index, outcome in enumerate(run.outcomes):
        match outcome:
            case Retry(spends_attempt=False):
                groups[Again(outcome.delay, run.batch.unsent + 1)].append(index)
            case Retry():
                groups[Again(outcome.delay)].append(index)
            case Wait(limit="earlier", behind="", in_flight=False):  # with the one that it follows
                same = (one for one in groups if one.delay == outcome.delay and not one.reserved and not one.behind)
                groups[next(same, Again(outcome.delay))].append(index)
            case Wait():
                line = (outcome.behind, outcome.in_flight)
                groups[Again(outcome.delay, run.batch.unsent, outcome.reserved, outcome.moved, *line)].append(index)
            case OpenBreaker():
                groups[Again(0.0, takes_over=True)].append(index)
    for again, indexes in groups.items():
        yield again, _part(run, indexes, again, now)


def _part(run: BatchRun, indexes: Sequence[int], again: Again, now: float) -> Batch:
    """The jobs as a batch of their own, with the sendings that they still need."""
    used = sorted({run.jobs[index].sending for index in indexes})
    place = {sending: new for new, sending in enumerate(used)}
    jobs, waited, refused = [], [], []
    before = set(run.batch.waited)
    for number, index in enumerate(indexes):
        job, outcome = run.jobs[index], run.outcomes[index]
        spent = isinstance(outcome, Retry) and outcome.spends_attempt
        tried = job.tried or (int(now) if isinstance(outcome, Retry) else 0)
        if index in before or (isinstance(outcome, Wait) and outcome.limit == EARLIER):
            waited.append(number)
        if isinstance(outcome, OpenBreaker) and outcome.reason == MASS_REFUSAL:
            refused.append(number)
        changed = {"sending": place[job.sending], "attempt": job.attempt + spent, "badge": run.badges[index]}
        jobs.append(msgspec.structs.replace(job, **changed, tried=tried))
    batch = run.batch
    sendings = [batch.sendings[sending] for sending in used]
    due = now + again.delay if again.reserved else 0.0
    given = (again.unsent, again.reserved, due, again.moved, waited, refused, batch.origin, batch.decided)
    return Batch(batch.app, batch.provider, batch.lane, sendings, jobs, *given)
