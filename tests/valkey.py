"""A Valkey that a test may kill and start again, on the same port with the same data; with Sentinels, or as a cluster."""

import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.processes import PATIENCE
from worker.embedded.valkey import binary


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Valkey:
    """One server process on 127.0.0.1 with AOF. `options` are given to it as on its command line; `program`: another server."""

    def __init__(self, home: Path, *options: str, program: str | None = None) -> None:
        self._program = program or str(binary())
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._home = home
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def client(self) -> redis.Redis:
        """A client of this process, whatever its role is, that tries once."""
        return redis.Redis(port=self.port, protocol=2, socket_timeout=PATIENCE, retry=Retry(NoBackoff(), 0))

    def ask(self, *command: Any) -> Any:
        """The answer of this process to one command."""
        with self.client() as client:
            return client.execute_command(*command)

    def role(self) -> str:
        """`master`, `slave`, or '' while it does not answer."""
        try:
            return str(self.ask("ROLE")[0].decode())
        except redis.RedisError:
            return ""

    def start(self) -> None:
        self._process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL)
        deadline = monotonic() + PATIENCE
        while not self._answers():
            assert monotonic() < deadline, "valkey-server did not come up"
            sleep(0.01)

    def _command(self) -> list[str]:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._home), "--save", ""]
        return [self._program, *arguments, "--appendonly", "yes", *self._options]

    def bus(self) -> int:
        """The port on which nodes of a cluster speak to this one."""
        return int(self._options[self._options.index("--cluster-port") + 1])

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None

    def _answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, protocol=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@contextmanager
def cluster(home: Path) -> Iterator[Valkey]:
    """A Valkey in cluster mode that has all slots, and so takes commands."""
    # Its second port is else 10,000 higher, which there need not be.
    server = Valkey(home, "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    server.start()
    try:
        with redis.Redis(port=server.port) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        yield server
    finally:
        server.stop()


def wait_until(condition: Callable[[], Any], what: str) -> None:
    """Returns once it holds; a fault of Redis, or an answer of another role, counts as no."""
    deadline = monotonic() + PATIENCE
    while True:
        try:
            if condition():
                return
        except (redis.RedisError, LookupError):
            pass
        assert monotonic() < deadline, what
        sleep(0.02)


#: Milliseconds after which a primary that is silent counts as dead.
DOWN: int = 1000


#: Milliseconds between what a Sentinel does again and again: else a test waits for the next look at a replica, each 10 s.
_PERIODS = {
    "info-period": 500,
    "ping-period": 200,
    "publish-period": 200,
    "ask-period": 200,
    "min-link-reconnect-period": 1000,
}


class Watched:
    """A primary with replicas, and three Sentinels that know it as `bell`. `down`: as of `DOWN`."""

    def __init__(self, home: Path, stack: ExitStack, *options: str, replicas: int = 1, down: int = DOWN) -> None:
        self.servers = [_begun(home / f"server-{n}", stack, *options) for n in range(1 + replicas)]
        first, *others = self.servers
        for other in others:
            other.ask("REPLICAOF", "127.0.0.1", first.port)
            wait_until(partial(_follows, other), "a replica does not follow")
        self.sentinels = [_begun_sentinel(home / f"sentinel-{n}", stack, first.port, down) for n in range(3)]
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/0?service=bell"
        self.rest()

    def primary(self) -> Valkey:
        """The one that the Sentinels name."""
        port = int(self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "bell")[1])
        return next(one for one in self.servers if one.port == port)

    def rest(self) -> None:
        """Waits until both run, one follows the other, and every Sentinel knows all of it."""
        wait_until(self.at_rest, "Sentinels do not come to rest")

    def at_rest(self) -> bool:
        """Whether all of that holds now; may raise redis.RedisError and LookupError."""
        primaries = {int(one.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "bell")[1]) for one in self.sentinels}
        known = [_pairs(one.ask("SENTINEL", "MASTER", "bell")) for one in self.sentinels]
        [port] = primaries if len(primaries) == 1 else [0]
        replicas = [one for one in self.servers if one.port != port]
        return (
            all(int(one[b"num-slaves"]) == len(replicas) and one[b"num-other-sentinels"] == b"2" for one in known)
            and all(one[b"flags"] == b"master" for one in known)
            and all(one.ask("ROLE")[3] == b"connected" for one in replicas)
            and self.primary().role() == "master"
        )

    def fail_over(self, *how: str) -> None:
        """A planned failover: `COORDINATED`, in which the old primary takes part, or a plain one."""
        before = self.primary()
        self.sentinels[0].ask("SENTINEL", "FAILOVER", "bell", *how)
        wait_until(lambda: self.primary() is not before, "no failover")


def _follows(replica: Valkey) -> bool:
    return bool(replica.ask("ROLE")[3] == b"connected")


def _pairs(answer: Any) -> dict[Any, Any]:
    return answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))


def _begun(home: Path, stack: ExitStack, *options: str) -> Valkey:
    home.mkdir(parents=True)
    # A primary else waits 5 s for further replicas before it gives the first what it has.
    server = Valkey(home, *options, "--repl-diskless-sync-delay", "0")
    server.start()
    stack.callback(server.stop)
    return server


def _begun_sentinel(home: Path, stack: ExitStack, port: int, down: int) -> Valkey:
    home.mkdir(parents=True)
    lines = [
        f"sentinel monitor bell 127.0.0.1 {port} 2",
        f"sentinel down-after-milliseconds bell {down}",
        "sentinel failover-timeout bell 6000",
    ]
    server = Sentinel(home)
    (home / "sentinel.conf").write_text("\n".join([f"port {server.port}", "bind 127.0.0.1", f"dir {home}", *lines, ""]))
    server.start()
    server.ask("SENTINEL", "DEBUG", *(word for period in _PERIODS.items() for word in period))
    stack.callback(server.stop)
    return server


class Sentinel(Valkey):
    """One Sentinel, with its `sentinel.conf` in its home."""

    def _command(self) -> list[str]:
        return [self._program, str(self._home / "sentinel.conf"), "--sentinel"]


class Cluster:
    """Three primaries, each with a replica, made without the command line tool.

    `options` are every node's, `down` as of `DOWN`.
    """

    def __init__(self, home: Path, stack: ExitStack, *options: str, replicas: int = 1, down: int = DOWN) -> None:
        self.nodes: list[Valkey] = []
        for n in range(3 * (1 + replicas)):
            bus = str(free_port())
            mode = ("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", str(down))
            self.nodes.append(_begun(home / f"node-{n}", stack, *mode, *options))
            self.nodes[-1].ask("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
            if n:
                first = self.nodes[0]
                self.nodes[-1].ask("CLUSTER", "MEET", "127.0.0.1", first.port, first.bus())
        primaries, others = self.nodes[:3], self.nodes[3:]
        for n, node in enumerate(primaries):
            node.ask("CLUSTER", "ADDSLOTSRANGE", n * 5461, 16383 if n == 2 else n * 5461 + 5460)
        for n, node in enumerate(others):
            followed = primaries[n % 3].ask("CLUSTER", "MYID")
            wait_until(partial(node.ask, "CLUSTER", "REPLICATE", followed), "a node is not known")
        self.url = f"redis+cluster://127.0.0.1:{primaries[0].port},127.0.0.1:{primaries[1].port}"
        self.rest()

    def owner(self, slot: int) -> Valkey:
        """The node that owns the slot, as the most nodes say that answer."""
        votes = [port for node in self.nodes if (port := self._owner_by(node, slot))]
        port = max(set(votes), key=votes.count)
        return next(one for one in self.nodes if one.port == port)

    def replica_of(self, node: Valkey) -> Valkey:
        """The replica of a primary, once it has all that the primary has."""
        found: list[Valkey] = []

        def follows() -> bool:
            roles = [(one, one.ask("ROLE")) for one in self.nodes if one is not node and one.role() == "slave"]
            found[:] = [one for one, role in roles if role[2] == node.port and role[3] == b"connected"]
            return bool(found)

        wait_until(follows, "no replica follows it")
        return found[0]

    def move_keys(self, slot: int, meanwhile: Callable[[], None]) -> None:
        """Moves the slot to another primary key by key. Half of the keys are there when `meanwhile` is called."""
        source = self.owner(slot)
        target = next(node for node in primaries_of(self.nodes) if node is not source)
        from_id, to_id = source.ask("CLUSTER", "MYID"), target.ask("CLUSTER", "MYID")
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", from_id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", to_id)
        there = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1_000)
        for n, key in enumerate(there):
            if n == (len(there) + 1) // 2:
                meanwhile()
            source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5_000)
        while left := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1_000):
            for key in left:
                source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5_000)
        for node in (target, source, *(one for one in primaries_of(self.nodes) if one not in (source, target))):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", to_id)
        wait_until(lambda: self.owner(slot) is target, "the slot does not get there")

    def rest(self) -> None:
        """Waits until all nodes answer, agree, and every replica follows."""
        wait_until(self.at_rest, "the cluster does not come to rest")

    def _owner_by(self, node: Valkey, slot: int) -> int:
        try:
            slots = node.ask("CLUSTER", "SLOTS")
        except redis.RedisError:
            return 0
        return next((int(server[1]) for first, last, server, *_ in slots if first <= slot <= last), 0)

    def at_rest(self) -> bool:
        """Whether all of that holds now; may raise redis.RedisError and LookupError."""
        views = []
        for node in self.nodes:
            if _info(node)["cluster_state"] != "ok" or (node.role() == "slave" and node.ask("ROLE")[3] != b"connected"):
                return False
            slots = node.ask("CLUSTER", "SLOTS")
            views.append(sorted((one[0], one[1], tuple(sorted(server[1] for server in one[2:]))) for one in slots))
        known = {port for _, _, ports in views[0] for port in ports}
        return all(view == views[0] for view in views) and known == {node.port for node in self.nodes}


def _info(node: Valkey) -> dict[str, str]:
    answer = node.ask("CLUSTER", "INFO")
    if isinstance(answer, dict):
        return answer
    return dict(line.split(":", 1) for line in answer.decode().split("\r\n") if ":" in line)


def primaries_of(nodes: Sequence[Valkey]) -> list[Valkey]:
    return [one for one in nodes if one.role() == "master"]


def emptied(url: str) -> str:
    """The same server with nothing in it, and without a limit that a test has left."""
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory", 0)
        client.flushall()
    return url
