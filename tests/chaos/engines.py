"""What is done to Redis and Postgres. The supervisor of the embedded engines starts one that dies, as a service manager would."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psutil
import psycopg
import redis

from worker.embedded import Urls
from worker.embedded.home import Home

Name = Literal["valkey", "postgres"]


class Hands:
    """On the engines of one data directory."""

    def __init__(self, data_dir: Path, urls: Urls) -> None:
        self._home, self.urls = Home.at(data_dir), urls

    def pids(self) -> dict[str, int]:
        """Of Redis' processes, by a name."""
        try:
            return {"valkey": self.pid("valkey")}
        except FileNotFoundError:  # it is being started again
            return {}

    def pid(self, engine: Name) -> int:
        return int((self._home.pids / engine).read_text().split()[0])

    def kill(self, engine: Name) -> None:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            os.kill(self.pid(engine), signal.SIGKILL)

    @contextmanager
    def paused(self, engine: Name) -> Iterator[None]:
        """Every process of the engine is stopped, its sockets stay open."""
        main = psutil.Process(self.pid(engine))
        main.suspend()
        stopped = [main, *main.children(recursive=True)]
        for process in stopped[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            yield
        finally:
            for process in reversed(stopped):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Redis has no memory left: every write that needs some is refused."""
        self._insist_on_maxmemory(1)
        try:
            yield
        finally:
            self._insist_on_maxmemory(0)

    @contextmanager
    def limited(self, spare: int, app: str) -> Iterator[int]:
        """Redis, where it has this app, may take so many octets more than it has; gives the limit."""
        with redis.Redis.from_url(self.urls.redis, socket_timeout=5) as client:
            limit = int(client.info("memory")["used_memory"]) + spare
        self._insist_on_maxmemory(limit)
        try:
            yield limit
        finally:
            self._insist_on_maxmemory(0)

    def used(self, app: str) -> int:
        """Octets that Redis uses where it has this app."""
        with redis.Redis.from_url(self.urls.redis, socket_timeout=5) as client:
            return int(client.info("memory")["used_memory"])

    def _insist_on_maxmemory(self, octets: int) -> None:
        ends = time.monotonic() + 20
        while True:
            try:
                with redis.Redis.from_url(self.urls.redis, socket_timeout=5) as client:
                    client.config_set("maxmemory", octets)
                return
            except redis.RedisError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.1)

    @contextmanager
    def no_connections(self) -> Iterator[None]:
        """Takes every connection that Postgres gives, and ends those of everybody else."""
        released = threading.Event()
        holder = threading.Thread(target=self._hold, args=(released,))
        holder.start()
        try:
            yield
        finally:
            released.set()
            holder.join()

    def _hold(self, released: threading.Event) -> None:
        held: list[psycopg.Connection] = []
        while not released.wait(0.01):
            try:
                held.append(psycopg.connect(self.urls.postgres, autocommit=True, connect_timeout=2))
            except psycopg.OperationalError:
                self._end_others(held)
        for one in held:
            with contextlib.suppress(psycopg.Error):
                one.close()

    def _end_others(self, held: list[psycopg.Connection]) -> None:
        with contextlib.suppress(psycopg.Error, IndexError):
            held[0].execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> ALL(%s)",
                ([one.info.backend_pid for one in held],),
            )
