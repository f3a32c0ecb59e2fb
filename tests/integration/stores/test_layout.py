"""The layout that workers read, and which the first one writes into an empty Redis."""

import pytest
from redis.exceptions import ResponseError

from producers import Publisher
from producers.partitions import LAYOUT_KEY, UNTAGGED, Layout, encoded, parsed, tags
from tests.integration.pipeline.harness import message
from worker.core.errors import UnfitError
from worker.state import layout
from worker.state.partition import Keyspace
from worker.state.redis import Redis


@pytest.mark.parametrize("wanted", [None, 1])
def test_one_partition_has_no_layout_and_the_names_of_before(redis: Redis, wanted: int | None) -> None:
    assert layout.agree(redis, wanted) == UNTAGGED
    assert not redis.exists(LAYOUT_KEY)
    [only] = Keyspace(redis)
    assert (only.keys.OPEN(), only.names.inlet) == ("carillon:open", "carillon:events")
    assert Keyspace(redis).fleet.keys.WORKERS() == "carillon:workers"


def test_an_empty_redis_gets_as_many_as_are_asked_for_and_everybody_else_reads_them(redis: Redis) -> None:
    found = layout.agree(redis, 4)
    assert found == layout.read(redis) == layout.agree(redis, None) == layout.agree(redis, 4)
    assert found == parsed(redis.get(LAYOUT_KEY)) == Layout(2, tags(4))  # type: ignore[arg-type]
    keyspace = Keyspace(redis)
    assert [of.prefix for of in keyspace] == [f"carillon:{{{tag}}}:" for tag in found.tags]
    assert keyspace.fleet.keys.WORKERS() == "carillon:{fleet}:workers"
    for app in ("acme", "demo", "zürich"):
        assert [of.owns(app) for of in keyspace].count(True) == 1
        assert keyspace.of_app(app).owns(app)


def test_a_spread_app_may_have_work_in_every_partition_and_has_one_home(redis: Redis) -> None:
    redis.set(LAYOUT_KEY, encoded(Layout(2, tags(4), spread=frozenset({"acme"}))))
    keyspace = Keyspace(redis)
    assert all(of.owns("acme") for of in keyspace)
    home = keyspace.of_app("acme")
    assert [of for of in keyspace if of.is_home("acme")] == [home]
    assert keyspace.all_of("acme") == [home, *(of for of in keyspace if of is not home)]
    assert keyspace.all_of("demo") == [keyspace.of_app("demo")]
    there = keyspace.of_channel("acme", "news")
    assert there is not home
    assert [of for of in keyspace if of.is_right("acme", "news")] == [there]
    assert [of for of in keyspace if of.is_right("acme", None)] == [home]
    assert keyspace.of_channel("demo", "news") is keyspace.of_app("demo")


def test_the_first_of_two_that_write_at_once_decides(redis: Redis) -> None:
    redis.set(LAYOUT_KEY, encoded(Layout(2, tags(8))))
    with pytest.raises(UnfitError, match="is 4, and this Redis has 8 partitions: set it to 8"):
        layout.agree(redis, 4)


@pytest.mark.parametrize("key", ["carillon:events", "carillon:intake:token"])
def test_a_redis_that_was_used_with_one_partition_is_refused_in_words(redis: Redis, key: str) -> None:
    redis.set(key, 1)
    with pytest.raises(UnfitError, match=r"this Redis has one partition: .* `carillon partitions set 4`"):
        layout.agree(redis, 4)
    assert not redis.exists(LAYOUT_KEY)


def test_events_on_an_app_s_own_stream_are_of_one_partition_too(redis: Redis) -> None:
    redis.xadd("carillon:events:acme", {"event": "{}"})
    with pytest.raises(UnfitError, match="this Redis has one partition"):
        layout.agree(redis, 4)
    assert redis.keys() == [b"carillon:events:acme"]


def test_an_event_that_comes_while_the_first_layout_is_written_is_of_one_partition(
    redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(**_: object) -> list[bytes]:
        with Publisher(redis_url) as publisher:
            publisher.publish(message(id="e1"))
        return []

    monkeypatch.setattr(redis, "scan_iter", meanwhile)
    with pytest.raises(UnfitError, match="this Redis has one partition"):
        layout.agree(redis, 4)
    assert redis.xlen("carillon:events") == 1
    assert not redis.exists(LAYOUT_KEY)


def test_a_layout_of_a_newer_release_is_refused(redis: Redis) -> None:
    redis.set(LAYOUT_KEY, '{"generation": 2, "partitions": 1, "tags": ["a"], "spread": {}}')
    with pytest.raises(UnfitError, match="newer release"):
        layout.read(redis)


def test_a_changed_layout_is_noticed(redis: Redis) -> None:
    keyspace = Keyspace(redis)
    assert len(keyspace.partitions) == 1
    assert not keyspace.moved()
    redis.set(LAYOUT_KEY, encoded(Layout(2, tags(2))))
    assert keyspace.moved()


def test_a_new_installation_with_partitions_refuses_a_producer_that_knows_none(redis: Redis) -> None:
    layout.agree(redis, 4)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        redis.xadd("carillon:events", {"event": "{}"})
    assert layout.agree(redis, 4).partitions == 4


def test_no_worker_begins_while_the_partitions_are_changed() -> None:
    layout.refuse_closed(Layout(2, tags(2)))
    with pytest.raises(UnfitError, match="the partitions are being changed"):
        layout.refuse_closed(Layout(2, tags(2), closed=True))
