"""How fast one client core sends, beside other clients: one connection, TLS, 300-byte payloads, 2 % of 410s.

Then each kind of provider over ten connections of 100 streams, beside the libraries of its service (`kinds` in the result).

The client has one core and the server another. Clients take turns, each run a fresh process; medians count. `server_busy` says
how much of its core the server needed: near 1 it held the client back.

    python -m benchmarks.sender --json                   rates, instant answers
    python -m benchmarks.sender --json --latency 50      share of streams / latency that is reached
    python -m benchmarks.sender --json --memory          with 10,000 waiting, and over a million
"""

import argparse
import shutil
import subprocess
import sys
import time
from typing import Any, Final

import msgspec

from benchmarks.support.by_kind import measure_kinds, measure_kinds_latency
from benchmarks.support.figures import emit, medians, ratios, say
from benchmarks.support.load import Target
from benchmarks.support.processes import end_on_sigterm
from benchmarks.support.ranges import STREAMS, shooting_range

#: Notifications of one run: about two seconds each on a slow core.
COUNTS: Final = {"carillon": 250_000, "carillon_sender": 200_000, "aioapns": 8_000, "httpx": 2_000, "h2load": 400_000}
BARS: Final = {"aioapns": 40.0, "httpx": 160.0}
LATENCY_BAR: Final = 0.9
TASKS_BAR: Final = 0.8
PROCESSES_BAR: Final = 1.8
WAITING_BAR_MB: Final = 60.0


def installed(name: str) -> bool:
    """Whether a client can run here."""
    if name == "h2load":
        return shutil.which("h2load") is not None
    module = name.partition("_")[0]
    return (
        module == "carillon" or subprocess.run([sys.executable, "-c", f"import {module}"], check=False).returncode == 0
    )


def measure_rates(names: list[str], runs: int, scale: float) -> dict[str, Any]:
    """Medians of interleaved runs at instant answers."""
    found: dict[str, list[float]] = {name: [] for name in names}
    busy: dict[str, list[float]] = {name: [] for name in names}
    cost: dict[str, list[float]] = {name: [] for name in names}
    with shooting_range() as place:
        for _ in range(runs):
            for name in names:
                count = max(200, int(COUNTS[name] * scale))
                target = msgspec.structs.replace(place.target, count=count, warm_up=min(1000, count // 2))
                result, spent = place.run(name, target)
                found[name].append(count / result.seconds)
                busy[name].append(spent * count / result.seconds)
                cost[name].append(result.cpu / count * 1e6)
                say(f"{name:16} {found[name][-1]:10,.0f} /s   server {100 * busy[name][-1]:3.0f} % busy")
    rates = medians(found)
    times = ratios(rates, of="carillon")
    costs = medians(cost)
    return {
        "rates": {name: round(rate, 1) for name, rate in rates.items()},
        "ratios": times,
        "cpu_us_per_notification": {name: round(value, 2) for name, value in costs.items()},
        # The same ratios by CPU time, which other work on the machine disturbs less.
        "cpu_ratios": {
            name: round(value / costs["carillon"], 2) for name, value in costs.items() if name != "carillon"
        },
        "server_busy": {name: round(value, 2) for name, value in medians(busy).items()},
        "bars": {peer: times[peer] >= bar for peer, bar in BARS.items() if peer in times},
        "runs": runs,
    }


def measure_latency(latency_ms: float, runs: int, scale: float) -> dict[str, Any]:
    """How much of streams ÷ latency is reached: from one connection, by a worker's threads over four, by two processes."""
    bound = STREAMS / (latency_ms / 1000)
    count = max(STREAMS, int(bound * 3 * scale))
    found: dict[str, list[float]] = {name: [] for name in ("one_connection", "threads", "threads_4", "two_processes")}
    with shooting_range(latency_ms) as place:

        def target(connections: int) -> Target:
            # Long enough for all connections to be open before the clock starts.
            warm_up = max(STREAMS, int(bound * connections * scale))
            return msgspec.structs.replace(
                place.target, count=count * connections, warm_up=warm_up, connections=connections
            )

        for _ in range(runs):
            for name, client, connections in (
                ("one_connection", "carillon", 1),
                ("threads", "carillon_sender", 1),
                ("threads_4", "carillon_sender", 4),
            ):
                result, _spent = place.run(client, target(connections))
                found[name].append(count * connections / result.seconds / (bound * connections))
                say(f"{name:16} {100 * found[name][-1]:5.1f} % of {bound * connections:,.0f} /s")
            pair = [place.begin("carillon_sender", target(1)) for _ in range(2)]
            rates = [count / place.finish(child).seconds for child in pair]
            found["two_processes"].append(sum(rates) / bound)
            say(f"two processes    {sum(rates):10,.0f} /s")
    shares = medians(found)
    times = shares["two_processes"] / shares["threads"]
    return {
        "latency_ms": latency_ms,
        "bound": {"one_connection": bound, "threads": bound, "threads_4": 4 * bound},
        "share_of_bound": {name: round(share, 3) for name, share in shares.items() if name != "two_processes"},
        "two_processes_times_one": round(times, 2),
        "fcm": measure_kinds_latency(latency_ms, runs, scale),
        "bars": {
            "one_connection": shares["one_connection"] >= LATENCY_BAR,
            "threads": shares["threads"] >= TASKS_BAR,
            "threads_4": shares["threads_4"] >= TASKS_BAR,
            "two_processes": times >= PROCESSES_BAR,
        },
        "runs": runs,
    }


def measure_memory(scale: float) -> dict[str, Any]:
    """Megabytes over the import baseline with 10,000 waiting; and what a million notifications leave behind."""
    with shooting_range(latency_ms=200) as place:
        waiting = place.finish(
            place.begin("carillon_waiting", msgspec.structs.replace(place.target, count=10_000 + STREAMS))
        )
    with shooting_range() as place:
        count = int(1_000_000 * scale)
        growth = place.finish(place.begin("carillon_growth", msgspec.structs.replace(place.target, count=count)))
    added = waiting.peak_mb - waiting.baseline_mb
    return {
        "waiting": 10_000,
        "waiting_mb": round(added, 1),
        "notifications": count,
        "growth_mb": round(growth.peak_mb - growth.baseline_mb, 1),
        "bars": {"waiting": added < WAITING_BAR_MB, "growth": growth.peak_mb - growth.baseline_mb < 2.0},
    }


def main() -> None:
    """Measure, and print one object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sender", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object, the last line")
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs of which the median counts (%(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the notifications (%(default)s)")
    parser.add_argument("--latency", type=float, metavar="MS", help="answers after so many milliseconds; no peers")
    parser.add_argument("--memory", action="store_true", help="memory instead of rates")
    parser.add_argument("--peer-python", metavar="PATH", help="a Python that has firebase-admin and pywebpush")
    parser.add_argument("--peers", nargs="*", choices=list(COUNTS), default=list(COUNTS), help="which clients run")
    options = parser.parse_args()
    end_on_sigterm()
    began = time.monotonic()
    if options.memory:
        result = measure_memory(options.scale)
    elif options.latency:
        result = measure_latency(options.latency, options.runs, options.scale)
    else:
        names = [name for name in COUNTS if (name == "carillon" or name in options.peers) and installed(name)]
        result = measure_rates(names, options.runs, options.scale)
        result["kinds"] = measure_kinds(options.runs, options.scale, options.peer_python)
    emit({**result, "seconds": round(time.monotonic() - began, 1)}, as_json=options.json)


if __name__ == "__main__":
    main()
