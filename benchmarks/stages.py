"""What each stage of a message costs, in one process: intake, expansion, delivery and the ledger, one after another.

No Celery, no wake-ups, and no thread but the sender's. So these figures differ less from run to run than those of a whole system,
and say which stage a change made cheaper. CPU microseconds a push, of this process, Postgres and Valkey, and commands of Valkey a
push, those of scripts too: of each the lower quartile of the rounds.

    python -m benchmarks.stages --json [--workload direct_messages] [--rounds 12]
    python -m benchmarks.stages --workload direct_messages --profile expansion    and Python's own profile of a stage
"""

import argparse
import cProfile
import gc
import pstats
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import psutil
import redis

from benchmarks.support.figures import emit, say
from benchmarks.support.people import Crowd, chat, set_up
from benchmarks.support.processes import end_on_sigterm
from benchmarks.support.stage import Stage, stage
from config import settings
from producers import Publisher
from worker.database.lease import Lease
from worker.embedded import Urls
from worker.pipeline.barrier import Barrier
from worker.process.consumer import YOUNG
from worker.process.leader import rounds_of
from worker.process.runtime import Runtime
from worker.process.tasks import FAN_OUT
from worker.state.leader_hint import LeaderHint


class Workload(NamedTuple):
    crowd: Crowd
    #: Of a round.
    messages: int
    #: Of a message.
    pushes: int


WORKLOADS: Final = {
    "direct_messages": Workload(Crowd("direct", 500, 2), 2_000, 1),
    "channels_of_50": Workload(Crowd("channels", 20, 50), 200, 49),
}
STAGES: Final = ("publish", "intake", "expansion", "delivery", "ledger")


class Used(NamedTuple):
    """CPU microseconds, and commands of Valkey, a push."""

    python: float
    postgres: float
    valkey: float
    commands: float


class Meter:
    """What work costs this process, Postgres and Valkey."""

    def __init__(self, place: Stage) -> None:
        pids = place.pids()
        self._postgres, self._valkey = psutil.Process(pids["postgres"][0]), pids["valkey"][0]
        self._client = redis.Redis.from_url(place.urls.redis)

    def of(self, work: Callable[[], None], pushes: int) -> Used:
        """CPU microseconds and commands a push, of work that makes so many. What the meter itself costs is left out."""
        postgres, valkey, commands = self._others()
        began = time.process_time()
        work()
        python = time.process_time() - began
        then = self._others()
        of_others = (1e6 * (then[0] - postgres) / pushes, 1e6 * (then[1] - valkey) / pushes)
        return Used(1e6 * python / pushes, *of_others, (then[2] - commands) / pushes)

    def _others(self) -> tuple[float, float, int]:
        """What Postgres and Valkey have used so far, and the commands of Valkey."""
        known: dict[str, Any] = self._client.info("commandstats")
        postgres = (self._postgres.pid, *(child.pid for child in self._postgres.children(recursive=True)))
        commands = sum(one["calls"] for one in known.values())
        return sum(map(_cpu_seconds, postgres)), _cpu_seconds(self._valkey), commands


def _cpu_seconds(pid: int) -> float:
    """In nanoseconds, where `/proc` has hundredths of a second: Linux' clock of another process."""
    return time.clock_gettime((~pid << 3) | 2)


class Stages:
    """The stages of one process, each as a function that does all of its work there is."""

    def __init__(self, place: Stage, workload: Workload) -> None:
        self._workload, self._publisher = workload, Publisher(place.urls.redis)
        self._number, self._said = 0, list[dict[str, Any]]()
        self.runtime = runtime = Runtime(
            settings.load({name: text for name, text in place.environ.items() if text}),
            Urls(redis=place.urls.redis, postgres=place.urls.postgres),
        )
        self._of = of = runtime.partitions[0]
        lease = Lease(runtime.pool, LeaderHint(of.partition), owner="benchmark:1")
        if not lease.acquire():
            raise RuntimeError("somebody else leads the intake")
        barrier = Barrier(runtime.keyspace, of.partition, runtime.pool)
        self._rounds = rounds_of(runtime, of, lease, barrier, {}, wake=lambda _: None)
        self._rounds.begin()

    def say(self) -> None:
        """Makes what is published next."""
        self._number += 1
        self._said = chat(self._workload.crowd, self._workload.messages, run=f"run-{self._number}")

    def publish(self) -> None:
        self._publisher.publish_many(self._said)

    def intake(self) -> None:
        taken = 0
        while taken < self._workload.messages:
            taken += self._rounds.step(0.05)

    def expansion(self) -> None:
        of = self._of
        while opened := of.journal.take_messages("urgent", FAN_OUT):
            expanded = of.fan_out.expand(opened)
            of.journal.give_back("urgent", expanded.remaining)

    def delivery(self) -> None:
        while self._of.delivery.deliver("urgent"):
            pass

    def ledger(self) -> None:
        while self.runtime.ledger.flush(self._of.journal):
            pass

    def close(self) -> None:
        self._publisher.close()
        self.runtime.close()


def measure(name: str, rounds: int, profiled: str | None) -> dict[str, dict[str, float]]:
    """By stage, and of all of them, what a push costs."""
    workload = WORKLOADS[name]
    pushes = workload.messages * workload.pushes
    with stage() as place:
        set_up(place, workload.crowd)
        stages, meter, profile = Stages(place, workload), Meter(place), cProfile.Profile()
        of_stage: dict[str, list[Used]] = {stage: [] for stage in STAGES}
        for number in range(-2, rounds):  # two to warm up
            if not number:
                gc.collect()
                gc.freeze()
                gc.set_threshold(YOUNG)
            stages.say()
            for which in STAGES:
                with _profiled(profile, which == profiled and number >= 0):
                    used = meter.of(getattr(stages, which), pushes)
                if number >= 0:
                    of_stage[which].append(used)
        stages.close()
    if profiled is not None:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(45)
    found = {which: _lower_quartile(of_rounds) for which, of_rounds in of_stage.items()}
    found["all"] = {kind: round(sum(of[kind] for of in found.values()), 2) for kind in (*Used._fields, "together")}
    return found


@contextmanager
def _profiled(profile: cProfile.Profile, is_wanted: bool) -> Iterator[None]:
    if not is_wanted:
        yield
        return
    with profile:
        yield


def _lower_quartile(rounds: list[Used]) -> dict[str, float]:
    columns = zip(Used._fields, zip(*rounds, strict=True), strict=True)
    found = {name: round(sorted(values)[len(values) // 4], 2) for name, values in columns}
    return {**found, "together": round(found["python"] + found["postgres"] + found["valkey"], 2)}


def _table(found: dict[str, dict[str, float]]) -> str:
    head = f"{'':>10} {'Python':>8} {'Postgres':>9} {'Valkey':>8} {'together':>9} {'commands':>9}"
    rows = (
        f"{which:>10} {of['python']:8.1f} {of['postgres']:9.1f} {of['valkey']:8.1f} {of['together']:9.1f}"
        f" {of['commands']:9.2f}"
        for which, of in found.items()
    )
    return "\n".join((head, *rows))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--workload", choices=WORKLOADS, help="only this one")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--profile", choices=STAGES, help="print Python's profile of this stage, which makes it slower")
    asked = parser.parse_args()
    end_on_sigterm()
    result = {}
    for name in [asked.workload] if asked.workload else WORKLOADS:
        result[name] = measure(name, asked.rounds, asked.profile)
        say(f"{name}, CPU µs a push\n{_table(result[name])}")
    emit({"benchmark": "stages", "rounds": asked.rounds, "workloads": result}, as_json=asked.json)


if __name__ == "__main__":
    main()
