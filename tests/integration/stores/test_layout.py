"""The layout that workers read, and which the first one writes into an empty Redis."""

import pytest
from redis.exceptions import ResponseError

from config.settings import Settings
from producers import Publisher
from producers.partitions import LAYOUT_KEY, UNTAGGED, Layout, encoded, parsed, tags
from tests.integration.pipeline.harness import message
from worker.core.errors import UnfitError
from worker.embedded import Urls
from worker.process.runtime import Runtime
from worker.state import layout
from worker.state.partition import Keyspace
from worker.state.redis import Redis, connect


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


FOUR = Layout(3, tags(4, 3), spread=frozenset({"acme"}))


@pytest.mark.parametrize("wanted", [None, 4])
def test_an_empty_redis_gets_back_what_postgres_has(
    redis: Redis, wanted: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert layout.agree(redis, wanted, encoded(FOUR)) == FOUR == layout.read(redis)
    assert "in force again" in caplog.text
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        redis.xadd("carillon:events", {"event": "{}"})
    assert layout.agree(redis, wanted, encoded(FOUR)) == FOUR


def test_an_empty_redis_gets_it_back_also_where_another_number_is_wanted_which_is_refused(redis: Redis) -> None:
    with pytest.raises(UnfitError, match="is 8, and this Redis has 4 partitions"):
        layout.agree(redis, 8, encoded(FOUR))
    assert layout.read(redis) == FOUR


def test_a_redis_that_was_used_since_it_lost_its_layout_is_refused(redis: Redis) -> None:
    redis.xadd("carillon:events", {"event": "{}"})
    with pytest.raises(UnfitError, match=r"has lost its layout: Postgres knows of 4 .*`carillon partitions set 4`"):
        layout.agree(redis, None, encoded(FOUR))
    assert not redis.exists(LAYOUT_KEY)


@pytest.mark.parametrize(
    ("there", "words"),
    [
        pytest.param(Layout(2, tags(2)), "2 partitions of generation 2, and Postgres knows of 4", id="an older copy"),
        pytest.param(Layout(3, tags(2, 3)), "of two installations", id="another installation"),
    ],
)
def test_a_layout_that_postgres_does_not_know_is_refused(redis: Redis, there: Layout, words: str) -> None:
    redis.set(LAYOUT_KEY, encoded(there))
    with pytest.raises(UnfitError, match=words):
        layout.agree(redis, None, encoded(FOUR))


@pytest.mark.parametrize(
    "there", [Layout(4, tags(2, 4)), Layout(3, tags(4, 3)), FOUR], ids=["newer", "other spread apps", "the same"]
)
def test_a_layout_of_redis_counts_that_is_as_new(redis: Redis, there: Layout) -> None:
    redis.set(LAYOUT_KEY, encoded(there))
    assert layout.agree(redis, None, encoded(FOUR)) == there


def test_a_process_keeps_in_postgres_what_redis_has_and_gives_it_back(
    redis: Redis, redis_url: str, postgres_url: str
) -> None:
    redis.set(LAYOUT_KEY, encoded(FOUR))

    def found() -> Layout:
        runtime = Runtime(Settings(), Urls(redis_url, postgres_url))
        try:
            return runtime.keyspace.layout
        finally:
            runtime.close()

    assert found() == FOUR
    redis.flushdb()
    assert found() == FOUR == layout.read(redis)
    redis.set(LAYOUT_KEY, encoded(Layout(2, tags(4, 2))))
    with pytest.raises(UnfitError, match="a copy from before the last change"):
        found()


def test_a_user_who_may_not_read_it_gets_the_right_named(redis: Redis, redis_url: str) -> None:
    redis.acl_setuser("blind", enabled=True, nopass=True, keys=["carillon:events"], commands=["+@all"])
    try:
        with (
            connect(redis_url.replace("://", "://blind:any@")) as blind,
            pytest.raises(UnfitError, match=r"may not read carillon:layout.*%R~carillon:layout -@all \+get"),
        ):
            layout.read(blind)
    finally:
        redis.acl_deluser("blind")
