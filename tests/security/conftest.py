from collections.abc import Iterator

import pytest

from tests.producers.valkey import Valkey
from tests.security.tls import Front, postgres_socket, tcp, unix
from worker.embedded import Urls
from worker.simulator.certificates import Identity, make_identity


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A certificate for `localhost` by an authority that no system knows."""
    return make_identity(tmp_path_factory.mktemp("ours"), ["localhost", "127.0.0.1"])


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A certificate for `localhost` by another authority."""
    return make_identity(tmp_path_factory.mktemp("strange"), ["localhost"])


@pytest.fixture(scope="session")
def misnamed(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A certificate for another host."""
    return make_identity(tmp_path_factory.mktemp("misnamed"), ["redis.example"])


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey of this test's own."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_front(identity: Identity, valkey: Valkey) -> Iterator[Front]:
    with Front(identity, tcp(valkey.port)) as front:
        yield front


@pytest.fixture
def postgres_front(identity: Identity, engine_urls: Urls) -> Iterator[Front]:
    with Front(identity, unix(postgres_socket(engine_urls.postgres)), postgres=True) as front:
        yield front
