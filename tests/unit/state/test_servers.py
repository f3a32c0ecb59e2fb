"""The slot that a command of a client for any slot goes to."""

from contextlib import closing
from typing import Any, cast

import pytest
import redis

from producers.partitions import Layout, tags
from producers.topology import SLOTS, slot_of
from producers.urls import Address
from worker.state import servers
from worker.state.partition import Keyspace
from worker.state.redis import connect


@pytest.mark.parametrize(
    ("command", "key"),
    [
        pytest.param(("GET", "a"), b"a", id="text"),
        pytest.param(("set", b"a", 1), b"a", id="octets"),
        pytest.param(("EVALSHA", "sha", 2, "a", "b", "c"), b"a", id="a script"),
        pytest.param(("XREAD", "COUNT", 5, b"STREAMS", "a", "0"), b"a", id="a stream"),
        pytest.param(("XREADGROUP", "GROUP", "g", "c", b"STREAMS", "a", ">"), b"a", id="a group of a stream"),
        pytest.param(("XINFO STREAM", "a"), b"a", id="two words"),
        pytest.param(("EVAL", "return 1", 0, "a"), None, id="a script without keys"),
        pytest.param(("CONFIG GET", "a"), None, id="no key"),
        pytest.param(("PING",), None, id="nothing"),
    ],
)
def test_a_command_goes_to_the_slot_of_its_first_key(command: tuple[Any, ...], key: bytes | None) -> None:
    assert servers._slot(command) == (0 if key is None else slot_of(key))


def test_a_command_for_many_keys_is_one_for_each_and_answered_as_one() -> None:
    sent = list(servers._apart(3, ("MGET", "a", "b"), {}))
    assert [(one.place, one.part, one.slot, one.args) for one in sent] == [
        (3, 0, slot_of(b"a"), ("GET", "a")),
        (3, 1, slot_of(b"b"), ("GET", "b")),
    ]
    assert servers._together(("MGET", "a", "b"), {0: b"1", 1: None}) == [b"1", None]
    assert servers._together(("EXISTS", "a", "b"), {0: 1, 1: 1}) == 2
    fault = ValueError()
    assert servers._together(("DEL", "a", "b"), {0: 1, 1: fault}) is fault
    assert servers._together(("GET", "a"), {0: b"1"}) == b"1"


def test_one_server_s_client_is_the_one_for_every_slot() -> None:
    with connect("redis://127.0.0.1:1", slot_key="{a}") as client:
        assert servers.beside(client, "{b}") is client
        assert not servers.spread(client)
    with connect("redis+sentinel://127.0.0.1:1/0?service=bell") as client:
        assert servers.beside(client, "{b}") is client
    with connect("redis+cluster://127.0.0.1:1") as client:
        assert servers.spread(client)
        assert servers.beside(client, "{b}") is not client


def test_a_connection_on_which_nothing_can_be_sent_is_given_back() -> None:
    class Broken:
        def pack_commands(self, _commands: Any) -> list[bytes]:
            return []

        def send_packed_command(self, _packed: Any) -> None:
            raise redis.ConnectionError

    with connect("redis+cluster://127.0.0.1:1", retries=0) as client:
        pool: Any = client.connection_pool.pool
        lent, given_back = Broken(), list[Any]()
        pool.finder.address = lambda _slot: Address("127.0.0.1", 1)
        pool.lend, pool.release = lambda _slot: lent, given_back.append
        pipe = client.pipeline(transaction=False)
        pipe.get("a")
        with pytest.raises(redis.ConnectionError):
            pipe.execute()
    assert given_back == [lent]


def test_a_client_beside_another_one_leaves_the_connections_to_that_one() -> None:
    with connect("redis+cluster://127.0.0.1:1") as client:
        pool: Any = client.connection_pool.pool
        closed: list[Any] = []
        pool.close = lambda: closed.append(pool)
        servers.beside(client, "{a}").close()
        assert closed == []
    assert closed == [pool]


def test_a_server_with_several_partitions_is_one() -> None:
    with connect("redis+cluster://127.0.0.1:1") as client:
        pool: Any = client.connection_pool.pool
        pool.finder.address = lambda slot: Address("127.0.0.1", 1 if slot < SLOTS // 2 else 2)
        first, second, third, fourth = (servers.beside(client, f"carillon:{{{tag}}}:") for tag in tags(4))
        assert servers.server_of(first) == servers.server_of(second)
        assert servers.server_of(third) == servers.server_of(fourth) != servers.server_of(first)
    with connect("redis://127.0.0.1:1") as one, connect("redis://127.0.0.1:1") as other:
        assert servers.server_of(servers.beside(one, "{a}")) == servers.server_of(one) != servers.server_of(other)


def test_who_goes_on_without_an_answer_waits_two_seconds_for_it() -> None:
    with connect("redis+cluster://127.0.0.1:1") as client:
        pool: Any = client.connection_pool.pool
        brief: Any = servers.briefly(servers.beside(client, "{a}")).connection_pool
        assert brief.slot == slot_of(b"{a}")
        assert brief.pool is pool.brief is not pool
        assert brief.pool.finder is pool.finder
        connection = brief.pool.make_connection()
        assert (connection.socket_timeout, connection.socket_connect_timeout) == (2.0, 2.0)
        asked: list[int] = []

        def silent() -> None:
            asked.append(1)
            raise redis.TimeoutError

        with pytest.raises(redis.TimeoutError):
            connection.retry.call_with_retry(silent, lambda _: None)
        assert asked == [1]
    with connect("redis://127.0.0.1:1") as client:
        assert servers.briefly(client) is client


@pytest.mark.parametrize(
    ("url", "limits"),
    [
        ("redis://127.0.0.1:1", {"socket_timeout": 2.0, "socket_connect_timeout": 2.0}),
        ("unix:///nowhere/redis.sock", {"socket_timeout": 2.0}),
        ("redis+sentinel://127.0.0.1:1/0?service=main", {"socket_timeout": 2.0, "socket_connect_timeout": 2.0}),
        ("redis+cluster://127.0.0.1:1", {"socket_timeout": 2.0, "socket_connect_timeout": 2.0}),
    ],
)
def test_who_watches_the_server_waits_two_seconds_for_it_wherever_it_is(url: str, limits: dict[str, float]) -> None:
    with connect(url) as client, closing(servers.impatient(client)) as watching:
        pool, own = (cast("Any", one).connection_pool for one in (client, watching))
        pool, own = (getattr(one, "pool", one) for one in (pool, own))
        assert own is not pool
        connection = own.make_connection()
        assert {name: getattr(connection, name) for name in limits} == limits
        assert pool.make_connection().socket_timeout == 10


def test_few_threads_wait_for_a_server_whatever_partitions_it_has() -> None:
    with connect("redis+cluster://127.0.0.1:1") as client:
        pool: Any = client.connection_pool.pool
        pool.finder.address = lambda slot: Address("127.0.0.1", 1 if slot < SLOTS // 2 else 2)
        first, second, third, _ = Keyspace(client, lambda _: Layout(2, tags(4))).partitions
        with first.gate, second.brief.gate:
            with pytest.raises(redis.ConnectionError), first.gate:
                pass
            with third.gate:
                pass
            # Another server is the primary now.
            pool.finder.address = lambda _slot: Address("127.0.0.1", 3)
            with first.gate, second.gate:
                pass
        pool.finder.address = lambda slot: Address("127.0.0.1", 1 if slot < SLOTS // 2 else 2)
        with first.gate, second.gate:
            pass
