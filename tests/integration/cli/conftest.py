"""Commands run in this process, on a test's own engines."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner, Result

from config.settings import get_settings
from tests.integration.pipeline.harness import Pipeline
from tests.integration.pipeline.keys import new_key
from tests.integration.pipeline.test_device_calls import working
from worker.cli._commands import app
from worker.database.postgres import open_pool
from worker.database.registry import Registry
from worker.providers import kinds
from worker.simulator import Key, Settings, SimulatorThread
from worker.state.redis import connect

TOPIC = "io.team.App"


@dataclass
class Cli:
    """`run` a command as a person would type it; `ok` also expects that it goes well."""

    postgres_url: str
    redis_url: str
    keys: list[str]
    setenv: Callable[[str, str], None] = field(repr=False)

    def run(self, *arguments: object, typed: str | None = None) -> Result:
        self.setenv("CARILLON_SECRET_KEYS", ",".join(self.keys))
        get_settings.cache_clear()
        return CliRunner().invoke(app, [str(one) for one in arguments], input=typed)

    def ok(self, *arguments: object, typed: str | None = None) -> str:
        done = self.run(*arguments, typed=typed)
        assert done.exit_code == 0, done.output
        return done.stdout

    def json(self, *arguments: object) -> Any:
        return json.loads(self.ok(*arguments, "--json"))

    def refused(self, *arguments: object) -> str:
        """The one message of a command that was refused: exit code 2, nothing said but why."""
        done = self.run(*arguments)
        assert done.exit_code == 2, (done.exit_code, done.output)
        assert done.stdout == ""
        return " ".join(done.stderr.replace("│", " ").split())


@pytest.fixture
def cli(postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    monkeypatch.setenv("CARILLON_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("CARILLON_REDIS_URL", redis_url)
    yield Cli(postgres_url, redis_url, [Fernet.generate_key().decode()], monkeypatch.setenv)
    get_settings.cache_clear()


@pytest.fixture
def registry(cli: Cli) -> Iterator[Registry]:
    """The stores as a worker sees them."""
    pool = open_pool(cli.postgres_url, size=2)
    yield Registry(pool, cli.keys, kinds)
    pool.close()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A .p8 under the name that Apple gives it."""
    file = tmp_path / "AuthKey_ABC123DEFG.p8"
    file.write_text(new_key())
    return file


@pytest.fixture
def apns(key_file: Path) -> Iterator[SimulatorThread]:
    """Apple, who knows the key of `key_file` and the app `TOPIC`."""
    keys = (Key.read(f"ABC123DEFG:DEF123GHIJ:{key_file}"),)
    with SimulatorThread(Settings(topics=(TOPIC,), keys=keys)) as simulator:
        yield simulator


@pytest.fixture
def with_key(cli: Cli, key_file: Path, apns: SimulatorThread) -> Cli:
    """App `chat` with the provider `apns` that points at the simulator."""
    cli.ok("app", "create", "chat")
    cli.ok(*apn(key_file), "--host", "localhost", "--port", apns.port, "--ca", apns.ca_path)
    return cli


def apn(key_file: Path) -> list[object]:
    """`carillon push apn` as S14 has it."""
    return [
        "push",
        "apn",
        "-a",
        key_file,
        "-b",
        TOPIC,
        "-k",
        "ABC123DEFG",
        "-t",
        "DEF123GHIJ",
        "--environment",
        "production",
    ]


def rows(cli: Cli, table: str) -> list[tuple[Any, ...]]:
    pool = open_pool(cli.postgres_url, size=1)
    with pool.connection() as db:
        found = db.execute(f"SELECT * FROM carillon.{table} ORDER BY 1".encode()).fetchall()
    pool.close()
    return found


def redis_of(cli: Cli) -> Any:
    return connect(cli.redis_url)


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str, cli: Cli) -> Iterator[Pipeline]:
    """A system whose intake is at work."""
    made = Pipeline(postgres_url, redis_url)
    with working(made):
        yield made
    made.close()
