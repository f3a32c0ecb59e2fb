"""The rates of an app and of a kind of provider, asked of the fleet's buckets before a batch is sent.

Each job over a rate gets a time, and waits for it.

A job waits once for a limit, in a batch for each second. When that batch is due, its jobs have their times in this limit and in
the limits before it. A batch that is taken much later than its time, as after a stop of its provider, asks for new times.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from worker.core.batch_run import BatchRun, Wait
from worker.core.limits import Rate, per_minute, per_second, within
from worker.core.live import is_live
from worker.core.outcome import Drop
from worker.core.triggers import CALLED
from worker.providers.kinds import kind_of
from worker.state.limiter import FIRST, LAST, ONLY, Limiter, Wanted

#: The name in counters of a kind's limits for each device.
SERVICE: Final = "service_rate"
#: Pushes to a device in a minute that do not count against the service's limits: most devices get no more, and a check is slow.
FREE: Final = 8
#: Limits in which the urgent lane goes before the bulk lane.
_TWO_QUEUES: Final = ("provider_rate", "push_rate")
#: Seconds after its time in which a batch may still use it.
LATE: Final = 10.0
#: A batch waits again if the urgent lane has moved its time back by so many seconds.
_MOVED: Final = 1.0


def limit(run: BatchRun, limiter: Limiter, rates: Limiter, *, now: float) -> None:
    """Pending jobs over a rate wait, or are dropped at once if they would expire before their time.

    Before all limits: a device with too many notifications, by the provider's word, gets none during its cooldown. What is for
    this moment waits for no rate: it would be over. `limiter` has the cooldowns, `rates` the buckets, which are at the home of
    the app. `now` in UNIX seconds.
    """
    _cooldowns(run, limiter)
    if is_live(run.batch.sendings[0]):
        return
    limits = _limits(run)
    reserved = run.batch.reserved if now <= run.batch.due + LATE else 0
    if 0 < reserved <= len(limits) and run.batch.lane == "bulk" and (last := limits[reserved - 1]).name in _TWO_QUEUES:
        _moved_back(run, last.name, rates.moved(f"{last.name}:{last.of}"))
    free: Collection[int] | None = None
    for number, one in enumerate(limits, 1):
        if one.rate is not None and number > reserved and (jobs := run.pending()):
            if one.name == SERVICE:
                if free is None:
                    counted = reserved > 0 and limits[reserved - 1].name == SERVICE
                    free = () if counted else _free(run, jobs, rates, now)
                jobs = [index for index in jobs if index not in free]
            _reserve(run, number, one.name, one.rate, _buckets(run, one, jobs), rates, now)
    if not any(run.outcomes):
        return
    for index, outcome in enumerate(run.outcomes):
        if isinstance(outcome, Wait) and now + outcome.delay >= run.expires_at(index):
            run.outcomes[index] = Drop("expired", cause=outcome.limit)


class _Limit(NamedTuple):
    name: str
    #: The first part of the names of its buckets, before the channel or the device.
    of: object
    #: None: there is none.
    rate: Rate | None


def _limits(run: BatchRun) -> list[_Limit]:
    """In the order in which they are asked: what a channel's holds back costs no other channel. Those of a device come last.

    Batches in Redis know a limit by its place here.
    """
    app, provider = run.app, run.provider
    limits = [
        _Limit("channel_rate", app.name, _rate(app.channel_rate, per_second)),
        _Limit("provider_rate", provider.id, _rate(app.provider_rate, per_second)),
        _Limit("push_rate", app.name, _rate(app.push_rate, per_second)),
        _Limit("device_rate", "", _rate(app.device_rate, per_minute)),
    ]
    for most, seconds in kind_of(provider).device_rates:
        uncounted = FREE * (math.ceil(seconds / 60) + 1)
        limits.append(_Limit(SERVICE, seconds, within(most - uncounted, seconds)))
    return limits


def _rate(number: float | None, of: Callable[[float], Rate]) -> Rate | None:
    return None if number is None else of(number)


def _free(run: BatchRun, jobs: Sequence[int], limiter: Limiter, now: float) -> Collection[int]:
    """The jobs that are among the first of their device in this minute."""
    beyond = set(limiter.beyond(FREE, run.way, [run.jobs[index].device for index in jobs], now=now))
    return {index for place, index in enumerate(jobs) if place not in beyond}


def _cooldowns(run: BatchRun, limiter: Limiter) -> None:
    if not run.troubled:
        return
    jobs = run.pending()
    left = limiter.cooldowns(run.way, [run.jobs[index].device for index in jobs])
    run.after_cooldown = {device for device, seconds in left.items() if not seconds}
    for index in jobs:
        if seconds := left.get(run.jobs[index].device):
            run.outcomes[index] = Wait("device_held", _whole(seconds))


def _moved_back(run: BatchRun, name: str, moved: float) -> None:
    """The urgent lane has taken earlier times since: the batch waits for as long as these last."""
    by = moved - run.batch.moved
    if by > _MOVED:
        run.set_outcome(run.pending(), Wait(name, _whole(by), run.batch.reserved, moved))


def _buckets(run: BatchRun, limit: _Limit, jobs: Sequence[int]) -> dict[str, list[int]]:
    """The jobs by their bucket of this limit. A mention waits for no limit of a channel: it is no part of a burst."""
    name, of = limit.name, limit.of
    if name in _TWO_QUEUES:
        return {f"{name}:{of}": list(jobs)}
    found: defaultdict[str, list[int]] = defaultdict(list)
    for index in jobs:
        job = run.jobs[index]
        channel = run.batch.sendings[job.sending].channel
        if name == "device_rate":
            found[f"{name}:{job.device}"].append(index)
        elif name == SERVICE:
            found[f"{name}:{of}:{job.device}"].append(index)
        elif channel and job.why not in CALLED:
            found[f"{name}:{of}:{channel}"].append(index)
    return found


def _reserve(
    run: BatchRun, reserved: int, name: str, rate: Rate, buckets: dict[str, list[int]], limiter: Limiter, now: float
) -> None:
    queue = ONLY if name not in _TWO_QUEUES else FIRST if run.batch.lane == "urgent" else LAST
    stretches = {bucket: list(_stretches(run, jobs)) for bucket, jobs in buckets.items()}
    wanted = [
        Wanted(
            bucket, rate, [(len(jobs), float(math.floor(expires_at - now))) for expires_at, jobs in of_bucket], queue
        )
        for bucket, of_bucket in stretches.items()
    ]
    for of_bucket, given in zip(stretches.values(), limiter.reserve(wanted), strict=True):
        for (_, indexes), times in zip(of_bucket, given.runs, strict=True):
            for index, delay in zip(indexes, times.delays(rate), strict=False):
                if delay > 0.0:
                    run.outcomes[index] = Wait(name, _whole(delay), reserved, given.moved)
            run.set_outcome(indexes[times.taken :], Drop("expired", cause=name))


def _stretches(run: BatchRun, jobs: Iterable[int]) -> Iterable[tuple[int, list[int]]]:
    """Jobs in a row with equal expiry."""
    return ((expires_at, list(alike)) for expires_at, alike in groupby(jobs, run.expires_at))


def _whole(seconds: float) -> float:
    """Rounded up, so that jobs with nearly the same time are in one batch."""
    return float(math.ceil(seconds))
