"""How fast a chat server can publish, beside `Celery.send_task` of the same event on the same Valkey.

One process that publishes, one embedded Valkey with AOF; both share the machine. Every run is preceded by one of each other
kind, so that a slow moment of the machine falls on all of them.

    python -m benchmarks.publish --json
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import redis
from celery import Celery

from producers import STREAM, AsyncPublisher, Publisher
from worker.embedded import Engines

#: Events of one call of `publish_many`.
MANY = 1_000
TASK_QUEUE = "benchmark"


def event(number: int) -> dict[str, Any]:
    """A chat message of common size, about 400 bytes of JSON."""
    return {
        "v": 1,
        "type": "message.new",
        "id": f"evt-{number}",
        "app": "demo",
        "at": "2026-11-21T20:00:00.123Z",
        "channel": {"id": "messaging:general", "name": "General"},
        "message": {
            "id": f"msg-{number}",
            "text": "The bells toll at noon, come and listen. " * 3,
            "mentioned": ["han"],
        },
        "sender": {"id": "leia", "name": "Leia Organa", "image": "https://example.com/leia.png"},
    }


@contextmanager
def workloads(url: str) -> Iterator[dict[str, tuple[Callable[[], object], int]]]:
    """What is measured: a call and the events that it publishes, by name."""
    app = Celery("benchmark", broker=url, set_as_current=False)
    app.conf.update(task_default_queue=TASK_QUEUE, task_ignore_result=True)
    one, many = event(1), [event(number) for number in range(MANY)]
    with app.producer_pool.acquire(block=True) as producer, Publisher(url) as publisher, asyncio.Runner() as runner:
        aio = AsyncPublisher(url)

        async def gathered() -> None:
            await asyncio.gather(*[aio.publish(one) for _ in range(100)])

        yield {
            "send_task": (lambda: app.send_task("carillon.fan_out", kwargs={"events": [one]}, producer=producer), 1),
            "publish": (lambda: publisher.publish(one), 1),
            "publish_many": (lambda: publisher.publish_many(many), MANY),
            "async publish, 100 at once": (lambda: runner.run(gathered()), 100),
            "async publish_many": (lambda: runner.run(aio.publish_many(many)), MANY),
        }
        runner.run(aio.close())
    app.close()


def rate(call: Callable[[], object], events: int, seconds: float) -> float:
    """Events a second over one run of about so many seconds."""
    start = end = perf_counter()
    done = 0
    while end - start < seconds:
        call()
        done += events
        end = perf_counter()
    return done / (end - start)


def measure(url: str, runs: int, seconds: float) -> dict[str, float]:
    """The median rate of each workload over interleaved runs, after one that does not count."""
    rates: dict[str, list[float]] = {}
    with redis.Redis.from_url(url) as client, workloads(url) as all_workloads:
        for run in range(runs + 1):
            for name, (call, events) in all_workloads.items():
                client.delete(STREAM, TASK_QUEUE)
                found = rate(call, events, seconds)
                if run:
                    rates.setdefault(name, []).append(found)
        client.delete(STREAM, TASK_QUEUE)
    return {name: statistics.median(found) for name, found in rates.items()}


def main() -> None:
    """Measure, and print a table, or with `--json` one object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publish", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs of which the median counts (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one run (%(default)s)")
    parser.add_argument("--redis-url", help="a Redis to use, whose stream is emptied; default: an embedded Valkey")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carillon-benchmark-") as home:
        engines = Engines(Path(home))
        try:
            rates = measure(given.redis_url or engines.start().redis, given.runs, given.seconds)
        finally:
            engines.stop()
    ratios = {name: found / rates["send_task"] for name, found in rates.items()}
    for name, found in rates.items():
        print(f"{name:28} {found:10,.0f} events/s {ratios[name]:7.1f} x", file=sys.stderr if given.json else sys.stdout)
    if given.json:
        print(json.dumps({"rates": rates, "ratios": ratios}))


if __name__ == "__main__":
    main()
