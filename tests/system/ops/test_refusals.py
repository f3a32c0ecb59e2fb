"""What cannot work is refused with a sentence and a code by every command, and by a worker that would begin again for ever."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from celery import signals

from config.broker import broker
from config.celeryconfig import FOREIGN
from config.secrets import generate_key
from tests.processes import PATIENCE, ROOT, carillon, environ, free_port
from tests.valkey import Valkey, cluster


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with cluster(tmp_path_factory.mktemp("cluster")) as server:
        yield server


@pytest.mark.parametrize(
    "command",
    [
        *(["worker"], ["beat"], ["migrate"], ["health", "--engines"], ["publish", "-"], ["outbox", "relay"]),
        ["flower", "--port", str(free_port())],
    ],
)
def test_a_cluster_is_refused_by_name(clustered: Valkey, postgres_url: str, command: list[str]) -> None:
    env = environ(redis_url=clustered.url, postgres_url=postgres_url, secret_keys=generate_key())
    event = '{"v":1,"type":"badge.cleared","id":"e","app":"demo","at":"2026-11-21T20:00:00Z","user":"han"}\n'
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", *command],
        input=event,
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "this is a Redis Cluster: name it as redis+cluster://" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_needs_redis_alone_names_no_directory(clustered: Valkey) -> None:
    done = carillon("beat", env=environ(redis_url=clustered.url))
    assert done.stderr == "carillon: this is a Redis Cluster: name it as redis+cluster://\n"


@pytest.mark.parametrize(
    ("command", "settings", "named"),
    [
        ("worker", {"redis_url": "redis://h/zero"}, "CARILLON_REDIS_URL"),
        ("beat", {"redis_url": "redis://h/zero"}, "CARILLON_REDIS_URL"),
        # Beat decrypts nothing, so it needs no keys.
        ("worker", {"postgres_url": "postgresql://u@h/d", "redis_url": "redis://h"}, "CARILLON_SECRET_KEYS"),
    ],
)
def test_a_setting_that_cannot_get_better_ends_the_process(command: str, settings: dict[str, str], named: str) -> None:
    done = carillon(command, env=environ(**settings))
    assert done.returncode == 1
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_a_log_that_cannot_be_set_up_as_it_is_asked_ends_the_process(postgres_url: str, redis_url: str) -> None:
    engines = {"redis_url": redis_url, "postgres_url": postgres_url, "secret_keys": generate_key()}
    done = carillon("worker", env=environ(**engines, log_setup="nowhere:set_up"))
    assert done.returncode == 1
    assert "carillon: CARILLON_LOG_SETUP: nowhere:set_up cannot be imported: No module named 'nowhere'" in done.stderr


def test_a_role_without_rights_learns_which_are_missing(postgres_url: str, redis_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute("DROP ROLE IF EXISTS poor")
        db.execute("CREATE ROLE poor LOGIN")
    url = postgres_url.replace("carillon@", "poor@")
    env = environ(postgres_url=url, redis_url=redis_url, secret_keys=generate_key())
    for command in (["app", "list"], ["health", "--engines"]):
        done = carillon(*command, env=env)
        assert done.returncode == 1
        assert "permission denied for" in done.stderr
        assert "docs/security.md" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_schema_that_somebody_else_made_is_taken(empty_postgres_url: str, redis_url: str) -> None:
    with psycopg.connect(empty_postgres_url, autocommit=True) as db:
        db.execute("DROP ROLE IF EXISTS maker")
        db.execute("CREATE ROLE maker LOGIN")
        db.execute("CREATE SCHEMA carillon AUTHORIZATION maker")
    done = carillon(
        "migrate", env=environ(postgres_url=empty_postgres_url.replace("carillon@", "maker@"), redis_url=redis_url)
    )
    assert done.returncode == 0, done.stderr
    with psycopg.connect(empty_postgres_url, autocommit=True) as db:
        db.execute("DROP SCHEMA carillon CASCADE")
        db.execute("DROP ROLE maker")


def test_what_a_chat_server_says_to_its_celery_is_nothing_to_ours(tmp_path: Path) -> None:
    """Celery reads these before any configuration, so they would win."""
    script = (
        "from worker.app import app\n"
        "for connection in (app.connection_for_read(), app.connection_for_write()): print(connection.as_uri())\n"
        "print(app.conf.result_backend, app.loader.__class__.__module__)"
    )
    env = environ(redis_url="redis://ours:1/5", postgres_url="postgresql://ours/d", secret_keys=generate_key())
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=env | dict.fromkeys(FOREIGN, "redis://theirs:2/0"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout.split() == ["redis://:**@ours:1/5"] * 2 + ["None", "celery.loaders.app"], done.stderr


def test_a_broker_with_tls_is_verified_and_no_false_alarm_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    from kombu.connection import Connection

    said = broker("rediss://u:p@h:1/2?ssl_ca_certs=/ca.pem&ssl_check_hostname=no")
    with Connection(said["broker_url"]) as connection:
        assert connection.ssl == {"ssl_cert_reqs": 2, "ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False}
    assert said["broker_use_ssl"] == {
        "ssl_cert_reqs": "required",
        "ssl_ca_certs": "/ca.pem",
        "ssl_check_hostname": False,
    }
    assert caplog.records == []


@pytest.mark.parametrize("pool", ["celery.concurrency.gevent", "celery.concurrency.eventlet", "prefork"])
def test_a_pool_in_which_nothing_would_work_is_refused(pool: str) -> None:
    import worker.app  # noqa: F401 - its receivers

    with pytest.raises(SystemExit, match="-P threads"):
        signals.worker_init.send(sender=type("Sender", (), {"pool_cls": pool}))
