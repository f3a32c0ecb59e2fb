"""Redis and Valkey as Debian or a cloud runs them: they work, or one sentence says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis

from config.broker import broker
from config.secrets import generate_key
from producers import Publisher
from producers import events as ev
from tests.integration.pipeline.harness import token
from tests.integration.producers.stored import ids
from tests.integration.security.acl import denied, users
from tests.processes import carillon, environ, wait_until
from tests.programs import needs
from tests.system.environments.postgres import PASSWORD
from tests.system.fleet import Fleet
from tests.system.pipeline.test_workers import new_message, now_stamp
from tests.unit.producers.examples import MESSAGE
from tests.valkey import Valkey
from worker.core.errors import UnfitError
from worker.reports.faults import sentence
from worker.state.redis import await_fit, connect, unfit

#: What those who run Redis for others take away.
RENAMED = (
    "CONFIG",
    "DEBUG",
    "KEYS",
    "FLUSHALL",
    "FLUSHDB",
    "SHUTDOWN",
    "MONITOR",
    "SAVE",
    "BGSAVE",
    "INFO",
    "REPLICAOF",
)


def renamed(*commands: str) -> tuple[str, ...]:
    return tuple(word for command in commands for word in ("--rename-command", command, ""))


@contextmanager
def running(home: Path, *options: str, program: str | None = None) -> Iterator[Valkey]:
    server = Valkey(home, *options, program=program)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.slow
def test_debian_s_by_a_socket_with_the_page_s_users_and_without_dangerous_commands(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """Database 5, a password of every special character, and a server that ends what is silent for a second."""
    socket = tmp_path_factory.mktemp("s") / "redis.sock"
    options = ("--unixsocket", str(socket), "--timeout", "1", *renamed(*RENAMED))
    program, password = needs("redis-server"), quote(PASSWORD, safe="")
    with (
        running(tmp_path_factory.mktemp("redis"), *options, program=program) as server,
        redis.Redis(port=server.port, protocol=2, db=5) as admin,
    ):
        for name, rules in users().items():
            of_database = [rule.replace("/0.", "/5.") for rule in rules if not rule.startswith(">")]
            admin.execute_command("ACL", "SETUSER", name, *of_database, f">{PASSWORD}")
        with (
            Fleet(postgres_url, f"unix://carillon-worker:{password}@{socket}?db=5", tmp_path) as fleet,
            Publisher(f"unix://carillon-producer:{password}@{socket}?db=5") as publisher,
        ):
            fleet.start("worker", "--concurrency", "2")
            as_worker = fleet.environment
            as_beat = as_worker["CARILLON_REDIS_URL"].replace("carillon-worker", "carillon-beat")
            fleet.environment = as_worker | {"CARILLON_REDIS_URL": as_beat}
            fleet.start("beat")
            fleet.environment = as_worker
            publisher.publish_many(
                [
                    ev.MemberAdded(**now_stamp(), channel=ev.ChannelId(id="general"), users=["leia", "han"]),
                    ev.DeviceRegistered(**now_stamp(), user="han", device=ev.Device(token=token("han"))),
                    new_message("e1"),
                ]
            )
            wait_until(lambda: len(fleet.simulator.accepted) == 1 and fleet.idle())
            done = carillon("health", "--lane", "urgent", "--engines", "--timeout", "30", env=fleet.environment)
            assert done.returncode == 0, done.stderr
            wait_until(lambda: admin.exists("carillon:beat"))
            # Only what asks for figures lacks INFO, and says so.
            done = carillon("doctor", "--no-workers", env=fleet.environment)
            assert "redis memory: unknown" in done.stdout and "'INFO': it was renamed away" in done.stdout
            assert "clock of redis: agrees" in done.stdout
        assert denied(admin) == []
        with redis.Redis(port=server.port, protocol=2) as first:
            assert first.dbsize() == 0, "everything is in database 5"


def test_a_socket_is_what_celery_calls_it() -> None:
    said = broker(f"unix://u%40:{quote(PASSWORD, safe='')}@/run/redis/redis.sock?db=3")
    assert said["broker_url"] == f"redis+socket://u%40:{quote(PASSWORD, safe='')}@/run/redis/redis.sock?virtual_host=3"
    assert broker("unix:///r.sock")["broker_url"] == "redis+socket:///r.sock?virtual_host=0"


HELLO = [b"server", b"redis", b"version", b"7.0.15", b"proto", 2, b"mode", b"standalone", b"role", b"master"]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (b"6.2.14", "this is Redis 6.2.14: Carillon needs Redis 7.0 or later, or any Valkey"),
        (b"7.0.15", None),
        (b"9.1.2", None),
        (b"unknown", None),
    ],
)
def test_an_older_server_is_refused(version: bytes, said: str | None) -> None:
    class Server:
        def execute_command(self, command: str) -> Any:
            assert command == "HELLO"
            return [*HELLO[:3], version, *HELLO[4:]]

    server: Any = Server()
    assert unfit(server) == said


@pytest.mark.parametrize(
    ("options", "database", "said"),
    [
        pytest.param(renamed("HELLO"), 0, "the server does not know HELLO", id="an ancient server, or HELLO renamed"),
        pytest.param(renamed("SELECT"), 3, "this Redis has database 0 alone", id="one database, and another asked for"),
        pytest.param(("--databases", "4"), 9, "this Redis has no database of that number", id="too few databases"),
        pytest.param(renamed("EVALSHA"), 0, "'EVALSHA'.*Carillon's workers need it", id="no scripts"),
        pytest.param(renamed("SCRIPT"), 0, "'SCRIPT'.*Carillon's workers need it", id="no SCRIPT"),
    ],
)
def test_what_a_worker_cannot_do_without_is_named(
    tmp_path: Path, options: tuple[str, ...], database: int, said: str
) -> None:
    with (
        running(tmp_path, *options) as server,
        connect(f"{server.url[:-1]}{database}") as client,
        pytest.raises(UnfitError, match=said),
    ):
        await_fit(client)


def test_a_database_beside_the_first_that_is_not_there_ends_every_process(tmp_path: Path, postgres_url: str) -> None:
    with running(tmp_path, "--databases", "4") as server:
        env = environ(redis_url=f"{server.url[:-1]}9", postgres_url=postgres_url, secret_keys=generate_key())
        for command in (["worker"], ["beat"]):
            done = carillon(*command, env=env)
            assert done.returncode == 1
            assert "this Redis has no database of that number" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(("~*", "&*", "+@all", "-@scripting"), id="no scripts"),
        pytest.param(("~chat:*", "&*", "+@all"), id="other keys"),
        pytest.param(("~carillon:*", "resetchannels", "+@all"), id="no channels"),
        pytest.param(
            ("~carillon:*", "resetchannels", "&carillon:/3.*", "+@all"), id="the channels of another database"
        ),
    ],
)
def test_a_user_who_may_do_no_work_is_refused_and_beat_does_none(tmp_path: Path, rules: tuple[str, ...]) -> None:
    with running(tmp_path) as server, redis.Redis(port=server.port, protocol=2) as admin:
        admin.execute_command("ACL", "SETUSER", "poor", "on", ">x", *rules)
        with connect(server.url.replace("redis://", "redis://poor:x@")) as client:
            await_fit(client, worker=False)
            with pytest.raises(UnfitError, match=r"docs/security\.md"):
                await_fit(client)


def test_a_wrong_password_is_said_and_may_become_the_right_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        running(tmp_path) as server,
        redis.Redis(port=server.port, protocol=2) as admin,
        connect(server.url.replace("redis://", "redis://chat:old@")) as client,
    ):
        await_fit(client)
        assert "refuses the user or the password of CARILLON_REDIS_URL" in caplog.text
        admin.execute_command("ACL", "SETUSER", "chat", "on", ">old", "~*", "&*", "+@all")
        caplog.clear()
        await_fit(client)
    assert caplog.text == ""


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "unix:///nowhere/redis.sock"])
def test_a_server_that_is_away_is_said_and_no_reason_to_refuse_a_start(
    caplog: pytest.LogCaptureFixture, url: str
) -> None:
    with connect(url) as client:
        await_fit(client)
    assert [record.message.partition(": ")[0] for record in caplog.records] == ["Redis does not answer yet"]


def test_a_socket_that_is_not_there_or_not_ours_is_called_so(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.sock", "see the socket"), (tmp_path, "is it running")):
        with connect(f"unix://{path}") as client, pytest.raises(redis.ConnectionError) as away:
            client.ping()
        assert said in sentence(away.value)


def test_a_server_without_a_place_for_another_client_says_so(tmp_path: Path) -> None:
    with running(tmp_path) as server, redis.Redis(port=server.port, protocol=2) as admin:
        admin.config_set("maxclients", 1)
        with connect(server.url) as client, pytest.raises(redis.ConnectionError) as full:
            client.ping()
    assert "raise maxclients" in sentence(full.value)


def test_what_is_silent_for_longer_than_the_server_allows_goes_on(tmp_path: Path) -> None:
    with running(tmp_path) as server, redis.Redis(port=server.port, protocol=2) as admin, connect(server.url) as client:
        with Publisher(server.url) as publisher:
            client.ping()
            publisher.publish(MESSAGE)
            # As its `timeout` does.
            admin.client_kill_filter(_type="normal", skipme=True)
            publisher.publish(MESSAGE)
            client.ping()
        assert len(ids(server.url)) == 2


def test_doctor_says_what_may_lose_pushes(tmp_path: Path, postgres_url: str) -> None:
    options = ("--appendonly", "no", "--maxmemory", "200mb", "--maxmemory-policy", "volatile-lru")
    with running(tmp_path, *options) as server:
        env = environ(redis_url=server.url, postgres_url=postgres_url, secret_keys=generate_key())
        done = carillon("doctor", "--no-workers", env=env)
    assert done.returncode == 1
    assert "appendonly is off" in done.stdout and "volatile-lru, so Redis may throw away pushes" in done.stdout
