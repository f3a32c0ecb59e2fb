"""Real engines for the whole suite: one PostgreSQL and one Valkey a session, a database and an empty Redis a test.

The engines start when the first test asks for them, so that the tests of the core need none.
"""

import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis

from worker.embedded import Engines, Urls
from worker.stores.migrate import migrate

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
    _admin(engine_urls, f"CREATE DATABASE {_TEMPLATE}")
    migrate(_with_database(engine_urls.postgres, _TEMPLATE))
    return engine_urls


def _database(urls: Urls, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    _admin(urls, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _with_database(urls.postgres, name)
    _admin(urls, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(_migrated: Urls) -> Iterator[str]:
    """A database of this test's own, its schema up to date."""
    yield from _database(_migrated, _TEMPLATE)


@pytest.fixture
def empty_postgres_url(engine_urls: Urls) -> Iterator[str]:
    """A database of this test's own without any schema."""
    yield from _database(engine_urls, "template0")


@pytest.fixture
def redis_url(engine_urls: Urls) -> str:
    """The session's Valkey, emptied."""
    with redis.Redis.from_url(engine_urls.redis) as client:
        client.flushall()
    return engine_urls.redis
