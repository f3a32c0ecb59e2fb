"""How fast one client core sends, beside other clients: one connection, TLS, 300-byte payloads, 2 % of 410s.

The client has one core and the server another. Clients take turns, each run a fresh process; medians count. `server_busy` says
how much of its core the server needed: near 1 it held the client back.

    python -m benchmarks.sender --json                   rates, instant answers
    python -m benchmarks.sender --json --latency 50      share of streams / latency that is reached
    python -m benchmarks.sender --json --memory          with 10,000 waiting, and over a million
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.support.canned import CannedServer
from benchmarks.support.figures import emit, medians, ratios, say
from benchmarks.support.load import TOPIC, Result, Target, payload, tokens
from benchmarks.support.processes import ROOT, cores, cpu_seconds, end_on_sigterm, pin
from worker.providers.apns.token import mint

STREAMS: Final = 1000
TEAM: Final = "TEAM000001"
KEY_ID: Final = "KEY0000001"
#: Notifications of one run: about two seconds each on a slow core.
COUNTS: Final = {"carillon": 250_000, "carillon_sender": 200_000, "aioapns": 8_000, "httpx": 2_000, "h2load": 400_000}
#: Answers that the server has ready.
ANSWERS: Final = 1_000_000
BARS: Final = {"aioapns": 40.0, "httpx": 160.0}
LATENCY_BAR: Final = 0.9
TASKS_BAR: Final = 0.8
PROCESSES_BAR: Final = 1.8
WAITING_BAR_MB: Final = 60.0
TIMEOUT: Final = 120.0


class Range:
    """A running server and the core that clients run on."""

    def __init__(self, server: CannedServer, target: Target, directory: Path, core: int | None) -> None:
        self.server, self.target, self.directory, self.core = server, target, directory, core

    def run(self, name: str, target: Target) -> tuple[Result, float]:
        """One run of a client; what it found, and the server's CPU seconds for a notification."""
        before = cpu_seconds([self.server.pid])
        result = self._h2load(target) if name == "h2load" else self.finish(self.begin(name, target))
        spent = cpu_seconds([self.server.pid]) - before
        if result.other:
            raise RuntimeError(
                f"{name}: {result.other} of {target.count} notifications had no answer of the expected kind"
            )
        return result, spent / (target.count + target.warm_up)

    def begin(self, name: str, target: Target) -> "subprocess.Popen[bytes]":
        """Starts a client."""
        child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.senders", name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if self.core is not None:
            pin(child.pid, self.core)
        assert child.stdin is not None
        child.stdin.write(msgspec.json.encode(target))
        child.stdin.close()
        child.stdin = None
        return child

    def finish(self, child: "subprocess.Popen[bytes]") -> Result:
        """Waits for a client and reads its result."""
        try:
            out, _ = child.communicate(timeout=TIMEOUT)
        finally:
            child.kill()
            child.wait()
        if child.returncode:
            raise RuntimeError(f"a client ended with {child.returncode}")
        return msgspec.json.decode(out.splitlines()[-1], type=Result)

    def _h2load(self, target: Target) -> Result:
        """One thread, one connection, all streams; ids cannot differ in it, tokens do."""
        body, uris = self.directory / "payload", self.directory / "uris"
        body.write_bytes(payload())
        base = f"https://{target.host}:{target.port}/3/device/"
        uris.write_text("".join(f"{base}{token}\n" for token, _ in tokens(10_000)))
        command = ["h2load", "-t1", "-c1", f"-m{STREAMS}", f"-n{target.count}", f"-d{body}", f"-i{uris}"]
        headers = {
            "authorization": f"bearer {target.authorization}",
            "apns-topic": TOPIC,
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-id": "0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f",
        }
        command += [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        if self.core is not None and shutil.which("taskset"):
            command = ["taskset", "-c", str(self.core), *command]
        before = children_cpu()
        out = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout
        used = children_cpu() - before
        rate = re.search(r"finished in [^,]+, ([\d.]+) req/s", out)
        statuses = re.search(r"status codes: (\d+) 2xx, \d+ 3xx, (\d+) 4xx", out)
        assert rate is not None
        assert statuses is not None
        accepted, gone = int(statuses[1]), int(statuses[2])
        return Result(target.count / float(rate[1]), used, accepted, gone, target.count - accepted - gone)


@contextmanager
def shooting_range(latency_ms: float = 0.0) -> Iterator[Range]:
    """A server on the last core; clients get the first. On a single core nothing is pinned."""
    free = cores()
    private = ec.generate_private_key(ec.SECP256R1())
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="carillon-benchmark-")))
        server = stack.enter_context(CannedServer(directory, ANSWERS, latency_ms / 1000))
        if len(free) > 1:
            pin(server.pid, free[-1])
        token = mint(TEAM, KEY_ID, key, time.time())
        target = Target(
            "localhost", server.port, server.ca_pem, key, TEAM, KEY_ID, token, count=0, ordered=not latency_ms
        )
        yield Range(server, target, directory, free[0] if len(free) > 1 else None)


def children_cpu() -> float:
    """CPU seconds of children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


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
    emit({**result, "seconds": round(time.monotonic() - began, 1)}, as_json=options.json)


if __name__ == "__main__":
    main()
