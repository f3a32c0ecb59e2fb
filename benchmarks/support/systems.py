"""What is measured on a stage: Carillon with one of its senders, or the obvious design, as running processes."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import redis
from celery import Celery

from benchmarks.support.counter import Counter
from benchmarks.support.processes import Children, tail
from benchmarks.support.stage import KEY, TEAM, TOPIC, Stage
from producers import Publisher
from producers.events import dump

PEER: Final = "task_per_device"
VARIANTS: Final = (PEER, "carillon_httpx", "carillon_http2", "carillon_null")
PATIENCE: Final = 60.0

Events = Sequence[dict[str, Any]]


@dataclass
class System:
    """A variant that is running: how to publish to it, what it has accepted, whether it is done, and its processes."""

    publish: Callable[[Events], object]
    accepted: Callable[[], int]
    idle: Callable[[], bool]
    children: Children
    groups: dict[str, list[int]] = field(default_factory=dict)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Until the condition holds. Raises TimeoutError, or RuntimeError where a process has ended.

        A look costs the simulator a little, so a long wait looks less often: the time found is up to 2 % too long.
        """
        began = time.monotonic()
        while not condition():
            waited = time.monotonic() - began
            if waited > PATIENCE:
                raise TimeoutError(f"{what}: not within {PATIENCE:.0f} s\n{tail(self.children.log)}")
            self.children.check()
            time.sleep(min(0.2, max(0.01, waited / 50)))


@dataclass(frozen=True)
class Layout:
    """How many worker processes, and tasks at once in each."""

    processes: int = 2
    threads: int = 8


@contextmanager
def running(place: Stage, variant: str, layout: Layout) -> Iterator[System]:
    """The variant's processes and a publisher, all gone when the block ends."""
    with _obvious(place) if variant == PEER else _carillon(place, variant, layout) as system:
        yield system


@contextmanager
def _carillon(place: Stage, variant: str, layout: Layout) -> Iterator[System]:
    transport = "httpx" if variant == "carillon_httpx" else "http2"
    environ = place.environ | {"CARILLON_APNS_TRANSPORT": transport}
    children = Children(place.directory / f"{variant}.log", environ)
    counters: list[Counter] = []
    workers = []
    try:
        for number in range(layout.processes):
            arguments: tuple[str, ...] = (
                "worker.cli",
                "worker",
                "--concurrency",
                str(layout.threads),
                "--name",
                f"n{number}",
            )
            if variant == "carillon_null":
                path = place.directory / f"accepted-{time.monotonic_ns()}"
                counters.append(Counter(path))
                arguments = ("benchmarks.support.null", str(path), str(layout.threads), f"n{number}")
            workers.append(children.start(*arguments))
        beat = children.start("worker.cli", "beat")
        count = (lambda: sum(c.read() for c in counters)) if counters else _simulated(place)
        with redis.Redis.from_url(place.urls.redis) as client, Publisher(place.urls.redis) as publisher:
            yield System(
                publisher.publish_many,
                count,
                lambda: not client.hlen("carillon:open") and not client.llen("carillon:accounts"),
                children,
                {"worker": workers, "beat": [beat], **place.pids()},
            )
    finally:
        children.stop()


@contextmanager
def _obvious(place: Stage) -> Iterator[System]:
    """Two prefork children, and a publisher that holds its connection."""
    environ = {
        "PEER_REDIS_URL": place.urls.redis,
        "PEER_POSTGRES_URL": place.urls.postgres,
        "PEER_APNS": f"https://localhost:{place.simulator.port}",
        "PEER_CA": place.simulator.ca_pem,
        "PEER_TEAM": TEAM,
        "PEER_KEY_ID": KEY,
        "PEER_KEY": place.provider.settings.credential.pem,
        "PEER_TOPIC": TOPIC,
    }
    children = Children(place.directory / "peer.log", environ)
    options = ("-c", "2", "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")
    app = Celery("publisher", broker=place.urls.redis, set_as_current=False)
    try:
        worker = children.start("celery", "-A", "benchmarks.peers.task_per_device", "worker", *options)
        with redis.Redis.from_url(place.urls.redis) as client, app.producer_pool.acquire(block=True) as producer:

            def publish(events: Events) -> None:
                for event in events:
                    document = dump(event).decode()
                    app.send_task("peer.message", (document,), queue="peer", producer=producer, ignore_result=True)

            yield System(
                publish,
                _simulated(place),
                lambda: not client.llen("peer") and not client.hlen("unacked"),
                children,
                {"worker": [worker], **place.pids()},
            )
    finally:
        children.stop()
        app.close()


def _simulated(place: Stage) -> Callable[[], int]:
    return lambda: sum(int(one.counts()["accepted"]) for one in place.simulator.controls.values())
