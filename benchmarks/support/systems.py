"""What is measured on a stage: Carillon with one of its senders, or the obvious design, as running processes."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

import redis
from celery import Celery

from benchmarks.peers.node import bullmq
from benchmarks.support.counter import Counter
from benchmarks.support.processes import Children
from benchmarks.support.stage import KEY, TEAM, TOPIC, Stage
from benchmarks.support.system import Events, System, simulated
from producers import Publisher
from producers.events import dump

PEER: Final = "task_per_device"
NODE: Final = "node_bullmq"
PEERS: Final = (PEER, NODE)
VARIANTS: Final = (*PEERS, "carillon_httpx", "carillon_http2", "carillon_null")


@dataclass(frozen=True)
class Layout:
    """How many worker processes, and tasks at once in each."""

    processes: int = 2
    threads: int = 8


@contextmanager
def running(place: Stage, variant: str, layout: Layout) -> Iterator[System]:
    """The variant's processes and a publisher, all gone when the block ends."""
    with _system(place, variant, layout) as system:
        yield system


def _system(place: Stage, variant: str, layout: Layout) -> AbstractContextManager[System]:
    if variant == NODE:
        return bullmq(place)
    return _obvious(place) if variant == PEER else _carillon(place, variant, layout)


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
        count = (lambda: sum(c.read() for c in counters)) if counters else simulated(place)
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
                simulated(place),
                lambda: not client.llen("peer") and not client.hlen("unacked"),
                children,
                {"worker": [worker], **place.pids()},
            )
    finally:
        children.stop()
        app.close()
