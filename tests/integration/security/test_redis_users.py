"""Each Redis user of docs/security.md does its work and nothing beyond it."""

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from producers import AsyncPublisher, BackPressureError, Publisher, PublishError
from producers.partitions import LAYOUT_KEY, Layout, encoded, tags
from tests.integration.outbox.relays import InThread, badge, published, rows, write
from tests.integration.security.acl import denied, make, may, url_of, users
from tests.processes import wait_until
from tests.programs import needs
from tests.valkey import Valkey
from worker.process.pulse import Pulse
from worker.reports import signs
from worker.state.partition import Keyspace
from worker.state.publishing import publish


@pytest.fixture(scope="module", params=["valkey", "redis-server"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The embedded Valkey, and the Redis of the system (Debian's is 7.0), with the users of the page."""
    program = None if request.param == "valkey" else needs(request.param)
    made = Valkey(tmp_path_factory.mktemp(request.param), program=program)
    made.start()
    with redis.Redis.from_url(made.url) as client:
        for name in users():
            make(client, name)
    yield made
    made.stop()


@pytest.fixture
def valkey(server: Valkey) -> Valkey:
    """The server, emptied."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        client.execute_command("ACL", "LOG", "RESET")
    return server


@pytest.fixture
def admin(valkey: Valkey) -> Iterator[Any]:
    with redis.Redis.from_url(valkey.url) as client:
        yield client


def as_user(valkey: Valkey, name: str) -> "redis.Redis":
    return redis.Redis.from_url(url_of(valkey.url, name))


def test_the_page_names_every_role() -> None:
    assert users().keys() == {
        *("carillon-producer", "carillon-producer-demo", "carillon-relay"),
        *("carillon-worker", "carillon-beat", "carillon-flower", "carillon-dashboard"),
    }


def test_a_producer_publishes_and_sets_presence(valkey: Valkey, admin: Any) -> None:
    url = url_of(valkey.url, "carillon-producer")
    with Publisher(url) as publisher:
        publisher.publish(badge(1))
        publisher.publish(badge(2))
        publisher.publish_many([badge(3), badge(4)])
        publisher.online("demo", "leia", 60, active=True, viewing="general")
        assert admin.exists("carillon:online:demo:leia")
        publisher.mark_read("demo", "leia", "general", datetime.now(UTC))
        publisher.read("demo", "leia", "general", datetime.now(UTC))
        publisher.offline("demo", "leia")

    async def publish() -> None:
        async with AsyncPublisher(url) as publisher:
            await publisher.publish(badge(5))
            await publisher.online("demo", "leia", 60)

    asyncio.run(publish())
    assert published(admin) == ["1", "2", "3", "4", "5"]
    assert denied(admin) == []


def test_a_producer_hears_of_a_backlog(valkey: Valkey, admin: Any) -> None:
    admin.hset("carillon:pressure", mapping={"redis_percent": 0, "demo": 1})
    with Publisher(url_of(valkey.url, "carillon-producer"), max_backlog=1) as publisher:
        for publish in (publisher.publish, lambda event: publisher.publish_many([event])):
            with pytest.raises(BackPressureError):
                publish(badge(1))


def test_a_producer_of_one_app_writes_to_that_app_s_stream_only(valkey: Valkey, admin: Any) -> None:
    with Publisher(url_of(valkey.url, "carillon-producer-demo"), own_stream=True) as publisher:
        publisher.publish(badge(1, "demo"))
        publisher.publish_many([badge(2, "demo"), badge(3, "demo")])
        publisher.online("demo", "leia", 60, active=True, viewing="general")
        publisher.mark_read("demo", "leia", "general", datetime.now(UTC))
        publisher.read("demo", "leia", "general", datetime.now(UTC))
        assert denied(admin) == []
        for refused in (
            lambda: publisher.publish(badge(4, "other")),
            lambda: publisher.online("other", "leia", 60),
            lambda: publisher.mark_read("other", "leia", "general", datetime.now(UTC)),
        ):
            with pytest.raises(PublishError, match="refuses this user"):
                refused()
    inlet = Publisher(url_of(valkey.url, "carillon-producer-demo"), timeout=60)
    with inlet, pytest.raises(PublishError, match="refuses this user"):
        inlet.publish(badge(5, "demo"))
    assert admin.xlen("carillon:events:demo") == 3


@pytest.mark.parametrize("name", ["carillon-producer", "carillon-producer-demo", "carillon-dashboard"])
def test_who_publishes_may_write_to_the_streams_of_a_spread_app(valkey: Valkey, admin: Any, name: str) -> None:
    spread = Layout(2, tags(4), spread=frozenset({"demo"}))
    admin.set(LAYOUT_KEY, encoded(spread))
    read = {"type": "channel.read", "user": "leia", "channel": {"id": "lobby"}, "until": "2026-11-21T20:00:00Z"}
    events = [json.loads(badge(1, "demo")), json.loads(badge(2, "demo")) | read]
    if name == "carillon-dashboard":
        with redis.Redis.from_url(url_of(valkey.url, name)) as client:
            publish(Keyspace(client), [json.dumps(event).encode() for event in events])
    else:
        with Publisher(url_of(valkey.url, name), own_stream=name.endswith("demo")) as publisher:
            publisher.publish_many(events)
    assert [admin.xlen(spread.stream("demo", channel=channel)) for channel in (None, "lobby")] == [1, 1]
    assert denied(admin) == []


def test_a_worker_may_run_every_command_of_the_scripts(admin: Any) -> None:
    lua = Path(__file__).parents[3] / "worker" / "state" / "lua"
    source = "".join(path.read_text() for path in lua.rglob("*.lua"))
    named = set(re.findall(r"(?:redis\.call|bulk)\('([A-Z]+)'", source))
    assert len(named) > 40
    allowed: set[str] = set()
    for rule in users()["carillon-worker"]:
        of = _named(admin, rule[2:]) if rule[1:2] == "@" and rule[2:] != "all" else {rule[1:]}
        allowed = allowed | of if rule[0] == "+" else allowed - of if rule[0] == "-" else allowed
    assert {name.lower() for name in named} - allowed == set()


def _named(admin: Any, category: str) -> set[str]:
    """The commands of a category."""
    commands = admin.execute_command("ACL", "CAT", category)
    return {name.decode() if isinstance(name, bytes) else name for name in commands}


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


def test_a_producer_of_one_app_writes_its_stream_and_presence_and_hears_answers(valkey: Valkey, admin: Any) -> None:
    admin.lpush("carillon:reply:r1", "done")
    admin.hset("carillon:pressure", "redis_percent", 7)
    with as_user(valkey, "carillon-producer-demo") as client:
        assert client.xadd("carillon:events:demo", {"event": "{}"})
        client.set("carillon:online:demo:han", 1, ex=60)
        client.delete("carillon:online:demo:han")
        assert client.brpop(["carillon:reply:r1"], timeout=5) is not None
        assert client.hget("carillon:pressure", "redis_percent") == b"7"
    assert denied(admin) == []


@pytest.mark.parametrize(
    "command",
    [
        *(("XADD", "carillon:events:other", "*", "event", "{}"), ("XADD", "carillon:events", "*", "event", "{}")),
        *(("XADD", "carillon:events:demo2", "*", "event", "{}"), ("SET", "carillon:online:other:han", "1")),
        *(("XRANGE", "carillon:events:demo", "-", "+"), ("XREAD", "STREAMS", "carillon:events:demo", "0")),
        *(("XDEL", "carillon:events:demo", "0-1"), ("XTRIM", "carillon:events:demo", "MAXLEN", "0")),
        *(
            ("DEL", "carillon:events:demo"),
            ("SET", "carillon:events:demo", "x"),
            ("XINFO", "STREAM", "carillon:events:demo"),
        ),
        *(("HSET", "carillon:pressure", "redis_percent", "0"), ("HGET", "carillon:batch:x", "doc")),
        *(("EVAL", "return 1", "0"), ("FCALL", "f", "0"), ("LPUSH", "carillon:carillon.urgent", "x"), ("INFO",)),
        *(("GET", "carillon:jwt:x"), ("SCAN", "0"), ("KEYS", "*"), ("CLIENT", "LIST"), ("CLIENT", "KILL", "ID", "1")),
        *(
            ("FLUSHALL",),
            ("SUBSCRIBE", "x"),
            ("MONITOR",),
            ("ACL", "LIST"),
            ("CONFIG", "GET", "*"),
            ("CLIENT", "PAUSE", "1"),
        ),
    ],
    ids=lambda command: " ".join(command)[:60],
)
def test_a_producer_of_one_app_can_do_nothing_to_another(valkey: Valkey, admin: Any, command: tuple[str, ...]) -> None:
    with as_user(valkey, "carillon-producer-demo") as client:
        assert not may(client, *command)


@pytest.mark.parametrize(
    "command",
    [
        *(("LPUSH", "carillon:carillon.urgent", "x"), ("RPUSH", "carillon:carillon.bulk", "x")),
        *(
            ("HSET", "carillon:unacked", "x", "y"),
            ("ZADD", "carillon:unacked_index", "1", "x"),
            ("EVAL", "return redis.call('LPUSH', KEYS[1], 1)", "1", "carillon:carillon.urgent"),
        ),
        *(("DEL", "carillon:carillon.urgent"), ("XADD", "carillon:events:demo", "*", "event", "{}")),
    ],
    ids=" ".join,
)
def test_flower_puts_nothing_into_a_queue(valkey: Valkey, admin: Any, command: tuple[str, ...]) -> None:
    with as_user(valkey, "carillon-flower") as client:
        assert not may(client, *command)


def test_beat_gives_its_sign_of_life_also_after_the_partitions_were_changed(
    valkey: Valkey, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.process.pulse._EVERY", 0.0)
    give = Pulse(url_of(valkey.url, "carillon-beat"))
    give()
    assert signs.beat(Keyspace(admin).fleet)
    admin.set(LAYOUT_KEY, encoded(Layout(2, tags(4))))
    assert not signs.beat(Keyspace(admin).fleet)
    give()
    assert signs.beat(Keyspace(admin).fleet)
    assert denied(admin) == []


@pytest.mark.parametrize(
    "command",
    [
        *(("BRPOP", "carillon:carillon.urgent", "1"), ("LRANGE", "carillon:carillon.urgent", "0", "-1")),
        *(
            ("LPUSH", "carillon:carillon.bulk", "x"),
            ("XADD", "carillon:events", "*", "event", "{}"),
            ("EVAL", "return 1", "0"),
        ),
        *(
            ("GET", "carillon:jwt:x"),
            ("FLUSHALL",),
            ("CLIENT", "KILL", "ID", "1"),
            ("PUBLISH", "carillon:/0.celery.pidbox", "x"),
        ),
    ],
    ids=" ".join,
)
def test_beat_reads_nothing(valkey: Valkey, admin: Any, command: tuple[str, ...]) -> None:
    with as_user(valkey, "carillon-beat") as client:
        assert not may(client, *command)
