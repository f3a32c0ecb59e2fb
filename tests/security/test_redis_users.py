"""Each Redis user of docs/security.md does its work and nothing beyond it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from producers import AsyncPublisher, BackPressureError, Publisher
from tests.outbox.relays import InThread, badge, published, rows, write
from tests.producers.valkey import Valkey
from tests.road.fleet import wait_until
from tests.security.acl import denied, make, may, url_of, users


@pytest.fixture
def admin(valkey: Valkey) -> Iterator[Any]:
    with redis.Redis.from_url(valkey.url) as client:
        for name in users():
            make(client, name)
        yield client


def as_user(valkey: Valkey, name: str) -> "redis.Redis":
    return redis.Redis.from_url(url_of(valkey.url, name))


def test_the_page_names_every_role() -> None:
    assert users().keys() == {"carillon-producer", "carillon-relay", "carillon-worker", "carillon-flower"}


def test_a_producer_publishes_and_sets_presence(valkey: Valkey, admin: Any) -> None:
    url = url_of(valkey.url, "carillon-producer")
    with Publisher(url) as publisher:
        publisher.publish(badge(1))
        publisher.publish(badge(2))
        publisher.publish_many([badge(3), badge(4)])
        publisher.online("demo", "leia", 60)
        assert admin.exists("carillon:online:demo:leia")
        publisher.offline("demo", "leia")

    async def publish() -> None:
        async with AsyncPublisher(url) as publisher:
            await publisher.publish(badge(5))
            await publisher.online("demo", "leia", 60)

    asyncio.run(publish())
    assert published(admin) == ["1", "2", "3", "4", "5"]
    assert denied(admin) == []


def test_a_producer_hears_of_a_backlog(valkey: Valkey, admin: Any) -> None:
    with Publisher(url_of(valkey.url, "carillon-producer"), max_backlog=1) as publisher:
        publisher.publish(badge(1))
        with pytest.raises(BackPressureError):
            publisher.publish_many([badge(2)])


REFUSED = [
    *(("XRANGE", "carillon:events", "-", "+"), ("XREAD", "STREAMS", "carillon:events", "0")),
    *(("XDEL", "carillon:events", "0-1"), ("XTRIM", "carillon:events", "MAXLEN", "0"), ("DEL", "carillon:events")),
    *(("SET", "carillon:events", "x"), ("GET", "carillon:jwt:x"), ("HGETALL", "carillon:batch:x")),
    *(("LPUSH", "carillon:carillon.urgent", "x"), ("XADD", "carillon:other", "*", "a", "b")),
    *(("XADD", "carillon:online:demo:leia", "*", "a", "b"), ("SET", "carillon:onlin", "1")),
    *(("LPUSH", "carillon:reply:x", "y"), ("BRPOP", "carillon:events", "1")),
    *(("EVAL", "return redis.call('XRANGE', KEYS[1], '-', '+')", "1", "carillon:events"),),
    *(("EVAL", "return redis.call('GET', 'carillon:jwt:x')", "0"),),
    *(("FLUSHALL",), ("KEYS", "*"), ("SCAN", "0"), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("CLIENT", "LIST")),
    *(("SHUTDOWN",), ("MONITOR",), ("PUBLISH", "carillon:x", "y"), ("SCRIPT", "FLUSH")),
]


@pytest.mark.parametrize("command", REFUSED, ids=lambda command: " ".join(command)[:60])
def test_a_producer_can_do_nothing_else(valkey: Valkey, admin: Any, command: tuple[str, ...]) -> None:
    with as_user(valkey, "carillon-producer") as client:
        assert not may(client, *command)


def test_a_producer_may_wait_for_its_answer(valkey: Valkey, admin: Any) -> None:
    admin.lpush("carillon:reply:r1", "done")
    with as_user(valkey, "carillon-producer") as client:
        assert client.brpop(["carillon:reply:r1"], timeout=5) is not None


def test_a_relay_moves_rows_and_reads_nothing(valkey: Valkey, admin: Any, postgres_url: str) -> None:
    write(postgres_url, badge(1), badge(2))
    with InThread(postgres_url, url_of(valkey.url, "carillon-relay")):
        wait_until(lambda: not rows(postgres_url))
    assert published(admin) == ["1", "2"]
    assert denied(admin) == []
    with as_user(valkey, "carillon-relay") as client:
        assert not may(client, "XRANGE", "carillon:events", "-", "+")
        assert not may(client, "GET", "carillon:jwt:x")
        assert not may(client, "DEL", "carillon:events")


@pytest.mark.parametrize(
    "command",
    [
        *(("FLUSHALL",), ("CONFIG", "SET", "maxmemory", "1"), ("ACL", "LIST"), ("KEYS", "*"), ("SHUTDOWN",)),
        *(("GET", "somebody:else"), ("SET", "somebody:else", "x"), ("MONITOR",)),
        *(("EVAL", "return redis.call('GET', 'somebody:else')", "0"), ("PUBLISH", "somebody", "x")),
        *(("SCRIPT", "FLUSH"), ("FUNCTION", "LIST"), ("REPLICAOF", "NO", "ONE"), ("MIGRATE", "h", "1", "k", "0", "1")),
    ],
    ids=" ".join,
)
def test_a_worker_stays_in_its_own_keys_and_administers_nothing(
    valkey: Valkey, admin: Any, command: tuple[str, ...]
) -> None:
    with as_user(valkey, "carillon-worker") as client:
        assert not may(client, *command)


@pytest.mark.parametrize(
    "command",
    [
        *(("XRANGE", "carillon:events", "-", "+"), ("HGETALL", "carillon:batch:x"), ("GET", "carillon:jwt:x")),
        *(("FLUSHALL",), ("SET", "carillon:online:demo:leia", "1"), ("XADD", "carillon:events", "*", "event", "{}")),
    ],
    ids=" ".join,
)
def test_flower_sees_no_message_no_token_and_no_key(valkey: Valkey, admin: Any, command: tuple[str, ...]) -> None:
    with as_user(valkey, "carillon-flower") as client:
        assert not may(client, *command)
