"""A whole fleet as docs/security.md wants it: TLS everywhere, a password for every role, and no right too many."""

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import redis

from producers import Publisher
from tests.integration.pipeline.harness import token
from tests.integration.security.acl import PAGE, PASSWORD, denied, make, url_of, users
from tests.integration.security.tls import Front, postgres_socket, tcp, unix
from tests.processes import PATIENCE, free_port, wait_until
from tests.system.fleet import Fleet
from tests.system.ops.flowers import AUTH, page
from tests.system.pipeline.test_workers import new_message, now_stamp
from tests.valkey import Valkey
from worker.database.migrate import migrate
from worker.embedded import Engines
from worker.simulator.certificates import Identity

#: Everything but the server's owner needs its password.
_HBA = "local all carillon trust\nlocal all all scram-sha-256\n"


@dataclass(frozen=True)
class Guarded:
    """The engines behind TLS: a URL for each role, and their owners' ways in."""

    redis: str
    postgres: str
    admin: Any
    owner: str

    def postgres_as(self, role: str) -> str:
        return self.postgres.replace("ROLE", f"{role}:{PASSWORD}")


@pytest.fixture(scope="module")
def own_engines() -> Iterator[str]:
    """The owner's URL of a PostgreSQL that asks for passwords."""
    with tempfile.TemporaryDirectory(prefix="carillon-tests-") as directory, ExitStack() as stack:
        engines = Engines(Path(directory))
        stack.callback(engines.stop)
        url = engines.start().postgres
        with psycopg.connect(url, autocommit=True) as db:
            [data] = db.execute("SHOW data_directory").fetchone() or ()
            (Path(data) / "pg_hba.conf").write_text(_HBA)
            db.execute("SELECT pg_reload_conf()")
            for statement in page_sql(0):
                db.execute(statement.encode())
        migrator = url.replace("carillon@", f"carillon_migrator:{PASSWORD}@")
        migrate(migrator)
        yield url


def page_sql(block: int) -> list[str]:
    """The statements of a block of SQL on the page."""
    text = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)[block].replace("'...'", f"'{PASSWORD}'")
    return [statement for statement in text.split(";\n") if statement.strip()]


@pytest.fixture
def guarded(own_engines: str, identity: Identity, valkey: Valkey) -> Iterator[Guarded]:
    with (
        redis.Redis.from_url(valkey.url) as admin,
        Front(identity, tcp(valkey.port)) as redis_front,
        Front(identity, unix(postgres_socket(own_engines)), postgres=True) as postgres_front,
    ):
        for name in users():
            make(admin, name)
        ca = quote(str(identity.ca), safe="")
        yield Guarded(
            f"rediss://localhost:{redis_front.port}/0?ssl_ca_certs={ca}",
            f"postgresql://ROLE@localhost:{postgres_front.port}/carillon?sslmode=verify-full&sslrootcert={identity.ca}",
            admin,
            own_engines,
        )


@pytest.mark.slow
def test_a_fleet_delivers_over_tls_with_the_least_of_rights(guarded: Guarded, tmp_path: Path) -> None:
    from producers import events as ev

    as_worker = url_of(guarded.redis, "carillon-worker")
    with (
        Fleet(guarded.postgres_as("carillon_worker"), as_worker, tmp_path) as fleet,
        Publisher(url_of(guarded.redis, "carillon-producer")) as publisher,
    ):
        fleet.start("worker", "--concurrency", "2")
        # What beat and Flower need: an address of Redis, and no key and no database.
        least = {"CARILLON_REDIS_URL": url_of(guarded.redis, "carillon-beat")}
        as_before = fleet.environment
        fleet.environment = {k: v for k, v in as_before.items() if not k.startswith("CARILLON_")} | least
        fleet.start("beat")
        asked = [sys.executable, "-m", "worker.cli", "health", "--beat"]
        wait_until(lambda: subprocess.run(asked, env=fleet.environment, check=False).returncode == 0)
        fleet.environment = as_before
        publisher.publish_many(
            [
                ev.MemberAdded(**now_stamp(), channel=ev.ChannelId(id="general"), users=["leia", "han"]),
                ev.DeviceRegistered(**now_stamp(), user="han", device=ev.Device(token=token("han"))),
                *(new_message(f"e{n}") for n in range(20)),
            ]
        )
        wait_until(lambda: len(fleet.simulator.accepted) == 20 and fleet.idle())
        health = subprocess.run(
            [
                sys.executable,
                "-m",
                "worker.cli",
                "health",
                "--lane",
                "urgent",
                "--beat",
                "--engines",
                "--timeout",
                "30",
            ],
            env=fleet.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert health.returncode == 0, health.stderr
        assert PASSWORD not in fleet.output() + health.stdout + health.stderr
    assert denied(guarded.admin) == []


@pytest.mark.slow
def test_flower_shows_workers_over_tls_with_its_own_user(guarded: Guarded, tmp_path: Path) -> None:
    port = free_port()
    with Fleet(guarded.postgres_as("carillon_worker"), url_of(guarded.redis, "carillon-worker"), tmp_path) as fleet:
        fleet.start("worker", "--concurrency", "2")
        environment = {k: v for k, v in fleet.environment.items() if not k.startswith("CARILLON_")} | {
            "CARILLON_REDIS_URL": url_of(guarded.redis, "carillon-flower"),
            "FLOWER_BASIC_AUTH": AUTH,
        }
        with (tmp_path / "flower.log").open("wb") as log:
            flower = subprocess.Popen(
                [sys.executable, "-m", "worker.cli", "flower", "--port", str(port)],
                env=environment,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(lambda: b"@" in page(port, "/api/workers?refresh=1"))
            wait_until(lambda: b"carillon.urgent" in page(port, "/api/queues/length"))
        finally:
            flower.send_signal(signal.SIGTERM)
            flower.wait(PATIENCE)
    assert denied(guarded.admin) == []


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("DROP TABLE carillon.devices", id="drop"),
        pytest.param("ALTER TABLE carillon.apps ADD COLUMN x int", id="alter"),
        pytest.param("TRUNCATE carillon.devices", id="truncate"),
        pytest.param("CREATE TABLE carillon.mine (x int)", id="create"),
        pytest.param("CREATE SCHEMA mine", id="a schema"),
        pytest.param("CREATE ROLE mine", id="a role"),
        pytest.param("COPY carillon.devices TO PROGRAM 'true'", id="a program"),
        pytest.param("SELECT pg_read_file('/etc/passwd')", id="a file"),
    ],
)
def test_a_worker_s_role_changes_rows_and_nothing_else(guarded: Guarded, statement: str) -> None:
    with psycopg.connect(guarded.postgres_as("carillon_worker")) as db:
        assert db.execute("SELECT count(*) FROM carillon.devices").fetchone() is not None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement.encode())


def test_a_role_without_its_password_stays_outside(guarded: Guarded) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(guarded.postgres.replace("ROLE", "carillon_worker:wrong"))


def test_the_chat_server_writes_to_the_outbox_and_reads_nothing(guarded: Guarded) -> None:
    with psycopg.connect(guarded.owner, autocommit=True) as db:
        db.execute(f"CREATE ROLE chat LOGIN PASSWORD '{PASSWORD}'".encode())
        for statement in page_sql(1):
            db.execute(statement.encode())
    with psycopg.connect(guarded.postgres_as("chat"), autocommit=True) as db:
        db.execute("INSERT INTO carillon.outbox (event) VALUES ('{}')")
        for statement in (
            "SELECT event FROM carillon.outbox",
            "DELETE FROM carillon.outbox",
            "SELECT FROM carillon.apps",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(statement.encode())
    from worker.database.outbox import Outbox

    relay = Outbox(guarded.postgres_as("carillon_relay"))
    with relay.lead() as leading:
        assert leading
        relay.refuse({row.id: "bad" for row in relay.waiting(10)})
    assert relay.state(5).failed == 1
    assert relay.source()
    relay.close()
