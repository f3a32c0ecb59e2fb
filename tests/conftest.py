"""Real engines for the whole suite: one PostgreSQL and one Valkey a session, a database and an empty Redis a test.

The engines start when the first test asks for them, so that the tests of the core need none.
"""

import gc
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from config.seldom import Seldom
from tests.databases import Databases, admin, create, drop, named
from tests.valkey import Valkey, emptied
from worker.database.migrate import migrate
from worker.embedded import Engines, Urls
from worker.simulator.certificates import Identity, make_identity

# Without bytecode each process of a test spends two seconds on compiling what it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What a shell has in the background, or under nohup, begins with these ignored, and so would every process of a test.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

# How long an example takes is a matter of the machine.
settings.register_profile("any machine", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# The tests' own objects are many and stay. With the usual thresholds a third of a run's CPU goes into looking at them.
gc.set_threshold(20_000, 20, 50)

TEMPLATE = "carillon_template"
#: The files that take longest. They begin first, so that at the end no process waits for one that is still at such a file.
LONGEST = (
    *("test_outage_trial.py", "test_benchmarks.py", "test_benchmarks_of_size.py", "test_chaos.py", "test_browser.py"),
    *("test_own_system.py", "test_whole_systems.py", "test_demo_run.py"),
    *("test_brokers.py", "test_failover_of_workers.py", "test_failover_of_publishers.py", "test_failover_of_all.py"),
)
#: After these: those that start much and wait much come before those that only calculate.
FOLDERS = ("system", "chaos", "integration", "unit")


#: Where slow tests are: nobody looks for them elsewhere.
SLOW = ("system", "chaos")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.get_closest_marker("slow") and item.path.relative_to(here).parts[0] not in SLOW:
            raise pytest.UsageError(f"{item.nodeid} is slow: it belongs into one of {', '.join(SLOW)}")

    def place(item: pytest.Item) -> tuple[int, int]:
        folder = item.path.relative_to(here).parts[0]
        return (
            LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST),
            FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS),
        )

    items.sort(key=place)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


def pytest_xdist_auto_num_workers() -> int:
    """Two more than cores, four at most: systems that a test starts are waited for, and the cores have time for others."""
    return min((os.cpu_count() or 1) + 2, 4)


@pytest.fixture(autouse=True)
def _lines_of_earlier_tests() -> None:
    """They keep no line of this test out of its log."""
    Seldom.last.clear()


@pytest.fixture(scope="session")
def engine_urls() -> Iterator[Urls]:
    """Where this session's own engines are. Tests rather take `redis_url` and `postgres_url`, which are clean."""
    with tempfile.TemporaryDirectory(prefix="carillon-tests-") as directory:
        engines = Engines(Path(directory))
        yield engines.start()
        engines.stop()


@pytest.fixture(scope="session")
def migrated(engine_urls: Urls) -> Urls:
    """The same, with a template that has the schema."""
    # Nobody needs these databases after the session, and making one waited for the disk longer than most tests take.
    # Autovacuum comes at any time, and changes what a statement costs.
    for setting in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
        admin(engine_urls.postgres, f"ALTER SYSTEM SET {setting} = off")
    admin(engine_urls.postgres, "SELECT pg_reload_conf()")
    admin(engine_urls.postgres, f"CREATE DATABASE {TEMPLATE}")
    migrate(named(engine_urls.postgres, TEMPLATE))
    return engine_urls


@pytest.fixture(scope="session")
def _databases(migrated: Urls) -> Iterator[Databases]:
    made = Databases(migrated.postgres, TEMPLATE)
    yield made
    made.close()


@pytest.fixture
def postgres_url(_databases: Databases) -> Iterator[str]:
    """A database of this test's own, its schema up to date."""
    with _databases.one() as url:
        yield url


@pytest.fixture
def empty_postgres_url(engine_urls: Urls) -> Iterator[str]:
    """A database of this test's own without any schema."""
    url = create(engine_urls.postgres, "template0")
    yield url
    drop(url)


@pytest.fixture
def redis_url(engine_urls: Urls) -> str:
    """The session's Valkey, emptied, and without a limit that a test has left."""
    return emptied(engine_urls.redis)


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
