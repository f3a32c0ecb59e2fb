"""The rates of an app, asked of the fleet's buckets before a batch is sent: each job over one is given a time, and waits for it.

What waits for a limit waits once, in a batch of its own for each second; when that is due its jobs have their times in this limit
and in those before it. A batch that comes much later than its time, as after its provider was stopped, asks for new ones.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from worker.core.limits import Rate, per_minute, per_second
from worker.core.model import AppSettings, Provider
from worker.core.outcome import Drop
from worker.core.work import Wait, Work
from worker.state.limiter import FIRST, LAST, ONLY, Limiter, Wanted

#: The limits in the order in which they are asked: what a channel's holds back costs no other channel. A device's own comes last.
ORDER: Final = ("channel_rate", "provider_rate", "push_rate", "device_rate")
#: Limits in which the bulk lane gives way to the urgent one.
_TWO_QUEUES: Final = ("provider_rate", "push_rate")
#: Seconds after its time in which a batch may still use it.
LATE: Final = 10.0
#: Seconds by which the urgent lane has to have moved a batch's time back for it to wait again.
_MOVED: Final = 1.0


def limit(work: Work, app: AppSettings, provider: Provider, limiter: Limiter, *, now: float) -> None:
    """Those of the batch's open jobs that may not go now wait, or are dropped at once where they would wait beyond their lives.

    Before all limits: a device of which APNs said that it gets too many is left alone for as long as that takes. `now` in UNIX
    seconds.
    """
    _cooldowns(work, provider, limiter)
    names = {"channel_rate": app.name, "provider_rate": str(provider.id), "push_rate": app.name, "device_rate": ""}
    reserved = work.batch.reserved if now <= work.batch.due + LATE else 0
    if reserved and work.batch.lane == "bulk" and (last := ORDER[reserved - 1]) in _TWO_QUEUES:
        _moved_back(work, last, limiter.moved(f"{last}:{names[last]}"))
    for number, name in enumerate(ORDER):
        rate: float | None = getattr(app, name)
        if rate is not None and number >= reserved and (jobs := work.open()):
            given = per_minute(rate) if name == "device_rate" else per_second(rate)
            _reserve(work, number + 1, given, _buckets(work, name, names[name], jobs), limiter, now)
    for index, outcome in enumerate(work.outcomes):
        if isinstance(outcome, Wait) and now + outcome.delay >= work.expires_at(index):
            work.outcomes[index] = Drop("expired", cause=outcome.limit)


def _cooldowns(work: Work, provider: Provider, limiter: Limiter) -> None:
    jobs = work.open()
    left = limiter.cooldowns(provider.id, [work.jobs[index].device for index in jobs])
    for index in jobs:
        if (seconds := left.get(work.jobs[index].device)) is not None:
            work.outcomes[index] = Wait("device_held", _whole(seconds))


def _moved_back(work: Work, name: str, moved: float) -> None:
    """The urgent lane took times since that were before this batch's: it waits for as long as they last."""
    by = moved - work.batch.moved
    if by > _MOVED:
        work.set_outcome(work.open(), Wait(name, _whole(by), work.batch.reserved, moved))


def _buckets(work: Work, name: str, of: str, jobs: Sequence[int]) -> dict[str, list[int]]:
    """The jobs by the bucket of this limit that they are for. Mentions wait for no channel: they are no part of a burst."""
    if name in _TWO_QUEUES:
        return {f"{name}:{of}": list(jobs)}
    found: defaultdict[str, list[int]] = defaultdict(list)
    for index in jobs:
        job = work.jobs[index]
        channel = work.batch.sendings[job.sending].channel
        if name == "device_rate":
            found[f"{name}:{job.device}"].append(index)
        elif channel and job.why != "mention":
            found[f"{name}:{of}:{channel}"].append(index)
    return found


def _reserve(
    work: Work, reserved: int, rate: Rate, buckets: dict[str, list[int]], limiter: Limiter, now: float
) -> None:
    name = ORDER[reserved - 1]
    queue = ONLY if name not in _TWO_QUEUES else FIRST if work.batch.lane == "urgent" else LAST
    runs = {bucket: list(_runs(work, jobs)) for bucket, jobs in buckets.items()}
    wanted = [
        Wanted(bucket, rate, [(len(run), float(math.floor(expires_at - now))) for expires_at, run in of_bucket], queue)
        for bucket, of_bucket in runs.items()
    ]
    for of_bucket, given in zip(runs.values(), limiter.reserve(wanted), strict=True):
        for (_, run), times in zip(of_bucket, given.runs, strict=True):
            for index, delay in zip(run, times.delays(rate), strict=False):
                if delay > 0.0:
                    work.outcomes[index] = Wait(name, _whole(delay), reserved, given.moved)
            work.set_outcome(run[times.taken :], Drop("expired", cause=name))


def _runs(work: Work, jobs: Iterable[int]) -> Iterable[tuple[int, list[int]]]:
    """Jobs in a row that live equally long."""
    return ((expires_at, list(run)) for expires_at, run in groupby(jobs, work.expires_at))


def _whole(seconds: float) -> float:
    """Rounded up, so that what waits for nearly the same time waits in one batch."""
    return float(math.ceil(seconds))
