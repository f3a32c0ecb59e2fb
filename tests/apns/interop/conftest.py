import pytest

from worker.simulator.certificates import Identity, make_identity


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--notifications", type=int, help="how many each foreign server answers; the promise is 100000")


@pytest.fixture
def asked(request: pytest.FixtureRequest) -> int | None:
    """How many notifications were asked for; None: each server's own number, which suits an ordinary run."""
    # Where pytest is not pointed at this folder, it learns of the option too late to know it.
    total: int | None = request.config.getoption("--notifications", None)
    return total


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A server's certificate for 127.0.0.1 and its CA."""
    return make_identity(tmp_path_factory.mktemp("identity"), ("localhost", "127.0.0.1"))
