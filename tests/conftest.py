"""Real engines for the whole suite: one PostgreSQL and one Valkey a session, a database and an empty Redis a test.

The engines start when the first test asks for them, so that the tests of the core need none.
"""

import queue
import signal
import tempfile
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis

from tests.valkey import Valkey
from worker.database.migrate import migrate
from worker.embedded import Engines, Urls
from worker.simulator.certificates import Identity, make_identity

# What a shell has in the background, or under nohup, begins with these ignored, and so would every process of a test.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

_TEMPLATE = "carillon_template"
_numbers = count(1)


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _admin(urls: Urls, statement: str) -> None:
    with psycopg.connect(urls.postgres, dbname="postgres", autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture(scope="session")
def engine_urls() -> Iterator[Urls]:
    """Where this session's own engines are. Tests rather take `redis_url` and `postgres_url`, which are clean."""
    with tempfile.TemporaryDirectory(prefix="carillon-tests-") as directory:
        engines = Engines(Path(directory))
        yield engines.start()
        engines.stop()


@pytest.fixture(scope="session")
def _migrated(engine_urls: Urls) -> Urls:
    # Nobody needs these databases after the session, and making one waited for the disk longer than most tests take.
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        _admin(engine_urls, f"ALTER SYSTEM SET {setting} = off")
    _admin(engine_urls, "SELECT pg_reload_conf()")
    _admin(engine_urls, f"CREATE DATABASE {_TEMPLATE}")
    migrate(_with_database(engine_urls.postgres, _TEMPLATE))
    return engine_urls


class _Databases:
    """Databases made from the template ahead of the tests that want them, and dropped behind them: both in one thread."""

    def __init__(self, urls: Urls) -> None:
        self._urls = urls
        self._ready: queue.Queue[str] = queue.Queue(maxsize=2)
        self._used: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="databases", daemon=True)
        self._thread.start()

    def take(self) -> str:
        """Its URL; `done` with it later."""
        return self._ready.get(timeout=60)

    def done(self, url: str) -> None:
        self._used.put(url)

    def close(self) -> None:
        self._used.put(None)
        self._thread.join(60)

    def _run(self) -> None:
        for _ in range(self._ready.maxsize):
            self._ready.put(_create(self._urls, _TEMPLATE))
        while (url := self._used.get()) is not None:
            self._ready.put(_create(self._urls, _TEMPLATE))
            _drop(self._urls, url)


def _create(urls: Urls, template: str) -> str:
    name = f"test_{next(_numbers)}"
    _admin(urls, f"CREATE DATABASE {name} TEMPLATE {template}")
    return _with_database(urls.postgres, name)


def _drop(urls: Urls, url: str) -> None:
    _admin(urls, f"DROP DATABASE {urlsplit(url).path[1:]} WITH (FORCE)")


@pytest.fixture(scope="session")
def _databases(_migrated: Urls) -> Iterator[_Databases]:
    made = _Databases(_migrated)
    yield made
    made.close()


@pytest.fixture
def postgres_url(_databases: _Databases) -> Iterator[str]:
    """A database of this test's own, its schema up to date."""
    url = _databases.take()
    yield url
    _databases.done(url)


@pytest.fixture
def empty_postgres_url(engine_urls: Urls) -> Iterator[str]:
    """A database of this test's own without any schema."""
    url = _create(engine_urls, "template0")
    yield url
    _drop(engine_urls, url)


@pytest.fixture
def redis_url(engine_urls: Urls) -> str:
    """The session's Valkey, emptied."""
    with redis.Redis.from_url(engine_urls.redis) as client:
        client.flushall()
    return engine_urls.redis


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey of this test's own, to be killed at will."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A certificate for `localhost` by an authority that no system knows."""
    return make_identity(tmp_path_factory.mktemp("ours"), ["localhost", "127.0.0.1"])
