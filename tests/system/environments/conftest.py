"""A PostgreSQL that asks for passwords, for the tests beside it."""

from collections.abc import Iterator

import pytest

from tests.system.environments.postgres import PostgresServer, of_the_wheel


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """PostgreSQL 16, with few connections."""
    made = PostgresServer(tmp_path_factory.mktemp("postgres16"), of_the_wheel("pginstall"), max_connections="14")
    made.make()
    made.start()
    yield made
    made.stop()
