"""Every way that a Redis URL may be written, and what each fault of Redis means."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from redis import exceptions
from redis.connection import SSLConnection, UnixDomainSocketConnection

from producers import BackPressureError, Publisher, PublishError
from producers.link import REPLICA, SENTINEL, options, translated, unfit
from producers.patience import AwayError
from producers.urls import CLUSTER
from producers.wire import ClosedError, NotAllowedError
from tests.integration.producers.stored import ids
from tests.unit.producers.examples import MESSAGE
from tests.valkey import Valkey, cluster


def test_a_url_may_carry_what_other_clients_take_for_their_pools() -> None:
    _, arguments = options("redis://localhost?max_connections=5&timeout=3&decode_responses=true&db=2")
    assert arguments == {"host": "localhost", "db": 2, "protocol": 2}


def test_tls_and_sockets_are_a_matter_of_the_url() -> None:
    kind, arguments = options("rediss://user:p%40ss@redis.example:6380/1?ssl_ca_certs=/ca.pem")
    assert kind is SSLConnection
    assert arguments == {
        "host": "redis.example",
        "port": 6380,
        "db": 1,
        "username": "user",
        "password": "p@ss",
        "ssl_ca_certs": "/ca.pem",
        "protocol": 2,
    }
    assert options("unix:///run/redis.sock")[0] is UnixDomainSocketConnection


def test_a_socket_file_works(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    file = tmp_path_factory.mktemp("s") / "redis.sock"
    server = Valkey(tmp_path, "--unixsocket", str(file))
    server.start()
    try:
        with Publisher(f"unix://{file}?db=0") as publisher:
            publisher.publish(MESSAGE)
        assert ids(server.url) == ["evt-1"]
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("fault", "meaning"),
    [
        pytest.param(exceptions.ConnectionError("refused"), AwayError, id="no connection"),
        pytest.param(exceptions.TimeoutError("slow"), AwayError, id="no answer"),
        pytest.param(OSError("broken pipe"), AwayError, id="a socket's own fault"),
        pytest.param(exceptions.BusyLoadingError("loading"), AwayError, id="reading its data"),
        pytest.param(exceptions.ReadOnlyError("replica"), AwayError, id="a replica, until the failover is over"),
        pytest.param(exceptions.ResponseError("MISCONF cannot save"), AwayError, id="a full disk"),
        pytest.param(exceptions.OutOfMemoryError("maxmemory"), BackPressureError, id="no memory"),
        pytest.param(
            exceptions.ResponseError("ERR Error running script: -OOM command not allowed"),
            BackPressureError,
            id="no memory, as older servers say it of a script",
        ),
        pytest.param(exceptions.AuthenticationError("invalid password"), PublishError, id="a wrong password"),
        pytest.param(
            exceptions.NoPermissionError("no permission to run eval"), NotAllowedError, id="a right is missing"
        ),
        pytest.param(exceptions.ResponseError("WRONGTYPE"), ClosedError, id="another kind of key"),
        pytest.param(exceptions.MovedError("4676 127.0.0.1:1"), PublishError, id="a cluster"),
    ],
)
def test_a_fault_of_redis_is_waited_out_only_where_waiting_helps(fault: Exception, meaning: type[Any]) -> None:
    assert type(translated(fault)) is meaning


HELLO = [b"server", b"redis", b"version", b"7.0.15", b"proto", 2, b"id", 3, b"mode", b"standalone", b"role", b"master"]


@pytest.mark.parametrize(
    ("hello", "fault"),
    [
        pytest.param(HELLO, None, id="a primary"),
        pytest.param([*HELLO[:-1], b"replica"], REPLICA, id="a replica"),
        pytest.param([*HELLO[:-3], b"cluster", b"role", b"master"], CLUSTER, id="a cluster"),
        pytest.param([*HELLO[:-3], b"sentinel"], SENTINEL, id="a sentinel"),
        pytest.param({b"mode": b"cluster", b"role": b"master"}, CLUSTER, id="a cluster, by the newer protocol"),
        pytest.param(b"OK", None, id="a proxy that says something else"),
    ],
)
def test_a_server_is_known_by_its_greeting(hello: Any, fault: str | None) -> None:
    assert unfit(hello) == fault


def test_nothing_is_published_into_a_cluster(make: Callable[..., Any], tmp_path: Path) -> None:
    with cluster(tmp_path) as server:
        with pytest.raises(PublishError, match="Cluster"):
            make(server.url).publish(MESSAGE)
        with redis.Redis(port=server.port) as client:
            assert client.dbsize() == 0


def test_a_replica_is_waited_for_and_then_named(make: Callable[..., Any], valkey: Valkey) -> None:
    with redis.Redis(port=valkey.port) as client:
        client.replicaof("127.0.0.1", 1)
        publisher = make(valkey.url, timeout=0.3)
        with pytest.raises(PublishError, match="read-only replica"):
            publisher.publish(MESSAGE)
        client.replicaof("NO", "ONE")
        publisher.publish(MESSAGE)
