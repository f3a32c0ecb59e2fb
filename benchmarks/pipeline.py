"""The whole pipeline, publish to accepted, beside the obvious design: everything on this machine.

Postgres, Valkey, workers and the APNs simulator share the cores. Every variant gets the same messages; one round of them for
the slow variants, several for the fast ones so that a run lasts seconds. A rate is notifications that the simulator (or the
null transport) accepted, over the time from the first publish to the last acceptance. Variants take turns; medians count.

    python -m benchmarks.pipeline --json [--quick]
    python -m benchmarks.pipeline --json --against REV    this tree beside another revision, in turn
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import node, task_per_device
from benchmarks.support import mixed
from benchmarks.support.against import LEAST_PAIRS, compare
from benchmarks.support.figures import emit, medians, say
from benchmarks.support.people import Crowd, chat, expected_pushes, set_up
from benchmarks.support.processes import costs, end_on_sigterm
from benchmarks.support.profile import profiled
from benchmarks.support.stage import Stage, stage
from benchmarks.support.system import Events, System
from benchmarks.support.systems import NODE, PEER, PEERS, VARIANTS, Layout, running

CROWDS: Final = {"channels_of_50": Crowd("room", 20, 50), "direct_messages": Crowd("dm", 500, 2)}
#: Messages of a workload in one round, and rounds by variant.
MESSAGES: Final = {"channels_of_50": 120, "direct_messages": 2000}
QUICK_MESSAGES: Final = {"channels_of_50": 12, "direct_messages": 250}
ROUNDS: Final = {PEER: 1, NODE: 8, "carillon_httpx": 1, "carillon_http2": 8, "carillon_null": 8}
WARM_UPS: Final = 6
#: Channels of 50 with devices of all kinds, which no other system here has: what a push of each kind costs.
MIXED: Final = "mixed"
#: What must be reached: times a peer, by peer, variant and workload.
BARS: Final = {
    PEER: {
        "carillon_httpx": {"channels_of_50": 2.0, "direct_messages": 2.0},
        "carillon_http2": {"channels_of_50": 12.0, "direct_messages": 8.0},
        "carillon_null": {"channels_of_50": 12.0, "direct_messages": 12.0},
    },
    NODE: {"carillon_http2": {"channels_of_50": 4.0, "direct_messages": 4.0}},
}
#: Not what runs in production: left out where costs are compared with `NODE`, by CPU as well as by clock.
_OURS: Final = "simulator"


def run(system: System, crowd: Crowd, rounds: Sequence[Events]) -> dict[str, Any]:
    """One timed run over rounds of events: rate, seconds, and CPU microseconds a push by process.

    A system that may lose notifications is timed until its last acceptance, and `lost` says how many did not come.
    """
    already = system.accepted()
    wanted = already + sum(expected_pushes(crowd, events) for events in rounds)
    before, began = costs(system.groups), time.perf_counter()
    for events in rounds:
        system.publish(events)
    last = (already, began)

    def over() -> bool:
        nonlocal last
        now = system.accepted()
        if now != last[0]:
            last = (now, time.perf_counter())
        return now >= wanted or (system.lost is not None and system.lost())

    system.wait(over, "all pushes accepted")
    system.wait(system.idle, "an idle system")
    after, accepted = costs(system.groups), system.accepted()
    if accepted > wanted:
        raise RuntimeError(f"{accepted - wanted} pushes more than there are devices")
    pushes, took = accepted - already, last[1] - began
    cpu = {name: round((after[name] - before[name]) * 1e6 / pushes, 1) for name in after}
    lost = wanted - accepted
    return {"rate": pushes / took, "seconds": took, "pushes": pushes, "lost": lost, "cpu_us_per_push": cpu}


def warm(system: System, workloads: Sequence[str]) -> None:
    """A few messages of each workload, so that connections, tokens and caches are there before the clock starts.

    Several times: each process has to get some.
    """
    for name in workloads:
        crowd = CROWDS[name]
        for turn in range(WARM_UPS):
            events = chat(crowd, max(1, 40 // crowd.members), run=f"warm-{name}-{time.monotonic_ns()}", seed=turn)
            wanted = system.accepted() + expected_pushes(crowd, events)
            system.publish(events)
            system.wait(lambda wanted=wanted: _done(system, wanted), "warm-up")  # type: ignore[misc]
    system.wait(system.idle, "the warm-up to end")


def _done(system: System, wanted: int) -> bool:
    return system.accepted() >= wanted or (system.lost is not None and system.lost())


def measure(place: Stage, options: argparse.Namespace) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """By workload and variant, what each repeat found."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in options.workloads}
    messages = QUICK_MESSAGES if options.quick else MESSAGES
    layout = Layout(options.processes, options.threads)
    for repeat in range(options.repeats):
        for variant in options.variants:
            place.clear()
            with running(place, variant, layout) as system:
                warm(system, options.workloads)
                for name in options.workloads:
                    count = max(1, int(messages[name] * options.scale))
                    rounds = [
                        chat(CROWDS[name], count, run=f"{variant}-{name}-{repeat}-{n}") for n in range(ROUNDS[variant])
                    ]
                    with profiled(options.profile, f"{variant}-{name}-{repeat}", system.groups["worker"]):
                        one = run(system, CROWDS[name], rounds)
                    found[name].setdefault(variant, []).append(one)
                    say(f"{name:16} {variant:16} {one['rate']:9,.0f} pushes/s  {one['cpu_us_per_push']}")
    return found


def summary(found: dict[str, dict[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """Medians, how many times each peer they are, and which bars they meet. `ratios`, `cpu_ratios` and `bars` are of `PEER`."""
    result: dict[str, Any] = {"rates": {}, "cpu_us_per_push": {}}
    for name, variants in found.items():
        rates = medians({variant: [one["rate"] for one in runs] for variant, runs in variants.items()})
        result["rates"][name] = {variant: round(rate, 1) for variant, rate in rates.items()}
        result["cpu_us_per_push"][name] = {
            variant: medians(
                {part: [one["cpu_us_per_push"][part] for one in runs] for part in runs[0]["cpu_us_per_push"]}
            )
            for variant, runs in variants.items()
        }
    result |= _compared(result, PEER, bars_by_cpu=False)
    if any(NODE in variants for variants in found.values()):
        lost = {name: [one["lost"] for one in variants.get(NODE, ())] for name, variants in found.items()}
        result[NODE] = {**_compared(result, NODE, bars_by_cpu=True), "lost": lost}
    return result


def _compared(result: dict[str, Any], peer: str, *, bars_by_cpu: bool) -> dict[str, Any]:
    """How many times this peer each variant of Carillon is, and which bars that meets."""
    ratios: dict[str, Any] = {}
    cpu_ratios: dict[str, Any] = {}
    bars: dict[str, Any] = {}
    for name, rates in result["rates"].items():
        ours = [variant for variant in rates if variant not in PEERS and peer in rates]
        ratios[name] = {variant: round(rates[variant] / rates[peer], 2) for variant in ours}
        total = {
            variant: sum(cost for part, cost in parts.items() if peer == PEER or part != _OURS)
            for variant, parts in result["cpu_us_per_push"][name].items()
        }
        cpu_ratios[name] = {variant: round(total[peer] / total[variant], 2) for variant in ours if total[variant]}
        bars[name] = {
            variant: ratio >= BARS[peer][variant][name]
            and (not bars_by_cpu or cpu_ratios[name][variant] >= BARS[peer][variant][name])
            for variant, ratio in ratios[name].items()
            if variant in BARS[peer]
        }
    return {"ratios": ratios, "cpu_ratios": cpu_ratios, "bars": bars}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object, the last line")
    parser.add_argument("--quick", action="store_true", help="one small repeat, under 40 seconds")
    parser.add_argument("--repeats", type=int, help="interleaved repeats of which the median counts (default: 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the messages (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="worker processes (%(default)s)")
    parser.add_argument("--threads", type=int, default=8, help="tasks at once in each (%(default)s)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--workloads", nargs="+", choices=[*CROWDS, MIXED], default=[*CROWDS, MIXED])
    parser.add_argument(
        "--profile", type=Path, help="directory for py-spy's stacks of every worker, where it is installed"
    )
    parser.add_argument("--against", metavar="REV", help="compare CPU a push with this revision, pair by pair")
    parser.add_argument("--pairs", type=int, default=LEAST_PAIRS, help="pairs of runs with --against (%(default)s)")
    return parser


def main() -> None:
    """Measure, and print one object."""
    options = _parser().parse_args()
    with_kinds = MIXED in options.workloads
    options.workloads = [name for name in options.workloads if name != MIXED]
    end_on_sigterm()
    if options.against:
        sizes = (
            "--scale",
            str(options.scale),
            "--processes",
            str(options.processes),
            "--threads",
            str(options.threads),
        )
        emit(compare(options.against, options.pairs, sizes, options.workloads), as_json=options.json)
        return
    options.repeats = options.repeats or (1 if options.quick else 3)
    began = time.monotonic()
    result: dict[str, Any] = {}
    without = node.missing() if NODE in options.variants else None
    if without:
        say(f"{without} is not installed: measured without {NODE}")
        options.variants = [variant for variant in options.variants if variant != NODE]
    if options.workloads:
        with stage() as place:
            place.sql(task_per_device.SCHEMA)
            for crowd in CROWDS.values():
                set_up(place, crowd)
            result = summary(measure(place, options))
    if with_kinds:
        layout = Layout(options.processes, options.threads)
        with stage(all_kinds=True) as place:
            for of_kinds in mixed.crowds().values():
                mixed.set_up(place, of_kinds)
            result[MIXED] = mixed.measure(
                place, layout, options.repeats, options.scale * (0.25 if options.quick else 1)
            )
    result["absent"] = [NODE] if without else []
    result["layout"] = {"processes": options.processes, "threads": options.threads, "repeats": options.repeats}
    result["seconds"] = round(time.monotonic() - began, 1)
    emit(result, as_json=options.json)


if __name__ == "__main__":
    main()
