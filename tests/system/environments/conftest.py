"""Servers for the tests of this folder: a PostgreSQL that asks for passwords, and a Valkey behind Sentinels."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.system.environments.postgres import PostgresServer, of_the_wheel
from tests.valkey import Watched


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """PostgreSQL 16, with few connections."""
    made = PostgresServer(tmp_path_factory.mktemp("postgres16"), of_the_wheel("pginstall"), max_connections="14")
    made.make()
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A primary with replicas, and three Sentinels."""
    with ExitStack() as stack:
        yield Watched(tmp_path_factory.mktemp("watched"), stack)
