"""How long one app's chat message takes while another app fills the streams.

The quiet app publishes a message to one device every tenth of a second; the time from each publication to its acceptance is
taken, in calm and during what the noisy app does: many messages, an import of members, registrations with large attributes,
junk in entries of 32 MB. Real workers on embedded engines and a simulator.

    python -m benchmarks.fairness --json
    python -m benchmarks.fairness --loads members junk --scale 0.1
"""

import argparse
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any, Final

import redis

from benchmarks.bulkhead import event, latencies, people, push
from benchmarks.support.figures import emit, say
from benchmarks.support.processes import Children
from benchmarks.support.stage import TOPIC, Stage, stage
from producers import Publisher
from producers.events import FIELD, STREAM
from worker.core.model import AppSettings, Provider
from worker.database.postgres import open_pool
from worker.database.registry import Registry
from worker.embedded.valkey import LARGEST_VALUE
from worker.providers import kinds
from worker.providers.apns.settings import ApnsSettings

NOISY: Final = "noisy"
#: Users in one event of the import, as many as the contract takes.
USERS: Final = 10_000
_AT: Final = "2026-11-21T20:00:00Z"


def messages(scale: float) -> Iterator[dict[str, Any]]:
    """150,000 messages to somebody who has no device."""
    return (event(f"n{n}", NOISY, recipients=["nobody"]) for n in range(int(150_000 * scale)))


def members(scale: float) -> Iterator[dict[str, Any]]:
    """An import of 5,000,000 members."""
    for n in range(int(500 * scale)):
        users = [f"user-{n}-{k}" for k in range(USERS)]
        yield _event("member.added", f"m{n}", channel={"id": f"c{n}"}, users=users)


def attributes(scale: float) -> Iterator[dict[str, Any]]:
    """250 registrations of which each has attributes of nearly a megabyte."""
    large: dict[str, Any] = {"a": [{} for _ in range(310_000)]}
    for n in range(int(250 * scale)):
        device = {"token": f"{n:064x}", "attributes": large}
        yield _event("device.registered", f"r{n}", user=f"u{n}", device=device)


def _event(kind: str, id: str, **fields: Any) -> dict[str, Any]:
    return {"v": 1, "type": kind, "id": id, "app": NOISY, "at": _AT} | fields


def publish(url: str, load: str, scale: float) -> None:
    """All of one load, as fast as it goes."""
    if load == "junk":
        with redis.Redis.from_url(url) as client:
            for _ in range(max(1, int(7 * scale))):
                client.xadd(STREAM, {FIELD: b"x" * (LARGEST_VALUE - 1_000)})
        return
    size = {"messages": 2_000, "members": 4, "attributes": 2}[load]
    with Publisher(url, max_backlog=10_000_000) as publisher:
        events = LOADS[load](scale)
        while some := list(islice(events, size)):
            publisher.publish_many(some)


LOADS: Final[dict[str, Callable[[float], Iterator[dict[str, Any]]]]] = {
    "messages": messages,
    "members": members,
    "attributes": attributes,
}
ALL: Final = (*LOADS, "junk")


def noisy(place: Stage) -> None:
    with open_pool(place.urls.postgres, size=1) as pool:
        registry = Registry(pool, [place.environ["CARILLON_SECRET_KEYS"]], kinds)
        registry.save_app(AppSettings(NOISY))
        simulator = place.simulator
        credential = place.provider.settings.credential
        settings = ApnsSettings(TOPIC, credential, "localhost", simulator.port, simulator.ca_pem)
        registry.save_provider(Provider(0, NOISY, "apns", "production", settings))


def drained(client: "redis.Redis") -> bool:
    """Whether all that the noisy app published was applied."""
    waiting = client.hget("carillon:pressure", NOISY)
    return not int(waiting or 0) and not client.xlen(f"{STREAM}:{NOISY}") and client.xlen(STREAM) < 100


def during(place: Stage, publisher: Publisher, load: str, options: argparse.Namespace) -> dict[str, Any]:
    """What the quiet app's messages take until the load is applied, or the time is up."""
    client = redis.Redis.from_url(place.urls.redis)
    writer = threading.Thread(target=publish, args=(place.urls.redis, load, options.scale))
    began = time.monotonic()
    writer.start()

    def over() -> bool:
        return time.monotonic() - began > 3.0 and not writer.is_alive() and drained(client)

    with client:
        found = latencies(place, publisher, options.seconds, load, over)
        writer.join()
        return found | {"applied": drained(client), "seconds": round(time.monotonic() - began, 1)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        place = stack.enter_context(stage())
        noisy(place)
        people(place, {})
        children = Children(place.directory / "workers.log", place.environ)
        stack.callback(children.stop)
        for number in range(options.processes):
            children.start("worker.cli", "worker", "--concurrency", "8", "--name", f"n{number}")
        children.start("worker.cli", "beat")
        publisher = stack.enter_context(Publisher(place.urls.redis))
        for number in range(5):
            push(place, publisher, number)
        result: dict[str, Any] = {"scale": options.scale, "calm": latencies(place, publisher, 5.0, "calm")}
        for load in options.loads:
            result[load] = during(place, publisher, load, options)
            children.check()
        worst = max((result[load]["p99"] for load in options.loads), default=0.0)
        say(f"worst p99 {worst} s")
        return result | {"bar": {"p99_within_1_s": worst <= 1.0}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object, the last line")
    parser.add_argument("--loads", nargs="+", choices=ALL, default=ALL, help="what the noisy app does (all)")
    parser.add_argument("--scale", type=float, default=1.0, help="how much of it (%(default)s)")
    parser.add_argument("--seconds", type=float, default=120.0, help="longest time for each (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="worker processes (%(default)s)")
    options = parser.parse_args(arguments)
    emit(measure(options), as_json=options.json)


if __name__ == "__main__":
    main()
