"""PostgreSQL as Debian, a DBA or a cloud runs it: it works, or one sentence says what to do."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from config.secrets import generate_key
from producers import events as ev
from producers import outbox
from tests.integration.pipeline.harness import token
from tests.pooler import pooler
from tests.processes import carillon, environ, wait_until
from tests.programs import pgbouncer
from tests.system.environments.postgres import OWNER, PostgresServer, of_debian
from tests.system.fleet import Fleet
from tests.system.pipeline.test_workers import new_message, now_stamp
from worker.core.errors import UnfitError
from worker.database import locks
from worker.database.migrate import migrate
from worker.database.outbox import Outbox
from worker.database.postgres import Unavailable, open_pool, refuse_unfit, unfit
from worker.database.retention import keep_days
from worker.reports.faults import sentence
from worker.simulator.certificates import Identity, make_identity

#: What DBAs set for a role, and what else it may have for its people.
STRICT = (
    *("statement_timeout = '250ms'", "lock_timeout = '100ms'", "idle_session_timeout = '1s'"),
    *("idle_in_transaction_session_timeout = '500ms'", "search_path = 'nowhere'", "DateStyle = 'SQL, DMY'"),
    *("default_transaction_isolation = 'serializable'", "TimeZone = 'Asia/Kathmandu'", "client_encoding = 'LATIN1'"),
    *("standard_conforming_strings = off", "bytea_output = 'escape'", "extra_float_digits = -5"),
    "IntervalStyle = 'sql_standard'",
)


@pytest.fixture(scope="module")
def strict(server: PostgresServer) -> str:
    """The URL, by the socket, of a database whose owner has such settings."""
    server.role("strict", *STRICT)
    server.database("strict", "strict")
    return server.url("strict", "strict", application_name="chat push")


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return make_identity(tmp_path_factory.mktemp("ours"), ["localhost"])


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory, identity: Identity) -> Iterator[PostgresServer]:
    """Debian's newest, with TLS and an authority of its own."""
    made = PostgresServer(
        tmp_path_factory.mktemp("debian"), of_debian(), ssl="on", ssl_cert_file="server.pem", ssl_key_file="server.key"
    )
    made.make()
    made.keep("server.pem", identity.certificate.read_bytes())
    made.keep("server.key", identity.key.read_bytes())
    made.start()
    yield made
    made.stop()


def settings(url: str, redis_url: str) -> dict[str, str]:
    return environ(postgres_url=url, redis_url=redis_url, secret_keys=generate_key())


def one_message_arrives(postgres_url: str, redis_url: str, logs: Path) -> str:
    """A worker on these engines; returns what it said."""
    with Fleet(postgres_url, redis_url, logs) as fleet:
        fleet.start("worker", "--concurrency", "2")
        channel = ev.ChannelId(id="Käse 🧀")
        fleet.publisher.publish_many(
            [
                ev.MemberAdded(**now_stamp(), channel=channel, users=["leia", "hån 😀"]),
                ev.DeviceRegistered(**now_stamp(), user="hån 😀", device=ev.Device(token=token("han"))),
                new_message("e1", channel=channel.id),
            ]
        )
        wait_until(lambda: len(fleet.simulator.accepted) == 1 and fleet.idle())
        return fleet.output()


@pytest.mark.slow
def test_a_role_with_settings_of_its_own_by_a_socket(strict: str, redis_url: str, tmp_path: Path) -> None:
    assert migrate(strict)
    said = one_message_arrives(strict, redis_url, tmp_path)
    assert "ERROR" not in said and "closed" not in said
    done = carillon("doctor", "--no-workers", "--json", env=settings(strict, redis_url))
    assert '"schema", "well": true' in done.stdout and "read_only" not in done.stdout


@pytest.mark.slow
def test_debian_s_over_tls_with_an_authority_of_its_own(
    debian: PostgresServer, identity: Identity, redis_url: str, tmp_path: Path
) -> None:
    debian.role("chat")
    debian.database("chat", "chat")
    url = debian.tcp_url("chat", "chat", sslmode="verify-full", sslrootcert=str(identity.ca))
    migrate(url)
    one_message_arrives(url, redis_url, tmp_path)
    stranger = debian.tcp_url("chat", "chat", sslmode="verify-full", sslrootcert="/etc/ssl/certs/ca-certificates.crt")
    done = carillon("health", "--engines", env=settings(stranger, redis_url))
    assert done.returncode == 1 and "certificate verify failed" in done.stderr


@pytest.mark.slow
def test_a_pooler_that_keeps_sessions(postgres_url: str, redis_url: str, tmp_path: Path) -> None:
    with pgbouncer(postgres_url, tmp_path, mode="session") as between:
        one_message_arrives(between, redis_url, tmp_path)


def test_days_are_kept_behind_a_pooler_in_a_session_with_dates_of_its_own(server: PostgresServer) -> None:
    server.role("dated", "DateStyle = 'SQL, DMY'")
    server.database("dated", "dated")
    migrate(server.url("dated", "dated"))
    with pooler(server.url("dated", "dated")) as between, open_pool(between, size=1) as pool:
        for _ in range(2):
            assert keep_days(pool, "ledger", 30) == 0
    ends = [day for (day,) in server.sql("SELECT ends FROM carillon.days_of('carillon.ledger')", database="dated")]
    assert len(ends) >= 7 and None not in ends


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_name_is_refused(server: PostgresServer, encoding: str) -> None:
    server.database(encoding.lower(), OWNER, f"ENCODING '{encoding}' LOCALE 'C'")
    url, said = server.url(encoding.lower()), f"database {encoding.lower()} is in {encoding}"
    for start in (migrate, refuse_unfit):
        with pytest.raises(UnfitError, match=f"{said}.*ENCODING 'UTF8'"):
            start(url)


@pytest.mark.parametrize("command", [["worker"], ["health", "--engines"]])
def test_what_cannot_get_better_ends_the_process(server: PostgresServer, redis_url: str, command: list[str]) -> None:
    if not server.sql("SELECT 1 FROM pg_database WHERE datname = 'latin2'"):
        server.database("latin2", OWNER, "ENCODING 'LATIN2' LOCALE 'C'")
    done = carillon(*command, env=settings(server.url("latin2"), redis_url))
    assert done.returncode == 1 and "database latin2 is in LATIN2" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("version", "reported", "encoding", "said"),
    [
        (
            140_011,
            "14.11 (Debian 14.11-1)",
            "UTF8",
            "this is PostgreSQL 14.11 (Debian 14.11-1): Carillon needs 15 or later",
        ),
        (130_000, None, "UTF8", "this is PostgreSQL 13: Carillon needs 15 or later"),
        (150_000, "15.0", "UTF8", None),
        (180_004, "18.4", None, None),
    ],
)
def test_an_older_server_is_refused(version: int, reported: str | None, encoding: str | None, said: str | None) -> None:
    parameters = {"server_version": reported, "server_encoding": encoding}
    db: Any = SimpleNamespace(info=SimpleNamespace(server_version=version, dbname="d", parameter_status=parameters.get))
    assert unfit(db) == said


@pytest.mark.parametrize(
    ("name", "before", "pattern"),
    [
        ("maker1", (), r"run (CREATE SCHEMA .*?), or"),
        ("maker2", (), r"or: (GRANT .*)$"),
        ("maker3", ("CREATE SCHEMA carillon",), r"run (ALTER SCHEMA .*?), or"),
        ("maker4", ("CREATE SCHEMA carillon",), r"or: (GRANT .*)$"),
    ],
)
def test_what_is_said_of_a_missing_right_to_make_the_schema_is_enough(
    server: PostgresServer, name: str, before: tuple[str, ...], pattern: str
) -> None:
    server.role(name)
    server.database(name)
    server.sql(*before, database=name)
    url = server.url(name, name)
    with pytest.raises(UnfitError) as refused:
        migrate(url)
    [statement] = re.findall(pattern, str(refused.value))
    server.sql(statement, database=name)
    assert migrate(url)
    assert migrate(url) == []


def test_what_is_said_of_missing_rights_is_enough(server: PostgresServer, redis_url: str) -> None:
    server.role("worker")
    server.database("shared")
    migrate(server.url("shared"))
    url = server.url("shared", "worker")
    with pytest.raises(
        UnfitError, match=f"may not create anything in schema carillon: run carillon migrate as {OWNER}, the"
    ):
        migrate(url)
    for _ in range(3):
        done = carillon("app", "create", "chat", env=settings(url, redis_url))
        if done.returncode == 0:
            break
        assert "Traceback" not in done.stderr
        [statement] = re.findall(r"(GRANT .*? TO) that role", done.stderr)
        server.sql(f"{statement} worker", database="shared")
    assert "created" in done.stdout


def test_a_server_without_a_connection_left_is_waited_for(server: PostgresServer) -> None:
    server.role("many")
    url = server.url("postgres", "many")
    held: list[psycopg.Connection] = []
    with pytest.raises(psycopg.OperationalError) as full:
        held.extend(iter(lambda: psycopg.connect(url), None))
    assert "raise max_connections, or lower CARILLON_POSTGRES_POOL" in sentence(full.value)
    with open_pool(url, size=2) as pool:
        with pytest.raises(Unavailable) as away, pool.connection(timeout=1):
            pass
        assert "raise max_connections" in sentence(away.value)
        for one in held:
            one.close()
        wait_until(lambda: _answers(pool))


def _answers(pool: Any) -> bool:
    try:
        with pool.connection(timeout=1) as db:
            return bool(db.execute("SELECT true").fetchone() == (True,))
    except Unavailable:
        return False


def test_a_pool_says_why_it_has_no_connection(server: PostgresServer) -> None:
    with open_pool(server.url("nothere"), size=1) as pool:
        with pytest.raises(Unavailable) as away, pool.connection(timeout=1):
            pass
        assert 'database "nothere" does not exist' in sentence(away.value)


def test_a_server_that_is_away_is_no_reason_to_refuse_a_start(tmp_path: Path) -> None:
    refuse_unfit(f"postgresql://u@/d?host={tmp_path}")


def test_a_standby_is_named_until_it_is_promoted(
    server: PostgresServer, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server.database("replicated")
    migrate(server.url("replicated"))
    standby = server.standby(tmp_path_factory.mktemp("standby"))
    standby.start()
    try:
        env = settings(standby.url("replicated"), redis_url)
        for command in (["doctor", "--no-workers"], ["migrate", "--wait", "0"]):
            done = carillon(*command, env=env)
            assert done.returncode == 1
            assert "primary" in done.stdout + done.stderr and "Traceback" not in done.stderr
        standby.run("pg_ctl", "promote", "-D", str(standby.data))
        wait_until(lambda: standby.sql("SELECT pg_is_in_recovery()") == [(False,)])
        assert carillon("app", "create", "chat", env=env).returncode == 0
    finally:
        standby.stop()


def test_a_migration_has_the_time_it_needs(server: PostgresServer) -> None:
    server.role("hasty", "statement_timeout = '50ms'")
    server.database("hasty", "hasty")
    url = server.url("hasty", "hasty")
    with psycopg.connect(server.url("hasty")) as other, ThreadPoolExecutor() as pool:
        locks.acquire(other, locks.MIGRATE)
        migrating = pool.submit(migrate, url)
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'hasty' AND now() - query_start > interval '200ms'"
        )
        wait_until(lambda: migrating.done() or server.sql(waits) == [(1,)])
        other.rollback()
        assert migrating.result()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_the_chat_server_s_database_may_be_in_any_encoding_and_end_silent_sessions(
    server: PostgresServer, encoding: str
) -> None:
    name = f"chat_{encoding.lower()}"
    server.role(name, "idle_session_timeout = '300ms'", "client_encoding = 'LATIN1'")
    server.database(name, name, f"ENCODING '{encoding}' LOCALE 'C'")
    url = server.url(name, name)
    with psycopg.connect(url, client_encoding="UTF8") as db:
        db.execute(outbox.sql(notify=True).encode())
        db.execute("INSERT INTO carillon.outbox (event) VALUES (%s)", ('{"text": "Käse"}',))
    table = Outbox(url)
    with table.lead():
        [row] = table.waiting(10)
        table.moved([row.id], keep=False)
    assert row.event == '{"text": "Käse"}'
    table.wait(0.6)
    assert table.state(1).waiting == 0
    table.close()
