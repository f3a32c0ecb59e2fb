"""What managed services do besides: passwords that change, users without rights for more, TLS on every connection."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from kombu.connection import Connection

from config import credentials
from config.celeryconfig import celery_config
from config.settings import SettingsError, get_settings
from producers import AsyncPublisher, Publisher, PublishError
from tests.integration.security.acl import PASSWORD, users
from tests.processes import PATIENCE
from tests.programs import needs
from tests.system.environments.postgres import PASSWORD as OF_POSTGRES
from tests.system.environments.postgres import PostgresServer
from tests.unit.producers.examples import MESSAGE
from tests.valkey import Cluster, Valkey, Watched, free_port, wait_until
from worker.database.postgres import Unavailable, open_pool
from worker.simulator.certificates import make_identity
from worker.state import layout
from worker.state.redis import Away, await_fit, connect


class Rotating:
    """Passwords as a cloud gives them: each is good until the next one."""

    def __init__(self, server: Valkey) -> None:
        self._server, self.password, self.calls = server, "first", 0
        self.change("first")

    def __call__(self) -> tuple[str, str]:
        self.calls += 1
        return "chat", self.password

    def change(self, password: str) -> None:
        self.password = password
        self._server.ask("ACL", "SETUSER", "chat", "on", "resetpass", f">{password}", "~*", "&*", "+@all")
        self._server.ask("CLIENT", "KILL", "USER", "chat")


@pytest.fixture
def cloud(valkey: Valkey) -> Valkey:
    return valkey


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, credentials.Credentials]:
    found: dict[str, credentials.Credentials] = {}
    monkeypatch.setattr(credentials, "_known", found)
    return found


def test_a_password_that_changes_is_asked_for_at_each_connection(
    cloud: Valkey, known: dict[str, credentials.Credentials]
) -> None:
    rotating = Rotating(cloud)
    known[cloud.url] = rotating
    with connect(cloud.url) as client, Publisher(cloud.url, credentials=rotating) as publisher:
        for password in ("first", "second", "third"):
            rotating.change(password)
            publisher.publish(MESSAGE)
            assert client.xlen("carillon:events") > 0
    assert rotating.calls >= 6

    async def publish() -> None:
        async with AsyncPublisher(cloud.url, credentials=rotating) as other:
            await other.publish(MESSAGE)
            rotating.change("fourth")
            await other.publish(MESSAGE)

    asyncio.run(publish())


def test_a_function_that_fails_is_redis_being_away_and_says_no_secret(
    cloud: Valkey, known: dict[str, credentials.Credentials]
) -> None:
    def failing() -> tuple[str, str]:
        raise RuntimeError("S3cret")

    known[cloud.url] = failing
    with connect(cloud.url, retries=0) as client, pytest.raises(Away, match="raised RuntimeError"):
        client.ping()
    with (
        Publisher(cloud.url, timeout=0.2, credentials=failing) as publisher,
        pytest.raises(PublishError, match="raised RuntimeError") as caught,
    ):
        publisher.publish(MESSAGE)
    assert "S3cret" not in str(caught.value)


def test_a_password_of_postgres_that_changes_is_asked_for_too(
    server: PostgresServer, known: dict[str, credentials.Credentials]
) -> None:
    server.role("iam")
    url = server.url("postgres", "nobody")
    known[url] = lambda: ("iam", OF_POSTGRES)
    pool = open_pool(url, size=1)
    try:
        with pool.connection() as db:
            assert db.execute("SELECT current_user").fetchall() == [("iam",)]
    finally:
        pool.close()

    def failing() -> tuple[str, str]:
        raise RuntimeError("S3cret")

    known[url] = failing
    pool = open_pool(url, size=1, timeout=0.5)
    try:
        with pytest.raises(Unavailable) as caught, pool.connection():
            pass
        assert "S3cret" not in str(caught.value)
    finally:
        pool.close()
    assert isinstance(caught.value, psycopg.OperationalError)


def test_the_function_is_imported_at_the_start(monkeypatch: pytest.MonkeyPatch, known: dict[str, Any]) -> None:
    monkeypatch.setenv("CARILLON_REDIS_URL", "redis://h")
    monkeypatch.setenv("CARILLON_REDIS_CREDENTIALS", "nowhere.at_all:function")
    get_settings.cache_clear()
    try:
        with pytest.raises(
            SettingsError, match=r"CARILLON_REDIS_CREDENTIALS: nowhere\.at_all:function cannot be imported"
        ):
            get_settings()
        monkeypatch.setenv("CARILLON_REDIS_CREDENTIALS", "os:getcwd")
        get_settings()
        assert list(known) == ["redis://h"]
    finally:
        get_settings.cache_clear()


def test_celery_asks_for_the_password_of_the_same_redis_too(
    cloud: Valkey, known: dict[str, credentials.Credentials], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARILLON_REDIS_URL", cloud.url)
    monkeypatch.setenv("CARILLON_REDIS_CREDENTIALS", "os:getcwd")
    get_settings.cache_clear()
    try:
        settings = get_settings()
        rotating = known[cloud.url] = Rotating(cloud)
        conf = celery_config(settings, cloud.url)
        for password in ("first", "second"):
            rotating.change(password)
            with Connection(conf["broker_url"], transport_options=conf["broker_transport_options"]) as connection:
                queue = connection.SimpleQueue("carillon.urgent")
                queue.put({"wake": password})
                message = queue.get(timeout=PATIENCE)
                assert message.payload == {"wake": password}
                message.ack()
                queue.close()
        assert rotating.calls >= 2
    finally:
        get_settings.cache_clear()


@pytest.mark.slow
def test_the_users_of_the_page_work_on_a_cluster(tmp_path: Path) -> None:
    with ExitStack() as stack:
        cluster = Cluster(tmp_path, stack)
        for node in cluster.nodes:
            for name in ("carillon-producer", "carillon-worker"):
                node.ask("ACL", "SETUSER", name, *users()[name], "+cluster|slots")
        with connect(cluster.url) as client:
            layout.agree(client, 1)
        as_user = {name: cluster.url.replace("://", f"://{name}:{PASSWORD}@") for name in users()}
        with Publisher(as_user["carillon-producer"], wait_replicas=1) as publisher:
            publisher.publish(MESSAGE)
            publisher.online("acme", "ann", 60, active=True)
        with connect(as_user["carillon-worker"]) as client:
            await_fit(client)
            assert client.get("carillon:online:acme:ann") == b"1"


@pytest.mark.slow
def test_sentinels_with_a_password_of_their_own(tmp_path: Path) -> None:
    with ExitStack() as stack:
        watched = Watched(tmp_path, stack)
        for server in watched.servers:
            server.ask("ACL", "SETUSER", "chat", "on", ">p@ss", "~*", "&*", "+@all")
        for sentinel in watched.sentinels:
            sentinel.ask("ACL", "SETUSER", "look", "on", ">s&cret", "-@all", "+@connection", "+sentinel|master")
            sentinel.ask("ACL", "SETUSER", "default", "off")
        url = watched.url.replace("://", "://chat:p%40ss@") + "&sentinel_user=look&sentinel_password=s%26cret"
        with Publisher(url) as publisher, connect(url) as client:
            publisher.publish(MESSAGE)
            await_fit(client)
            assert client.xlen("carillon:events") == 1
        wrong = url.replace("s%26cret", "wrong")
        with connect(wrong, retries=0) as client, pytest.raises(redis.AuthenticationError):
            client.ping()


@pytest.mark.slow
def test_tls_with_an_authority_of_its_own_reaches_every_server(tmp_path: Path) -> None:
    """The wheel's Valkey has no TLS."""
    program = needs("redis-server")
    identity = make_identity(tmp_path, ["127.0.0.1", "localhost"])
    with ExitStack() as stack:
        port = str(free_port())
        tls = ("--tls-port", port, *_tls(identity), "--tls-cluster", "yes", "--tls-replication", "yes")
        (tmp_path / "node").mkdir()
        bus = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        node = Valkey(tmp_path / "node", *bus, *tls, program=program)
        node.start()
        stack.callback(node.stop)
        node.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(
            lambda: "ok" in str(node.ask("CLUSTER", "INFO")).partition("cluster_state")[2][:8],
            "the cluster does not come up",
        )
        url = f"rediss+cluster://127.0.0.1:{port}?ssl_ca_certs={identity.ca}"
        with Publisher(url) as publisher, connect(url) as client:
            stream = layout.agree(client, 1).stream(MESSAGE["app"])
            publisher.publish(MESSAGE)
            assert client.xlen(stream) == 1
        with (
            Publisher(f"rediss+cluster://127.0.0.1:{port}", timeout=1) as stranger,
            pytest.raises(PublishError, match="ssl_ca_certs"),
        ):
            stranger.publish(MESSAGE)


def _tls(identity: Any) -> tuple[str, ...]:
    files = ("--tls-cert-file", identity.certificate, "--tls-key-file", identity.key, "--tls-ca-cert-file", identity.ca)
    return (*map(str, files), "--tls-auth-clients", "no")
