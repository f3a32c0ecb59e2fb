"""`carillon health` on engines that are not as they should be: a cause and no traceback, one part at a time."""

import json
import time
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.integration.cli.conftest import Cli, redis_of
from worker.cli import _checks
from worker.core.way import way_of
from worker.reports.conditions import Condition
from worker.state import keys
from worker.state.breaker import Breaker
from worker.state.limiter import Limiter
from worker.state.partition import Keyspace, untagged


def findings(cli: Cli, *flags: str) -> tuple[int, dict[str, Any]]:
    done = cli.run("health", "--json", "--timeout", "2", *flags)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, {one["part"]: one for one in json.loads(done.stdout)}


def test_a_redis_user_without_info_is_reported_and_the_rest_is_checked(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = redis_of(cli)
    redis.execute_command("ACL", "SETUSER", "plain", "on", ">word", "~*", "&*", "+@all", "-info", "-@admin")
    place = urlsplit(cli.redis_url)
    monkeypatch.setenv("CARILLON_REDIS_URL", f"redis://plain:word@{place.hostname}:{place.port}/0")
    try:
        code, found = findings(cli, "--engines", "--alarms")
        doctor = cli.run("doctor", "--no-workers", "--json")
    finally:
        redis.execute_command("ACL", "DELUSER", "plain")
    assert code == 0
    assert found["redis"]["well"]
    assert found["redis memory"]["severity"] == "warning"
    assert "unknown" in found["redis memory"]["text"] and "docs/security.md" in found["redis memory"]["text"]
    assert found["dead letters"]["well"] and found["providers"]["well"]
    assert "clock of postgres" in {one["part"] for one in json.loads(doctor.stdout)}


def test_a_read_only_postgres_is_a_condition(cli: Cli) -> None:
    with psycopg.connect(cli.postgres_url, autocommit=True) as db:
        db.execute(f"ALTER DATABASE {db.info.dbname} SET default_transaction_read_only = on".encode())
    code, found = findings(cli, "--alarms")
    assert code == 1
    assert found["postgres read only"]["condition"] == "postgres_read_only"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        pytest.param("postgresql://nobody:Sup3rS3cret@127.0.0.1:1/x", "Connection refused", id="nobody listens"),
        pytest.param("postgresql://nobody:Sup3rS3cret@no.such.host.invalid/x", "host", id="no such host"),
    ],
)
def test_the_engine_s_own_words_are_shown_without_the_password(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    monkeypatch.setenv("CARILLON_POSTGRES_URL", url)
    code, found = findings(cli)
    assert code == 1
    assert said in found["postgres"]["text"] and "CARILLON_POSTGRES_URL" in found["postgres"]["text"]
    assert "Sup3rS3cret" not in json.dumps(found)
    assert found["redis"]["well"] and not found["beat away"]["well"], "what does not rest on Postgres is asked"


def test_an_unknown_role_is_reported(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARILLON_POSTGRES_URL", cli.postgres_url.replace("carillon@", "stranger@"))
    _, found = findings(cli, "--engines")
    assert 'role "stranger" does not exist' in found["postgres"]["text"]


def test_missing_rights_are_a_sentence(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(cli.postgres_url, autocommit=True) as db:
        db.execute("DROP ROLE IF EXISTS poor")
        db.execute("CREATE ROLE poor LOGIN")
    monkeypatch.setenv("CARILLON_POSTGRES_URL", cli.postgres_url.replace("carillon@", "poor@"))
    try:
        code, found = findings(cli, "--engines", "--alarms")
        said = str(cli.run("app", "list").exception)
    finally:
        with psycopg.connect(cli.postgres_url, autocommit=True) as db:
            db.execute("DROP ROLE poor")
    assert code == 1
    assert "permission denied for schema carillon" in found["schema"]["text"]
    assert "GRANT" in found["schema"]["text"] or "docs/security.md" in found["schema"]["text"]
    assert said == "1" or "Traceback" not in said


def test_a_table_that_a_migration_holds_makes_nobody_wait_for_ever(cli: Cli) -> None:
    with psycopg.connect(cli.postgres_url) as db:
        db.execute("LOCK TABLE carillon.dead_letters IN ACCESS EXCLUSIVE MODE")
        code, found = findings(cli, "--alarms")
    assert code == 0
    assert "unknown" in found["dead letters"]["text"] and found["providers"]["well"]


def test_a_warning_leaves_the_exit_code_0_and_fails_the_doctor(with_key: Cli) -> None:
    with_key.ok("app", "create", "lonely")
    code, found = findings(with_key, "--alarms")
    assert (code, found["app lonely"]["severity"], found["app lonely"]["condition"]) == (
        0,
        "warning",
        "app_without_provider",
    )
    done = with_key.run("health", "--alarms")
    assert done.exit_code == 0 and "WARN app lonely" in done.stderr
    doctor = with_key.run("doctor", "--no-workers")
    assert doctor.exit_code == 1 and "app lonely" in doctor.stdout


def test_removed_providers_are_not_counted(with_key: Cli) -> None:
    with_key.ok("push", "remove", "apns", "--app", "chat", "--yes")
    assert findings(with_key, "--alarms")[1]["providers"]["text"] == "none of 0 is stopped"


def test_a_lane_whose_threads_wait_for_a_provider_that_is_down_is_alive(with_key: Cli) -> None:
    redis = redis_of(with_key)
    Breaker(untagged(redis)).stop(1, "unreachable", time.time() - 60)
    dead, _ = findings(with_key, "--lane", "bulk")
    assert dead == 1, "nobody says that a worker lives"
    redis.set(keys.BUSY("carillon.bulk"), "host", ex=60)
    code, found = findings(with_key, "--lane", "bulk")
    assert code == 0
    assert found["bulk worker"]["severity"] == "warning"
    assert "provider chat/apns" in found["bulk worker"]["text"]


def test_a_busy_lane_without_such_a_provider_fails(cli: Cli) -> None:
    redis = redis_of(cli)
    redis.set(keys.BUSY("carillon.bulk"), "host", ex=60)
    other = Condition("dead_letters", "warning", "x", "y")
    found = _checks.canary("bulk", Keyspace(redis).fleet, 0.2, [other])
    assert found.fails and "all its threads are at work" in found.text


def test_what_is_stopped_for_one_origin_says_so_and_a_resume_covers_it(with_key: Cli) -> None:
    redis = redis_of(with_key)
    redis.zadd(keys.ORIGINS(1), {"voip": time.time()})
    Breaker(untagged(redis)).stop(way_of(1, "voip"), "silent", time.time() - 60)
    Limiter(untagged(redis)).over_quota(1, 600.0, "status_429", jitter=0.0)
    _, found = findings(with_key, "--alarms")
    stopped = found["provider chat/apns, push type voip"]
    assert (stopped["condition"], stopped["origin"]) == ("provider_silent", "push type voip")
    assert (found["provider chat/apns"]["condition"], found["provider chat/apns"]["severity"]) == (
        "provider_over_quota",
        "warning",
    )
    assert found["provider chat/apns"]["until"] is not None
    listed = with_key.ok("provider", "list")
    assert "push type voip: it does not answer (silent), and its pushes are held back" in " ".join(listed.split())
    with_key.ok("provider", "resume", "apns", "--app", "chat")
    assert findings(with_key, "--alarms")[0] == 0
    assert not redis.keys(f"{keys.PREFIX}breaker:*") and not redis.keys(f"{keys.PREFIX}quota:*")
