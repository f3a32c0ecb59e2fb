"""Everything that is watched, with its present value: no condition is provably not "nobody looked"."""

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from worker.reports.conditions import SKEW, STOPS, WORKERLESS
from worker.reports.snapshot import Leader, RedisFacts, Snapshot, WorkerFacts
from worker.reports.words import counted, lasting


class Check(msgspec.Struct, frozen=True):
    """A part that is watched, and its present value in words. `names`: of the conditions that speak of it."""

    part: str
    value: str
    names: Sequence[str] = ()


def checks(snapshot: Snapshot) -> list[Check]:
    """Everything that is watched and could be read."""
    return [*_pushes(snapshot), *_work(snapshot), *_engines(snapshot)]


def _pushes(snapshot: Snapshot) -> Iterator[Check]:
    if snapshot.providers is not None:
        stopped = sum(any(way.stopped for way in one.ways) for one in snapshot.providers)
        are = "are" if stopped > 1 else "is"
        yield Check("providers", f"{stopped or 'none'} of {len(snapshot.providers)} {are} stopped", STOPS)
    if snapshot.letters is not None:
        value = f"{snapshot.letters.total:,} in all, {snapshot.letters.late:,} of them in the last hour"
        yield Check("dead letters", value, ("dead_letters",))
    if snapshot.leaders:
        waits = max((stream.oldest or 0.0 for stream in snapshot.streams), default=0.0)
        leads = _led(snapshot.leaders)
        yield Check(
            "intake",
            f"{leads}, the oldest entry waits for {waits:.1f} s",
            ("no_leader", "intake_not_moving", "home_behind"),
        )


def _led(leaders: Sequence[Leader]) -> str:
    if len(leaders) == 1:
        return f"{leaders[0].owner} leads" if leaders[0].owner else "nobody has led yet"
    by_owner = Counter(one.owner for one in leaders if one.owner)
    led = ", ".join(f"{owner} leads {n}" for owner, n in sorted(by_owner.items()))
    return f"of {len(leaders)} partitions {led}" if led else "nobody has led yet"


def _work(snapshot: Snapshot) -> Iterator[Check]:
    for lane in snapshot.lanes:
        value = "nothing waits" if lane.oldest is None else f"{lane.waiting}, the oldest for {lasting(lane.oldest)}"
        yield Check(f"{lane.lane} lane", value, ("backlog_old", "no_workers"))
    if snapshot.workers is not None:
        yield Check("workers", _alive(snapshot.workers), ("no_workers", "clock_of_worker"))
    if snapshot.beat is not None:
        yield Check("beat", "ticks" if snapshot.beat else "sends no tick", ("beat_away",))
    if snapshot.outbox is not None:
        yield Check("outbox", counted(snapshot.outbox.waiting, "row waits", "rows wait"), ("outbox_behind",))


def _alive(workers: Sequence[WorkerFacts]) -> str:
    alive = [one for one in workers if one.age < WORKERLESS]
    lanes = sorted({lane for one in alive for lane in one.lanes})
    each = ", ".join(f"{sum(lane in one.lanes for one in alive)} of the {lane} lane" for lane in lanes)
    return each or "none has given a sign of life"


def _engines(snapshot: Snapshot) -> Iterator[Check]:
    if snapshot.redis is not None:
        yield from _redis(snapshot.redis)
    if snapshot.read_only is not None:
        yield Check("postgres writes", "are refused" if snapshot.read_only else "are taken", ("postgres_read_only",))
    for engine, skew in snapshot.skews.items():
        off = f"differs from this machine's by {skew:+.1f} s"
        agrees = "agrees with this machine's"
        yield Check(f"clock of {engine}", agrees if abs(skew) <= SKEW else off, (f"clock_of_{engine}",))


def _redis(memory: RedisFacts) -> Iterator[Check]:
    yield Check("redis persistence", f"appendonly is {'on' if memory.append_only else 'off'}", ("redis_persistence",))
    if memory.replicas:
        needed = "one at least has to keep up" if memory.needs_replicas else "none is needed for a write"
        yield Check("redis replicas", f"{memory.replicas} connected; {needed}", ("redis_replicas",))
    limit = "" if memory.maximum else ", without a limit of memory"
    yield Check("redis eviction", f"{memory.policy}{limit}", ("redis_eviction",))
    if memory.maximum:
        yield Check("redis memory", f"{memory.percent} % of maxmemory is used", ("redis_filling",))
