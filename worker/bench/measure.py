"""Takes what each sort of message costs on a stage: published for some seconds, as fast as the system takes it."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import count, islice
from typing import Any, Final, NamedTuple

from producers import events
from worker.bench.stage import APP, CHANNELS, CONVERSATIONS, MEMBERS, Stage, channel_of, members_of
from worker.core.capacity import Cost, Costs, Measured, solved

KINDS: Final = ("apns", "fcm", "web")
#: What the cost of a direct message is taken of.
BASE: Final = "apns"
_WORDS: Final = "the bells toll at noon, come and listen by the old tower, bring friends"
#: Tasks take hundreds of messages each, so with twice a part under way processes would wait for one another.
WINDOW: Final = 8
#: Rounds before the clock starts, so that connections, tokens and caches are there.
_WARM_UPS: Final = 3
#: Seconds under load before the clock starts: the ledger, which is written each second, is behind by as much at both ends.
#: No longer than what is measured, so that a first look is short.
_LEAD: Final = 1.5
#: The part of `Stage.cpu` that is everybody's.
_MACHINE: Final = "machine"


class Sort(NamedTuple):
    """Messages of one sort. `part`: how many are published at once; `WINDOW` times as many are under way at most."""

    name: str
    channels: int
    #: Besides the sender.
    members: int
    pushes: int
    part: int


SORTS: Final = (
    Sort("few", CONVERSATIONS, 1, 0, 500),
    Sort("many", CHANNELS, MEMBERS - 1, 0, 500),
    Sort("direct", CONVERSATIONS, 1, 1, 500),
    *(Sort(kind, CHANNELS, MEMBERS - 1, MEMBERS - 1, 60) for kind in KINDS),
)


class Point(NamedTuple):
    """What one sort came to. `cpu`: microseconds a message by process, the simulator and the publisher among them."""

    sort: str
    messages: int
    pushes: int
    seconds: float
    cpu: Mapping[str, float]
    #: Cores that others used meanwhile.
    others: float

    @property
    def cost(self) -> Cost:
        return Cost(self.cpu["worker"], self.cpu["redis"], self.cpu["postgres"])

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    def as_json(self) -> dict[str, Any]:
        return {
            "sort": self.sort,
            "messages": self.messages,
            "pushes": self.pushes,
            "seconds": round(self.seconds, 2),
            "messages_per_second": round(self.rate, 1),
            "cpu_us_per_message": {name: round(value, 1) for name, value in self.cpu.items()},
            "others_cores": round(self.others, 2),
        }


Say = Callable[[str], None]


def measure(place: Stage, seconds: float, say: Say) -> tuple[Costs, list[Point]]:
    """The costs of this machine, and the points they come from. `seconds`: how long each sort is published."""
    points: dict[str, Point] = {}
    event = point(place, "event", 0, _joins(), 500, seconds)
    say(shown(event))
    for sort in SORTS:
        points[sort.name] = point(place, sort.name, sort.pushes, messages(sort), sort.part, seconds)
        say(shown(points[sort.name]))
    found = {sort.name: Measured(points[sort.name].cost, sort.members, sort.pushes) for sort in SORTS}
    channels = {kind: found[kind] for kind in KINDS}
    costs = solved(event.cost, (found["few"], found["many"]), found["direct"], channels, BASE)
    return costs, [event, *points.values()]


def shown(one: Point) -> str:
    """A line for people."""
    cost = one.cost
    return (
        f"{one.sort:7} {one.messages:7,} events, {one.rate:8,.0f} a second, CPU of one {cost.all:8,.0f} µs:"
        f" worker {cost.worker:,.0f}, Redis {cost.redis:,.0f}, Postgres {cost.postgres:,.0f}"
    )


def point(
    place: Stage,
    name: str,
    pushes: int,
    published: Iterator[events.AnyEvent],
    part: int,
    seconds: float,
    *,
    each: int = 1,
) -> Point:
    """Publishes for `seconds` once the system has as much to do as it can, and waits until everything is done.

    So many events, `each`, have so many `pushes`.
    """
    for _ in range(_WARM_UPS):
        place.publisher.publish_many(list(islice(published, max(each, part // 10 // each * each))))
    place.until_idle()
    accepted, began, sent, first = place.accepted(), time.perf_counter(), 0, None
    while True:
        place.publisher.publish_many(list(islice(published, part)))
        sent += part
        place.until((WINDOW - 1) * part)
        if first is None:
            if time.perf_counter() - began > min(_LEAD, seconds):
                first = _moment(place, sent)
        # A machine that is busy with other things may have done nothing by then.
        elif time.perf_counter() - first.at >= seconds and (last := _moment(place, sent)).done > first.done:
            break
    place.until_idle()
    arrived = place.accepted() - accepted
    if arrived != sent // each * pushes:
        raise RuntimeError(f"{arrived:,} pushes were accepted, {sent // each * pushes:,} were expected")
    done, took = last.done - first.done, last.at - first.at
    used = {part: last.cpu[part] - first.cpu[part] for part in last.cpu}
    others = max(0.0, (2 * used[_MACHINE] - sum(used.values())) / took)
    cpu = {part: value * 1e6 / done for part, value in used.items() if part != _MACHINE}
    return Point(name, done, round(done / each * pushes), took, cpu, others)


class _Moment(NamedTuple):
    at: float
    cpu: Mapping[str, float]
    #: Events that are done.
    done: int


def _moment(place: Stage, sent: int) -> _Moment:
    return _Moment(time.perf_counter(), place.cpu(), sent - place.waiting())


def messages(sort: Sort) -> Iterator[events.AnyEvent]:
    """Messages of one sort without end, over its channels in turn."""
    run = f"{time.monotonic_ns():x}-{os.getpid()}"
    for number in count():
        channel = number % sort.channels
        sender = members_of(sort.name, channel, 1)[0]
        yield events.MessageNew(
            id=f"{run}-{number}",
            app=APP,
            at=datetime.now(UTC),
            channel=events.Channel(id=channel_of(sort.name, channel)),
            message=events.Message(id=f"m-{run}-{number}", text=_WORDS),
            sender=events.Sender(id=sender, name=f"Name of {sender}"),
        )


def _joins() -> Iterator[events.AnyEvent]:
    """New members without end."""
    run = f"{time.monotonic_ns():x}"
    for number in count():
        yield events.MemberAdded(
            id=f"{run}-{number}",
            app=APP,
            at=datetime.now(UTC),
            channel=events.ChannelId(id=f"joined:{number % CHANNELS}"),
            users=[f"joined-{run}-{number}"],
        )
