"""The client's connections, which are lent for a command each."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from worker.state.redis import Redis, connect


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url, retries=0) as made:
        yield made


def held(client: Redis) -> tuple[int, int]:
    """Connections that are lent, and idle ones."""
    pool: Any = client.connection_pool
    return len(pool._in_use_connections), len(pool._available_connections)


def test_connections_that_the_server_has_closed_are_made_again(client: Redis, redis_url: str) -> None:
    with client.pipeline() as one, client.pipeline() as other:
        one.watch("a")
        other.watch("a")
    assert held(client) == (0, 2)
    with connect(redis_url) as killer:
        killer.client_kill_filter(_type="normal", skipme=True)
    for _ in range(3):
        assert client.ping()
        with client.pipeline(transaction=False) as pipe:
            pipe.ping()
            assert pipe.execute() == [True]


def test_an_answer_that_nobody_has_read_is_no_other_command_s(client: Redis) -> None:
    connection = client.connection_pool.get_connection()
    connection.send_command("ECHO", "of another one")
    assert connection.can_read(timeout=5)
    client.connection_pool.release(connection)
    assert client.echo("mine") == b"mine"
    assert held(client) == (0, 1)


def test_a_connection_comes_back_after_a_fault(client: Redis) -> None:
    with pytest.raises(redis.ResponseError, match="wrong number"):
        client.execute_command("GET")
    with pytest.raises(redis.ResponseError, match="wrong number"), client.pipeline() as pipe:
        pipe.execute_command("GET").execute()
    assert held(client) == (0, 1)


def test_a_connection_that_is_to_be_renewed_is_closed_when_it_comes_back(client: Redis) -> None:
    connection = client.connection_pool.get_connection()
    connection.mark_for_reconnect()
    client.connection_pool.release(connection)
    assert not connection.is_connected
    assert client.ping()


def test_connections_of_a_process_s_parent_are_left_to_it(client: Redis) -> None:
    assert client.ping()
    pool: Any = client.connection_pool
    [of_parent] = pool._available_connections
    pool.pid -= 1  # as a child finds it after a fork
    assert client.ping()
    assert of_parent not in pool._available_connections
    pool.release(of_parent)
    assert of_parent not in pool._available_connections


def test_a_client_closes_its_connections(redis_url: str) -> None:
    with connect(redis_url) as client:
        assert client.ping()
        [connection] = client.connection_pool._available_connections
    assert not connection.is_connected
