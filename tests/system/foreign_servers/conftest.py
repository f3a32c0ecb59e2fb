import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--notifications", type=int, help="how many each foreign server answers; the promise is 100000")


@pytest.fixture
def asked(request: pytest.FixtureRequest) -> int | None:
    """How many notifications were asked for; None: each server's own number, which suits an ordinary run."""
    # Where pytest is not pointed at this folder, it learns of the option too late to know it.
    total: int | None = request.config.getoption("--notifications", None)
    return total
