"""What the model of docs/scaling.md foretells, checked against this machine, and where designs with partitions are full.

The costs of one message are those that `carillon bench` measures. A simulation (`benchmarks/support/simulation.py`) has the
publisher, a leader for each partition, the Redis nodes, Postgres, the workers and the simulator of push services as resources.
Points that were not used for the costs are measured: mixtures, and one worker process. The bar: each rate that is simulated is
within 20 % of the measured one. Then the simulation has machines of its own for everything, and shows where designs are full.

    python -m benchmarks.capacity --json [--quick]
    python -m benchmarks.capacity --json --costs bench.json    only the designs, with what `carillon bench --json` printed
"""

import argparse
import json
import random
import time
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks.support.figures import emit, say
from benchmarks.support.processes import end_on_sigterm
from benchmarks.support.simulation import UNBOUNDED, Clock, Cores, Job, Resource
from producers.events import AnyEvent
from producers.partitions import MOST
from worker.bench.measure import SORTS, WINDOW, Point, Sort, measure, messages, point, shown
from worker.bench.stage import MEMBERS, stage
from worker.core.capacity import FULL, Cost, Costs, Load, need, of_partitions, zipf
from worker.embedded.machine import this_machine

#: How far a simulated rate may be from the measured one.
BAR: Final = 0.2
#: Microseconds that a leader's step costs besides its events: an assumption, which matters for latency and not for rates.
STEP: Final = 1_500.0
#: Events that a leader takes in a step.
EVENTS: Final = 500
#: Designs: partitions and Redis nodes.
DESIGNS: Final = ((1, 1), (4, 1), (4, 3), (16, 3), (16, 16), (64, 16))
APPS: Final = 1_000
#: Cores of Postgres and of the workers in the designs.
POSTGRES_CORES: Final = 16
WORKERS: Final = 64
#: Shares of what a design can carry at which it is simulated.
LOADS: Final = (0.3, 0.7, 0.9, 1.05)
MESSAGES: Final = 8_000


class Work(NamedTuple):
    """Microseconds of one message."""

    cost: Cost
    #: Part of the worker's that is the leader's.
    leader: float
    #: Of what only measures, and shares the cores of a check.
    publisher: float = 0.0
    simulator: float = 0.0

    @property
    def workers(self) -> float:
        return max(0.0, self.cost.worker - self.leader)


def work_of(
    costs: Costs, members: float, pushes: Mapping[str, float], of_push: Mapping[str, float], publisher: float
) -> Work:
    """`of_push`: what the simulator spends on a push, by kind."""
    simulator = sum(count * of_push[kind] for kind, count in pushes.items())
    return Work(costs.of_message(members, pushes), costs.event.worker, publisher, simulator)


def saturated(works: Sequence[Work], cores: float, workers: int, window: int, count: int = 3_000) -> float:
    """Messages a second where everything shares the cores, and `window` messages are under way at any time."""
    clock, shared = Clock(), Cores(cores)
    publisher, leader, redis, simulator = (Resource(clock, shared) for _ in range(4))
    leader.step = EVENTS
    postgres, worker = Resource(clock, shared, UNBOUNDED), Resource(clock, shared, workers)
    started = ended = 0

    def start() -> None:
        nonlocal started
        one = works[started % len(works)]
        started += 1
        route = (
            (publisher, one.publisher),
            (leader, one.leader),
            (redis, one.cost.redis),
            (postgres, one.cost.postgres),
            (worker, one.workers),
            (simulator, one.simulator),
        )
        Job(clock.now, route, done).go_on()

    def done(_: Job) -> None:
        nonlocal ended
        ended += 1
        if started < count:
            start()

    for _ in range(min(window, count)):
        start()
    clock.run()
    return ended / clock.now * 1e6


class Design(NamedTuple):
    """Machines: each leader, each Redis node and each worker process has a core."""

    partitions: int
    nodes: int
    postgres_cores: int = POSTGRES_CORES
    workers: int = WORKERS


def bounds(work: Work, design: Design, shares: Sequence[float]) -> dict[str, float]:
    """Messages a second at which each part is full. `shares`: of the partitions."""
    fullest = max(of_nodes(shares, design.nodes))
    return {
        "leader": 1e6 / max(shares) / (work.leader + STEP / EVENTS),
        "redis": 1e6 / fullest / work.cost.redis,
        "postgres": design.postgres_cores * 1e6 / work.cost.postgres,
        "workers": design.workers * 1e6 / work.workers,
    }


def of_nodes(shares: Sequence[float], nodes: int) -> list[float]:
    """The share of each node: the partitions lie on them in equal ranges."""
    found = [0.0] * nodes
    for partition, share in enumerate(shares):
        found[partition * nodes // len(shares)] += share
    return found


def paced(work: Work, design: Design, shares: Sequence[float], rate: float, count: int = MESSAGES) -> dict[str, Any]:
    """So many messages a second that come by chance: how long they take, and whether they are carried."""
    clock, chance = Clock(), random.Random(1)
    leaders = [Resource(clock, Cores(1), step=EVENTS, fixed=STEP) for _ in shares]
    nodes = [Resource(clock, Cores(1)) for _ in range(design.nodes)]
    postgres = Resource(clock, Cores(design.postgres_cores), design.postgres_cores)
    workers = Resource(clock, Cores(design.workers), design.workers)
    edges, took, at = list(accumulate(shares)), list[float](), 0.0
    for _ in range(count):
        at += chance.expovariate(rate / 1e6)
        partition = min(len(shares) - 1, bisect(edges, chance.random() * edges[-1]))
        node = nodes[partition * design.nodes // len(shares)]
        route = (
            (leaders[partition], work.leader),
            (node, work.cost.redis),
            (postgres, work.cost.postgres),
            (workers, work.workers),
        )
        job = Job(at, route, lambda job: took.append(clock.now - job.born))
        clock.at(at, job.go_on)
    clock.run()
    early, late = _mean(took[: count // 5]), _mean(took[-count // 5 :])
    took.sort()
    return {
        "p50_ms": round(took[count // 2] / 1e3, 1),
        "p99_ms": round(took[int(count * 0.99)] / 1e3, 1),
        "fullest_node": round(max(node.worked for node in nodes) / clock.now, 2),
        "grows": late > 2 * early + 2_000,
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def designs(costs: Costs, count: int = MESSAGES) -> list[dict[str, Any]]:
    """Where each design is full: direct messages, and channels of 50, of `APPS` apps by Zipf. `count`: messages of each load."""
    found = []
    for name, members, pushes in (("direct_messages", 1, 1), ("channels_of_50", MEMBERS - 1, MEMBERS - 1)):
        work = work_of(costs, members, {"apns": float(pushes)}, {"apns": 0.0}, 0.0)
        for partitions, nodes in DESIGNS:
            design, shares = Design(partitions, nodes), of_partitions(zipf(APPS), partitions)
            full = bounds(work, design, shares)
            first = min(full, key=lambda part: full[part])
            loads = {f"{load:.0%}": paced(work, design, shares, full[first] * load, count) for load in LOADS}
            found.append(
                {
                    "workload": name,
                    "partitions": partitions,
                    "redis_nodes": nodes,
                    "busiest_partition": round(max(shares), 3),
                    "pushes_per_second_full": {part: round(rate * pushes) for part, rate in full.items()},
                    "full_first": first,
                    "loads": loads,
                }
            )
            say(
                f"{name:16} {partitions:3} partitions, {nodes:2} Redis: {full[first] * pushes:10,.0f} pushes/s, then {first};"
                f" at 70 % p50 {loads['70%']['p50_ms']} ms, p99 {loads['70%']['p99_ms']} ms"
            )
    return found


def _in_turn(*several: Iterator[AnyEvent]) -> Iterator[AnyEvent]:
    while True:
        for one in several:
            yield next(one)


#: Pushes a second of the arithmetic.
RATES: Final = (1_000, 10_000, 100_000, 1_000_000)
WORKLOADS: Final = (("direct messages", 2), ("channels of 50", MEMBERS))


def arithmetic(costs: Costs) -> list[dict[str, Any]]:
    """What loads up to a million pushes a second need, to iPhones, of 10,000 apps with the same traffic and with Zipf's."""
    found = []
    for name, members in WORKLOADS:
        for rate in RATES:
            for even in (True, False):
                load = Load(rate / (members - 1), members, 1, 10_000, {"apns": 1.0}, even=even)
                wanted = need(load, costs)
                found.append(
                    {
                        "workload": name,
                        "pushes_per_second": rate,
                        "even": even,
                        "workers": wanted.worker_processes,
                        "redis_nodes": wanted.redis_nodes,
                        "partitions": wanted.partitions,
                        "postgres_cores": wanted.postgres_cores,
                        "redis_cores_busy": round(wanted.busy.redis, 2),
                        "busiest_app_cores": round(wanted.busy.redis * wanted.busiest_app, 2),
                    }
                )
    return found


def tables(costs: Costs, needs: Sequence[Mapping[str, Any]], full: Sequence[Mapping[str, Any]]) -> str:
    """The tables of docs/scaling.md."""
    rows = [("an event without a message", costs.event), ("a message", costs.message), ("a member", costs.member)]
    rows += [("a message with pushes, besides", costs.pushed)]
    rows += [(f"a push over {kind}", cost) for kind, cost in costs.push.items()]
    lines = ["| µs of CPU | worker | Redis | Postgres | all |", "|---|---|---|---|---|"]
    lines += [
        f"| {label} | {one.worker:.1f} | {one.redis:.1f} | {one.postgres:.1f} | {one.all:.1f} |" for label, one in rows
    ]
    lines += ["", "| load | pushes a second | workers | Postgres cores | Redis nodes, even apps | Redis nodes, Zipf |"]
    lines += ["|---|---|---|---|---|---|"]
    for even, uneven in zip(needs[::2], needs[1::2], strict=True):
        lines.append(
            f"| {even['workload']} | {even['pushes_per_second']:,} | {even['workers']:,} | {even['postgres_cores']:,}"
            f" | {_nodes(even)} | {_nodes(uneven)} |"
        )
    lines += ["", "| load | partitions | Redis nodes | full at | full first | 30 % | 70 % | 90 % | 105 % |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for one in full:
        most = min(one["pushes_per_second_full"].values())
        cells = [
            f"{load['p50_ms']} / {load['p99_ms']} ms" + (", grows" if load["grows"] else "")
            for load in one["loads"].values()
        ]
        lines.append(
            f"| {one['workload'].replace('_', ' ')} | {one['partitions']} | {one['redis_nodes']} | {most:,}/s"
            f" | {one['full_first']} | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def _nodes(one: Mapping[str, Any]) -> str:
    if one["redis_nodes"] is not None:
        return f"{one['redis_nodes']:,} ({one['partitions']:,} partitions)"
    if one["busiest_app_cores"] > FULL:
        return f"no number: the busiest app alone takes {one['busiest_app_cores']:.2f} cores"
    return f"more than {MOST}, which is all partitions that there may be"


def checked(seconds: float) -> dict[str, Any]:
    """Costs of this machine, and rates beside simulated ones."""
    of = {sort.name: sort for sort in SORTS}
    mixtures = {
        "direct and channels": ("direct", "apns"),
        "all kinds": ("apns", "fcm", "web"),
        "with and without pushes": ("many", "direct"),
    }
    with stage() as place:
        costs, points = measure(place, seconds, say)
        by_sort = {one.sort: one for one in points}
        alone = [_compared(costs, by_sort, [of[name]], by_sort[name], 2) for name in of]
        # What tasks wait for one another, for the disk and for the interpreter's lock.
        busy = min(1.0, median(one["measured"] / one["simulated"] for one in alone))
        say(f"the system keeps {busy:.0%} of the cores busy")
        calibrated = [_compared(costs, by_sort, [of[name]], by_sort[name], 2, busy) for name in of]
        found = []
        for name, sorts in mixtures.items():
            several = [of[sort] for sort in sorts]
            pushes = sum(sort.pushes for sort in several)
            turns = _in_turn(*(messages(sort) for sort in several))
            part = min(sort.part for sort in several) // len(several) * len(several)
            one = point(place, name, pushes, turns, part, seconds, each=len(several))
            say(shown(one))
            found.append(_compared(costs, by_sort, several, one, 2, busy))
    with stage(1) as place:
        for sort in (of["direct"], of["apns"]):
            one = point(place, f"{sort.name}, one process", sort.pushes, messages(sort), sort.part, seconds)
            say(shown(one))
            found.append(_compared(costs, by_sort, [sort], one, 1, busy))
    return {"costs": costs_json(costs), "busy": round(busy, 3), "calibration": calibrated, "checks": found}


def _compared(
    costs: Costs, by_sort: Mapping[str, Point], sorts: Sequence[Sort], one: Point, processes: int, busy: float = 1.0
) -> dict[str, Any]:
    """A measured point beside the simulated one, on the cores that others left. `busy`: the part of them that the system uses."""
    works = []
    for sort in sorts:
        known = by_sort[sort.name]
        kind = sort.name if sort.name in costs.push else "apns"
        of_push = {kind: known.cpu["simulator"] / sort.pushes if sort.pushes else 0.0}
        works.append(work_of(costs, sort.members, {kind: float(sort.pushes)}, of_push, known.cpu["publisher"]))
    cores = max(0.1, this_machine().cores - one.others)
    window = WINDOW * min(sort.part for sort in sorts)
    simulated = saturated(works, cores * busy, processes, window)
    return {
        "point": one.sort,
        "cores_left": round(cores, 2),
        "measured": round(one.rate, 1),
        "simulated": round(simulated, 1),
        "ratio": round(simulated / one.rate, 3),
        "within_bar": abs(simulated / one.rate - 1) <= BAR,
    }


def costs_json(costs: Costs) -> dict[str, Any]:
    return {
        **{name: getattr(costs, name)._asdict() for name in ("event", "message", "member", "pushed")},
        "push": {kind: cost._asdict() for kind, cost in costs.push.items()},
    }


def costs_of(document: Mapping[str, Any]) -> Costs:
    """From what `carillon bench --json` printed, or this benchmark."""
    found = document["costs"]
    one = {name: Cost(**found[name]) for name in ("event", "message", "member", "pushed")}
    return Costs(**one, push={kind: Cost(**cost) for kind, cost in found["push"].items()})


def main() -> None:
    """Measure, simulate, and print one object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object, the last line")
    parser.add_argument("--quick", action="store_true", help="2 s for each point instead of 5")
    parser.add_argument("--seconds", type=float, help="for each point")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="of each simulated load (%(default)s)")
    parser.add_argument("--costs", type=Path, help="measure nothing: the costs that `carillon bench --json` printed")
    options = parser.parse_args()
    end_on_sigterm()
    began = time.monotonic()
    if options.costs:
        result: dict[str, Any] = {}
        costs = costs_of(json.loads(options.costs.read_text().splitlines()[-1]))
    else:
        result = checked(options.seconds or (2.0 if options.quick else 5.0))
        costs = costs_of(result)
        result["bar"] = {"within_20_percent": all(one["within_bar"] for one in result["checks"])}
    result |= {"arithmetic": arithmetic(costs), "designs": designs(costs, options.messages)}
    say(tables(costs, result["arithmetic"], result["designs"]))
    result["seconds"] = round(time.monotonic() - began, 1)
    emit(result, as_json=options.json)


if __name__ == "__main__":
    main()
