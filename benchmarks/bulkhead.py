"""How long one app's push takes while other apps' providers are dead and tens of thousands of notifications wait for them.

Eight apps have a provider that refuses connections, takes them and says nothing, or swallows every packet; or, with `--dead
webhooks`, webhooks that take the request and never answer. With `--dead origins` there are three: an origin of Web Push hangs, a
project of FCM is over its quota, and subscriptions name an address that no push may go to. One more app's provider is well: its
messages to one device each are published one after another, and the time from each publication to its acceptance is taken: in
calm, while the other apps' messages are expanded, and while all that they made waits.

    python -m benchmarks.bulkhead --json
"""

import argparse
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
import redis

from benchmarks.support import trouble
from benchmarks.support.figures import emit, say
from benchmarks.support.people import token
from benchmarks.support.processes import Children
from benchmarks.support.stage import APP, TOPIC, Stage, stage
from benchmarks.support.trouble import Device, Row
from producers import Publisher
from worker.core.model import AppSettings, Provider
from worker.database.postgres import open_pool
from worker.database.registry import Registry
from worker.providers import kinds
from worker.providers.apns.settings import ApnsSettings
from worker.providers.webhook.settings import WebhookSettings
from worker.simulator import FcmSettings, SimulatorProcess
from worker.simulator.certificates import make_identity

#: Members of the one channel of each dead app.
MEMBERS: Final = 100
#: Seconds that one push of the healthy app may take before the benchmark gives up on it.
PATIENCE: Final = 60.0


@contextmanager
def refusing() -> Iterator[int]:
    """A port on which nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def silent(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port that takes every connection, with TLS where there is a context, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        stopped, kept = threading.Event(), list[socket.socket]()

        def greet(connection: socket.socket) -> None:
            try:
                kept.append(connection if context is None else context.wrap_socket(connection, server_side=True))
            except OSError:
                connection.close()

        def accept() -> None:
            while not stopped.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                connection.settimeout(5)
                threading.Thread(target=greet, args=(connection,), daemon=True).start()

        server.settimeout(0.2)
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            stopped.set()
            thread.join()
            for connection in kept:
                connection.close()


@contextmanager
def swallowing() -> Iterator[int]:
    """A port whose queue of connections is full, so that the system drops whatever else comes."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def dead_providers(place: Stage, kind: str, ports: Sequence[int], ca: str) -> dict[str, Provider]:
    """One app `dead<n>` for each port, with a provider there."""
    with open_pool(place.urls.postgres, size=1) as pool:
        registry, made = Registry(pool, [place.environ["CARILLON_SECRET_KEYS"]], kinds), {}
        for number, port in enumerate(ports):
            app = f"dead{number}"
            registry.save_app(AppSettings(app))
            if kind == "webhooks":
                url = f"https://127.0.0.1:{port}/push"
                wanted = Provider(0, app, "hook", "production", WebhookSettings(url, ("s" * 32,), ca=ca))
            else:
                there = ApnsSettings(TOPIC, place.provider.settings.credential, "127.0.0.1", port, ca)
                wanted = Provider(0, app, "apns", "production", there)
            made[app] = registry.save_provider(wanted)
        return made


def _of_apns(app: str, number: int) -> Row:
    return Row(token(f"{app}-{number}"))


def people(place: Stage, providers: dict[str, Provider], device: Device = _of_apns) -> None:
    """A channel of `MEMBERS` with a device each in every app of `providers`, and one user `u` in the healthy one."""
    with psycopg.connect(place.urls.postgres) as db, db.cursor() as cursor:
        with cursor.copy("COPY carillon.channels (app, id, name) FROM STDIN") as rows:
            for app in providers:
                rows.write_row((app, "all", "All"))
        with cursor.copy("COPY carillon.members (app, channel, user_id, at, present) FROM STDIN") as rows:
            for app in providers:
                for n in range(MEMBERS):
                    rows.write_row((app, "all", f"{app}-{n}", 1, True))
        with cursor.copy(
            "COPY carillon.devices (app, token, platform, secret, user_id, provider_id, registered_at, active) FROM STDIN"
        ) as rows:
            for app, provider in providers.items():
                for n in range(MEMBERS):
                    rows.write_row((app, *device(app, n), f"{app}-{n}", provider.id, 1, True))
            rows.write_row((APP, "ab" * 32, "", "", "u", place.provider.id, 1, True))


def event(id: str, app: str, **fields: Any) -> dict[str, Any]:
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    common = {"v": 1, "type": "message.new", "id": id, "app": app, "at": at, "channel": {"id": "all"}}
    return common | {"message": {"id": f"m-{id}", "text": "the bells toll at noon"}, "sender": {"id": "s"}} | fields


def push(place: Stage, publisher: Publisher, number: int) -> float:
    """Seconds from one publication of the healthy app to its acceptance, `PATIENCE` at most."""
    before, began = int(place.simulator.control.counts()["accepted"]), time.monotonic()
    publisher.publish(event(f"well-{number}", APP, recipients=["u"]))
    while time.monotonic() - began < PATIENCE:
        if int(place.simulator.control.counts()["accepted"]) > before:
            break
        time.sleep(0.002)
    return time.monotonic() - began


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def latencies(
    place: Stage, publisher: Publisher, seconds: float, label: str, until: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    found, began = list[float](), time.monotonic()
    slow = []
    while time.monotonic() < began + seconds and not (found and until()):
        at = time.monotonic() - began
        found.append(push(place, publisher, time.monotonic_ns()))
        if found[-1] > 1.0:
            slow.append({"at": round(at, 1), "took": round(found[-1], 2)})
        time.sleep(0.1)
    result = {
        "pushes": len(found),
        "p50": round(percentile(found, 0.5), 4),
        "p99": round(percentile(found, 0.99), 3),
        "most": round(max(found), 3),
        "over_a_second": slow,
    }
    say(f"{label:8} {result}")
    return result


def all_expanded(client: "redis.Redis", messages: int) -> bool:
    """Whether so many messages are open, and all of them are batches by now."""
    return bool(client.hlen("carillon:open") >= messages and not client.hlen("carillon:expanding"))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        place = stack.enter_context(stage())
        identity = make_identity(Path(place.directory / "dead"), ["127.0.0.1"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.key)
        options.providers = 3 if options.dead == "origins" else options.providers
        if options.dead == "origins":
            hosts = [silent(context)]
        elif options.dead == "webhooks":
            hosts = [silent(context) for _ in range(options.providers)]
        else:
            kinds = (refusing, silent, swallowing)
            hosts = [kinds[n % len(kinds)]() for n in range(options.providers)]
        ports = [stack.enter_context(host) for host in hosts]
        if options.dead == "origins":
            fcm = stack.enter_context(SimulatorProcess(FcmSettings(record="counters", project_minute=trouble.QUOTA)))
            providers, device = trouble.troubled(place, ports[0], identity.ca.read_text(), fcm)
            people(place, providers, device)
        else:
            providers = dead_providers(place, options.dead, ports, identity.ca.read_text())
            people(place, providers)
        environ = place.environ | {"CARILLON_WEBHOOK_ALLOW": "127.0.0.0/8", "CARILLON_WEB_HOSTS": trouble.HOSTILE}
        children = Children(place.directory / "workers.log", environ)
        stack.callback(children.stop)
        for number in range(options.processes):
            children.start("worker.cli", "worker", "--concurrency", str(options.threads), "--name", f"n{number}")
        children.start("worker.cli", "beat")
        publisher = stack.enter_context(Publisher(place.urls.redis))
        client = stack.enter_context(redis.Redis.from_url(place.urls.redis))
        for number in range(5):
            push(place, publisher, number)
            children.check()
        calm = latencies(place, publisher, min(20.0, options.seconds), "calm")
        messages = -(-options.waiting // (MEMBERS * options.providers))
        for app in providers:
            publisher.publish_many(event(f"{app}-{n}", app) for n in range(messages))
        expanded = partial(all_expanded, client, len(providers) * messages)
        arriving = latencies(place, publisher, options.seconds, "arriving", expanded)
        waiting = latencies(place, publisher, options.seconds, "waiting")
        times = waiting["p50"] / calm["p50"]
        states: list[Any] = [client.hget(f"carillon:breaker:{one.id}", "reason") for one in providers.values()]
        children.check()
        return {
            "dead": options.dead,
            "providers": options.providers,
            "notifications": messages * MEMBERS * options.providers,
            "calm": calm,
            "arriving": arriving,
            "waiting": waiting,
            "open": sorted(state.decode() for state in states if state),
            "messages_waiting": client.hlen("carillon:open"),
            "wake-ups": client.llen("carillon:carillon.urgent"),
            "p50_times_calm": round(times, 2),
            "bar": {"p99_within_1_s": waiting["p99"] <= 1.0, "p50_within_a_tenth": times < 1.1},
        }


def main() -> None:
    """Measure, and print one object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulkhead", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object, the last line")
    parser.add_argument(
        "--dead", choices=("apns", "webhooks", "origins"), default="apns", help="what is dead (%(default)s)"
    )
    parser.add_argument("--providers", type=int, default=8, help="dead providers (%(default)s)")
    parser.add_argument("--waiting", type=int, default=100_000, help="notifications for them (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the trouble (%(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="worker processes (%(default)s)")
    parser.add_argument("--threads", type=int, default=8, help="tasks at once in each (%(default)s)")
    options = parser.parse_args()
    emit(measure(options), as_json=options.json)


if __name__ == "__main__":
    main()
