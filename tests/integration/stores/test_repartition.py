"""The number of partitions is changed, with all that outlives draining, and is killed in between."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from msgspec.structs import replace

from config.settings import Settings
from producers import Publisher
from producers import events as ev
from producers.events import STREAM
from producers.partitions import LAYOUT_KEY, UNTAGGED, Layout, encoded, tags
from tests.integration.pipeline.harness import Pipeline, message
from tests.integration.pipeline.test_push_send import push
from worker.core.model import AppSettings
from worker.embedded import Urls
from worker.process.repartition import RepartitionError, change, in_force, under_way
from worker.process.runtime import Runtime
from worker.reports import signs
from worker.reports.invariants import check_invariants
from worker.state.keys import FAMILIES
from worker.state.layout import CLOSED
from worker.state.redis import Redis
from worker.state.repartition import family_of, keys_of
from worker.state.repartition_rules import EVERYWHERE, LEFT, STREAMS

_MARK = re.compile(r"(\d-\d+)~\d+")
HAN, LEIA = "han", "leia"
OTHERS = ("acme", "a", "zu\u0308rich")


#: Families whose keys end by themselves while a slow machine runs a test.
_FOR_SECONDS = {"PROBE", "LOOKED"}


class KilledError(BaseException):
    """As by a signal."""


@pytest.fixture
def system(postgres_url: str, redis_url: str) -> Iterator["System"]:
    made = System(postgres_url, redis_url)
    yield made
    made.runtime.close()


class System:
    def __init__(self, postgres_url: str, redis_url: str) -> None:
        self.urls = postgres_url, redis_url
        self.runtime = Runtime(Settings(), Urls(redis_url, postgres_url))

    def pipeline(self) -> Pipeline:
        """That of the app `demo`, as workers that begin now."""
        return Pipeline(*self.urls, layout=in_force(self.runtime.redis))

    def change(self, number: int, *, kill_at: int | None = None) -> None:
        """`kill_at`: the step after which the command is killed."""
        self.run(change, number, kill_at=kill_at)

    def run(self, command: Callable[..., object], what: object, *, kill_at: int | None = None) -> None:
        """The same of any command."""
        steps = 0

        def tell(_: str) -> None:
            nonlocal steps
            if steps == kill_at:
                raise KilledError
            steps += 1

        runtime = Runtime(Settings(), self.runtime.urls)
        try:
            command(runtime, what, tell)
        finally:
            runtime.close()

    def state(self) -> dict[str, Any]:
        """All that the partitions have together, as if they had no tags."""
        found: dict[str, Any] = {}
        layout, redis = in_force(self.runtime.redis), self.runtime.redis
        for prefix, key in keys_of(redis, {layout.prefix(p) for p in range(layout.partitions)}):
            of = family_of(redis, prefix, key)
            if of is None or of[0] in LEFT | EVERYWHERE | STREAMS | _FOR_SECONDS:
                continue
            _add(found, key[len(prefix) :], _read(redis, key, FAMILIES[of[0]].type))
        return found

    def documents(self) -> list[str]:
        """Event ids on all streams."""
        layout, redis = in_force(self.runtime.redis), self.runtime.redis
        found: list[str] = []
        for p in range(layout.partitions):
            for key in redis.scan_iter(match=f"{layout.prefix(p)}events*", _type="stream"):
                entries: Any = redis.xrange(key)
                found += [json.loads(fields[b"event"])["id"] for _, fields in entries]
        return sorted(found)


def _read(client: Any, key: str, kind: str) -> Any:
    match kind:
        case "hash":
            return {_plain(field): _plain(value) for field, value in client.hgetall(key).items()}
        case "zset":
            return {_plain(member): score for member, score in client.zrange(key, 0, -1, withscores=True)}
        case "set":
            return dict.fromkeys(map(_plain, client.smembers(key)))
        case "list":
            return list(map(_plain, client.lrange(key, 0, -1)))
    return client.get(key)


def _plain(value: bytes) -> str:
    return _MARK.sub(r"\1", value.decode())


def _add(found: dict[str, Any], key: str, value: Any) -> None:
    before = found.get(key)
    if key.startswith("breaker:") and before == value:
        return  # a stop by hand is in all partitions of a spread app
    if isinstance(before, dict):
        assert not before.keys() & value.keys(), "nothing is there twice"
        before.update(value)
    elif isinstance(before, list):
        found[key] = sorted(before + value)
    else:
        found[key] = sorted(value) if isinstance(value, list) else value


def filled(system: System) -> None:
    """Scheduled pushes, a stopped provider's batches, badges, and events that nobody has read."""
    pipeline = system.pipeline()
    for name in OTHERS:
        pipeline.registry.save_app(AppSettings(name))
    pipeline.member("general", HAN, LEIA)
    pipeline.publish(message(id="first", recipients=[HAN]))
    assert len(pipeline.run()) == 1
    later = datetime.now(UTC) + timedelta(hours=2)
    pipeline.publish(*(push(id=f"scheduled-{n}", send_at=later) for n in range(3)))
    assert pipeline.run() == []
    pipeline.breaker.stop(pipeline.provider.id, "provider_token", pipeline.now, manual=True)
    pipeline.publish(*(message(id=f"held-{n}", recipients=[HAN]) for n in range(3)))
    pipeline.run()
    pipeline.close()
    with Publisher(system.runtime.urls.redis) as publisher:
        publisher.publish_many(_unread(n) for n in range(len(OTHERS) * 5))


def _unread(n: int) -> ev.MessageNew:
    app = OTHERS[n % len(OTHERS)]
    return replace(message(id=f"unread-{n}", recipients=[HAN]), app=app)


def test_nothing_is_lost_or_doubled_from_1_to_4_to_16_to_1(system: System) -> None:
    filled(system)
    before, documents = system.state(), system.documents()
    assert len(documents) == 3 + 3 + 5 * len(OTHERS)
    system.change(4)
    assert system.state() == before
    assert system.documents() == documents
    assert system.runtime.redis.get(STREAM) == CLOSED.encode()
    for step in range(5):
        with pytest.raises(KilledError):
            system.change(16, kill_at=step)
        with pytest.raises(RepartitionError, match="finish it first, with `carillon partitions set 16`"):
            system.change(8)
    system.change(16)
    assert system.state() == before
    assert system.documents() == documents
    system.change(1)
    assert system.state() == before
    assert system.documents() == documents
    layout = in_force(system.runtime.redis)
    assert (layout.generation, layout.partitions, len(layout.tags)) == (4, 1, 1)
    assert under_way(system.runtime.redis) is None
    _only_these_are_left(system, layout)
    _goes_on(system)


def test_what_goes_on_is_what_would_have_gone_on(system: System) -> None:
    filled(system)
    _goes_on(system)


def _only_these_are_left(system: System, layout: Layout) -> None:
    """Of the partitions of before only what closes their streams."""
    for key in system.runtime.redis.scan_iter(match="carillon:*"):
        name = key.decode()
        if not name.startswith((layout.prefix(0), "carillon:{fleet}:")) and name != LAYOUT_KEY:
            assert system.runtime.redis.get(key) == CLOSED.encode(), name


def _goes_on(system: System) -> None:
    """As if nothing had happened: what waits is pushed once, and the badges count on."""
    pipeline = system.pipeline()
    with pipeline.pool.connection() as db:
        assert check_invariants(pipeline.keyspace, db, looks=1) == []
    assert pipeline.run() == []
    pipeline.breaker.resume(pipeline.provider.id, by_hand=True)
    held = pipeline.run()
    assert sorted(_badge(one) for one in held) == [4, 4, 4]
    pipeline.publish(message(id="held-0", recipients=[HAN]))
    assert pipeline.run() == [], "it was recorded before"
    pipeline.now += 7200
    assert pipeline.later(7200) == 3
    assert len(pipeline.run()) == 6
    with pipeline.pool.connection() as db:
        assert check_invariants(pipeline.keyspace, db, looks=1) == []
    assert system.documents() == []
    pipeline.close()


def test_each_app_s_unread_events_keep_their_order(system: System) -> None:
    filled(system)
    system.change(4)
    layout = in_force(system.runtime.redis)
    for app in OTHERS:
        entries: Any = system.runtime.redis.xrange(layout.stream(app))
        ids = [json.loads(fields[b"event"])["id"] for _, fields in entries]
        assert [id for id in ids if id in (f"unread-{n}" for n in range(20) if OTHERS[n % len(OTHERS)] == app)] == [
            f"unread-{n}" for n in range(5 * len(OTHERS)) if OTHERS[n % len(OTHERS)] == app
        ]


def test_while_a_worker_runs_nothing_is_changed(system: System) -> None:
    signs.give(system.runtime.fleet, "host:7", ["urgent"])
    with pytest.raises(RepartitionError, match="workers run: host:7"):
        system.change(4)
    assert in_force(system.runtime.redis) == UNTAGGED
    assert under_way(system.runtime.redis) is None
    signs.withdraw(system.runtime.fleet, "host:7")
    with pytest.raises(RepartitionError, match="there is one partition already"):
        system.change(1)


@pytest.mark.parametrize("set_to", [1, 4])
def test_the_setting_may_be_the_number_of_before_or_the_new_one(system: System, set_to: int) -> None:
    runtime = Runtime(Settings(partitions=set_to), system.runtime.urls)
    try:
        assert change(runtime, 4).after.partitions == 4
    finally:
        runtime.close()


def test_a_publisher_that_knows_only_the_old_stream_is_refused(system: System) -> None:
    system.change(4)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        system.runtime.redis.xadd(STREAM, {"event": "{}"})


def _badge(notification: Any) -> int:
    return int(json.loads(notification.payload)["aps"]["badge"])


@pytest.mark.parametrize("published", [False, True], ids=["an older copy", "events since"])
def test_the_layout_that_redis_has_lost_is_not_begun_again_under_its_old_tags(
    system: System, redis: Redis, published: bool
) -> None:
    system.change(4)
    system.change(2)
    redis.flushdb()
    if published:
        redis.xadd("carillon:events", {"event": "{}"})
    else:
        redis.set(LAYOUT_KEY, encoded(Layout(2, tags(4))))
    system.change(4 if not published else 2)
    assert in_force(redis).generation == 4
    assert Runtime(Settings(), system.runtime.urls).keyspace.layout == in_force(redis)
