from collections.abc import Iterator

import pytest

from tests.integration.security.tls import Front, postgres_socket, tcp, unix
from tests.valkey import Valkey
from worker.embedded import Urls
from worker.simulator.certificates import Identity, make_identity


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A certificate for `localhost` by another authority."""
    return make_identity(tmp_path_factory.mktemp("strange"), ["localhost"])


@pytest.fixture(scope="session")
def misnamed(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A certificate for another host."""
    return make_identity(tmp_path_factory.mktemp("misnamed"), ["redis.example"])


@pytest.fixture
def redis_front(identity: Identity, valkey: Valkey) -> Iterator[Front]:
    with Front(identity, tcp(valkey.port)) as front:
        yield front


@pytest.fixture
def postgres_front(identity: Identity, engine_urls: Urls) -> Iterator[Front]:
    with Front(identity, unix(postgres_socket(engine_urls.postgres)), postgres=True) as front:
        yield front
