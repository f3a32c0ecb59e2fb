"""A Valkey that a test may kill and start again, on the same port with the same data."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import redis

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

    def start(self) -> None:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._home), "--save", ""]
        self._process = subprocess.Popen(
            [self._program, *arguments, "--appendonly", "yes", *self._options], stdout=subprocess.DEVNULL
        )
        deadline = monotonic() + PATIENCE
        while not self._answers():
            assert monotonic() < deadline, "valkey-server did not come up"
            sleep(0.01)

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


def emptied(url: str) -> str:
    """The same server with nothing in it, and without a limit that a test has left."""
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory", 0)
        client.flushall()
    return url
