"""Many apps over partitions, on one Valkey or on a cluster of several: what a push costs."""

import hashlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg
import redis

from benchmarks.support.figures import say
from benchmarks.support.processes import Children, costs
from benchmarks.support.stage import TOPIC, Stage, stage
from benchmarks.support.system import System, simulated
from producers import Publisher
from producers.partitions import LAYOUT_KEY, UNTAGGED, Layout, encoded, tags
from worker.core.model import AppSettings, Provider
from worker.database.postgres import open_pool
from worker.database.registry import Registry
from worker.embedded.valkey import binary
from worker.providers import kinds
from worker.providers.apns.settings import ApnsSettings
from worker.state.redis import connect

APPS: Final = 16
#: Of each app: channels of 50, and conversations of two.
CHANNELS: Final = 2
CONVERSATIONS: Final = 30
MEMBERS: Final = 50
_SLOTS: Final = 16_384
_PATIENCE: Final = 30.0
_GENERATION: Final = 2


#: Partitions, and servers of Valkey.
Variant = tuple[int, int]


@dataclass(frozen=True)
class Load:
    """Messages of one sort. `channels`: of an app; `members`: of a channel, the sender included."""

    name: str
    channels: int
    members: int

    def events(self, count: int, run: str) -> list[dict[str, Any]]:
        """Messages of all apps in turn."""
        at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return [self._event(n, run, at) for n in range(count)]

    def _event(self, number: int, run: str, at: str) -> dict[str, Any]:
        app, channel = number % APPS, number // APPS % self.channels
        return {
            "v": 1,
            "type": "message.new",
            "id": f"{run}-{number}",
            "app": app_name(app),
            "at": at,
            "channel": {"id": f"{self.name}:{channel}"},
            "message": {"id": f"m-{run}-{number}", "text": "the bells toll at noon, come and listen by the old tower"},
            "sender": {"id": self.user(channel, 0), "name": "Name of somebody"},
        }

    def user(self, channel: int, number: int) -> str:
        return f"{self.name}-{channel}-{number}"


LOADS: Final = (Load("channels_of_50", CHANNELS, MEMBERS), Load("direct_messages", CONVERSATIONS, 2))


#: Messages of a round.
MESSAGES: Final = {"channels_of_50": 480, "direct_messages": 4_800}
_WARM_UPS: Final = 2
#: Seconds over which an idle system is measured, and from the end of a load until it counts as idle.
IDLE: Final = 10.0
REST: Final = 5.0
#: CPU a push, times that of one partition.
BAR: Final = 1.1


def app_name(number: int) -> str:
    return f"app-{number}"


@contextmanager
def placed(partitions: int, servers: int, processes: int, threads: int = 8) -> Iterator[System]:
    """A system of so many partitions on so many servers of Valkey, gone when the block ends.

    Several servers are a cluster. Celery's broker is a Valkey of its own then, and counts as Valkey.
    """
    with ExitStack() as stack:
        place = stack.enter_context(stage())
        nodes = stack.enter_context(cluster(servers)) if servers > 1 else None
        url = nodes.url if nodes else place.urls.redis
        client, layout = connect(url), UNTAGGED
        stack.callback(client.close)
        environ = place.environ | {"CARILLON_REDIS_URL": url}
        if partitions > 1 or nodes:
            layout = Layout(_GENERATION, tags(partitions, _GENERATION))
            client.set(LAYOUT_KEY, encoded(layout))
            environ["CARILLON_PARTITIONS"] = str(partitions)
        if nodes:
            environ["CARILLON_BROKER_URL"] = place.urls.redis
        people(place)
        children = Children(place.directory / "workers.log", environ)
        stack.callback(children.stop)
        workers = [
            children.start("worker.cli", "worker", "--concurrency", str(threads), "--name", f"n{number}")
            for number in range(processes)
        ]
        publisher = stack.enter_context(Publisher(url))
        # Without beat a worker ticks, so that nothing begins while it is measured.
        groups = {"worker": workers, **place.pids()}
        groups["valkey"] = [*groups["valkey"], *(nodes.pids if nodes else ())]

        def idle() -> bool:
            prefixes = [layout.prefix(number) for number in range(layout.partitions)]
            return not any(
                client.xlen(prefix + "events") or client.hlen(prefix + "open") or client.llen(prefix + "accounts")
                for prefix in prefixes
            )

        yield System(publisher.publish_many, simulated(place), idle, children, groups)


def people(place: Stage) -> None:
    """The apps with a provider each, their channels, members and devices, written into the database."""
    with open_pool(place.urls.postgres, size=1) as pool:
        registry = Registry(pool, [place.environ["CARILLON_SECRET_KEYS"]], kinds)
        credential = place.provider.settings.credential
        there = ApnsSettings(TOPIC, credential, "localhost", place.simulator.port, place.simulator.ca_pem)
        providers = []
        for number in range(APPS):
            registry.save_app(AppSettings(app_name(number)))
            providers.append(registry.save_provider(Provider(0, app_name(number), "apns", "production", there)).id)
    everybody = [
        (app_name(app), load, channel, member, providers[app])
        for app in range(APPS)
        for load in LOADS
        for channel in range(load.channels)
        for member in range(load.members)
    ]
    with psycopg.connect(place.urls.postgres) as db, db.cursor() as cursor:
        with cursor.copy("COPY carillon.channels (app, id, name) FROM STDIN") as rows:
            for app, load, channel, member, _ in everybody:
                if member == 0:
                    rows.write_row((app, f"{load.name}:{channel}", None if load.members == 2 else "Channel"))
        with cursor.copy("COPY carillon.members (app, channel, user_id, at, present) FROM STDIN") as rows:
            for app, load, channel, member, _ in everybody:
                rows.write_row((app, f"{load.name}:{channel}", load.user(channel, member), 1, True))
        with cursor.copy(
            "COPY carillon.devices (app, token, user_id, provider_id, registered_at, active) FROM STDIN"
        ) as rows:
            for app, load, channel, member, provider in everybody:
                user = load.user(channel, member)
                token = "a" + hashlib.sha256(f"{app} {user}".encode()).hexdigest()[1:]
                rows.write_row((app, token, user, provider, 1, True))
    place.sql("VACUUM ANALYZE carillon.members", "VACUUM ANALYZE carillon.devices", "VACUUM ANALYZE carillon.channels")


def run(system: System, load: Load, messages: int, idle: Mapping[str, float] | None = None) -> dict[str, Any]:
    """CPU microseconds a push by process, and the rate, of so many messages at once.

    What the system uses anyway does not count: `idle`, CPU milliseconds a second by process. Nor do this process's looks at it.
    """
    pushes = messages * (load.members - 1)
    wanted, before, own, began = system.accepted() + pushes, costs(system.groups), time.process_time(), time.time()
    system.publish(load.events(messages, f"{load.name}-{time.monotonic_ns():x}"))
    published = time.process_time() - own
    system.wait(lambda: system.accepted() >= wanted, "all pushes accepted")
    took = time.time() - began
    system.wait(system.idle, "an idle system")
    after, seconds = costs(system.groups), time.time() - began
    if system.accepted() != wanted:
        raise RuntimeError(f"{system.accepted() - wanted} pushes more than there are devices")
    used = {name: after[name] - before[name] - (idle or {}).get(name, 0.0) * seconds / 1e3 for name in _counted(system)}
    cpu = {name: round(part * 1e6 / pushes, 1) for name, part in {"publisher": published, **used}.items()}
    return {"rate": round(pushes / took, 1), "cpu_us_per_push": cpu, "all": round(sum(cpu.values()), 1)}


def _counted(system: System) -> list[str]:
    return [name for name in system.groups if name != "simulator"]


def idle_costs(systems: Sequence[System], rest: float, idle: float) -> list[dict[str, float]]:
    """CPU milliseconds a second by process, of each system over `idle` seconds without a message, after `rest` such seconds."""
    time.sleep(rest)
    before, began = [costs(system.groups) for system in systems], time.time()
    time.sleep(idle)
    after, seconds = [costs(system.groups) for system in systems], time.time() - began
    return [
        {name: round((late[name] - early[name]) * 1e3 / seconds, 2) for name in _counted(system)}
        for system, early, late in zip(systems, before, after, strict=True)
    ]


def measure(
    variants: Sequence[Variant],
    repeats: int,
    rounds: int,
    scale: float,
    *,
    processes: int = 2,
    rest: float = REST,
    idle: float = IDLE,
) -> dict[str, Any]:
    """By variant and load, medians over repeats of so many rounds each, and ratios to one partition.

    Variants of as many servers run at once, and their rounds in turn: what else the machine does meets all of them.
    """
    found: dict[Variant, dict[str, list[dict[str, Any]]]] = {one: {} for one in variants}
    idle_cost: dict[Variant, list[dict[str, float]]] = {one: [] for one in variants}
    for _ in range(repeats):
        for servers in dict.fromkeys(servers for _, servers in variants):
            with ExitStack() as stack:
                systems = {one: stack.enter_context(placed(*one, processes)) for one in variants if one[1] == servers}
                for load in LOADS:
                    for system in systems.values():
                        for _ in range(_WARM_UPS):
                            run(system, load, APPS * 4)
                for variant, used in zip(systems, idle_costs([*systems.values()], rest, idle), strict=True):
                    idle_cost[variant].append(used)
                    say(f"{variant[0]} partitions, {servers} servers, idle, CPU ms a second: {used}")
                for load in LOADS:
                    messages = max(APPS, int(MESSAGES[load.name] * scale))
                    for _ in range(rounds):
                        for variant, system in systems.items():
                            one = run(system, load, messages, idle_cost[variant][-1])
                            found[variant].setdefault(load.name, []).append(one)
                            say(f"{variant[0]} partitions, {servers} servers, {load.name:16} {one}")
    return {
        "variants": [
            {"partitions": partitions, "servers": servers, "loads": {load.name: _of(one, load) for load in LOADS}}
            | {"idle_cpu_ms_per_second": _median(idle_cost[partitions, servers])}
            | {"times_one_partition": _times(found, (partitions, servers))}
            for (partitions, servers), one in found.items()
        ],
        "within_bar": all(ratio <= BAR for variant in found for ratio in _times(found, variant).values()),
    }


def _median(idle: Sequence[dict[str, float]]) -> dict[str, float]:
    by_process = {name: round(median(one[name] for one in idle), 1) for name in idle[0]}
    return by_process | {"all": round(sum(by_process.values()), 1)}


def _of(found: dict[str, list[dict[str, Any]]], load: Load) -> dict[str, Any]:
    runs = found[load.name]
    return {
        "rate": round(median(one["rate"] for one in runs)),
        "cpu_us_per_push": {
            name: round(median(one["cpu_us_per_push"][name] for one in runs), 1) for name in runs[0]["cpu_us_per_push"]
        },
        "all": round(median(one["all"] for one in runs), 1),
    }


def _times(found: dict[Variant, dict[str, list[dict[str, Any]]]], variant: Variant) -> dict[str, float]:
    """CPU a push, times that of one partition on as many servers, by load."""
    one = found.get((1, variant[1]))
    if one is None:
        return {}
    return {load.name: round(_of(found[variant], load)["all"] / _of(one, load)["all"], 3) for load in LOADS}


@dataclass(frozen=True)
class Nodes:
    """A running cluster."""

    url: str
    pids: Sequence[int]


@contextmanager
def cluster(count: int) -> Iterator[Nodes]:
    """So many primaries without replicas on loopback, with equal ranges of the slots, gone when the block ends."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="carillon-cluster-")))
        ports, pids = [], []
        for number in range(count):
            port, bus = _free_port(), _free_port()
            directory = home / str(number)
            directory.mkdir()
            options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", ""]
            options += ["--appendonly", "yes", "--cluster-enabled", "yes", "--cluster-port", str(bus)]
            process = subprocess.Popen([str(binary()), *options], stdout=subprocess.DEVNULL)
            stack.callback(_stop, process)
            ports.append((port, bus))
            pids.append(process.pid)
        clients = [stack.enter_context(redis.Redis(port=port)) for port, _ in ports]
        _until(lambda: all(_answers(client) for client in clients))
        for number, client in enumerate(clients):
            first, end = number * _SLOTS // count, (number + 1) * _SLOTS // count
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for port, bus in ports[1:]:
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", port, bus)
        _until(lambda: all(_complete(client, count) for client in clients))
        hosts = ",".join(f"127.0.0.1:{port}" for port, _ in ports)
        yield Nodes(f"redis+cluster://{hosts}", pids)


def _complete(client: "redis.Redis", count: int) -> bool:
    info: Any = client.cluster("INFO")
    return bool(info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == count)


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _until(condition: Any) -> None:
    ends = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError("the cluster did not begin")
        time.sleep(0.05)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(_PATIENCE)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
