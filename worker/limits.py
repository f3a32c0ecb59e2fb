"""The rates of an app, asked of the fleet's buckets before a batch is sent. What is over one waits as a batch of its own."""

import math
from collections import defaultdict
from collections.abc import Sequence

from worker.core.limits import per_minute, per_second
from worker.core.model import AppSettings, Provider
from worker.core.outcome import Drop
from worker.core.work import Wait, Work
from worker.stores.limiter import Granted, Limiter


def limit(work: Work, app: AppSettings, provider: Provider, limiter: Limiter, *, now: float) -> None:
    """A channel's rate comes first: what it holds back costs no other channel. A device's own comes last.

    Before all of them: a device of which APNs said that it gets too many is left alone for as long as that takes. What would
    wait beyond its life is dropped at once. `now` in UNIX seconds.
    """
    _cooldowns(work, provider, limiter)
    if app.channel_rate is not None:
        _channels(work, app.name, app.channel_rate, limiter)
    if app.provider_rate is not None:
        _all(work, "provider_rate", str(provider.id), app.provider_rate, limiter)
    if app.push_rate is not None:
        _all(work, "push_rate", app.name, app.push_rate, limiter)
    if app.device_rate is not None:
        _devices(work, app.device_rate, limiter)
    for index, outcome in enumerate(work.outcomes):
        if isinstance(outcome, Wait) and now + outcome.delay >= work.expires_at(index):
            work.outcomes[index] = Drop("expired", cause=outcome.limit)


def _cooldowns(work: Work, provider: Provider, limiter: Limiter) -> None:
    jobs = work.open()
    left = limiter.cooldowns(provider.id, [work.jobs[index].device for index in jobs])
    for index in jobs:
        if (seconds := left.get(work.jobs[index].device)) is not None:
            work.outcomes[index] = Wait("device_held", _whole(seconds))


def _whole(seconds: float) -> float:
    """Rounded up, so that what waits for nearly the same time waits in one batch."""
    return float(math.ceil(seconds))


def _channels(work: Work, app: str, rate: float, limiter: Limiter) -> None:
    """Mentions do not wait: they are no part of a burst."""
    by_channel: defaultdict[str, list[int]] = defaultdict(list)
    for index in work.open():
        job = work.jobs[index]
        channel = work.batch.sendings[job.sending].channel
        if channel and job.why != "mention":
            by_channel[channel].append(index)
    wanted = [(f"channel_rate:{app}:{name}", len(jobs), per_second(rate)) for name, jobs in by_channel.items()]
    for jobs, granted in zip(by_channel.values(), limiter.take(wanted), strict=True):
        _hold_back(work, "channel_rate", jobs, granted, rate)


def _all(work: Work, name: str, of: str, rate: float, limiter: Limiter) -> None:
    if jobs := work.open():
        [granted] = limiter.take([(f"{name}:{of}", len(jobs), per_second(rate))])
        _hold_back(work, name, jobs, granted, rate)


def _devices(work: Work, rate: float, limiter: Limiter) -> None:
    jobs = work.open()
    wanted = [(f"device:{work.jobs[index].device}", 1, per_minute(rate)) for index in jobs]
    for index, granted in zip(jobs, limiter.take(wanted), strict=True):
        if not granted.allowed:
            work.outcomes[index] = Wait("device_rate", _whole(granted.wait))


def _hold_back(work: Work, name: str, jobs: Sequence[int], granted: Granted, rate: float) -> None:
    """Those beyond what was granted wait for their turn, a second at most: then they ask again."""
    over = jobs[granted.allowed :]
    work.settle(over, Wait(name, max(granted.wait, min(1.0, len(over) / rate))))
