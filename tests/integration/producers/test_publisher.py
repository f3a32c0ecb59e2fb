"""What publishing promises, of both publishers, on a real Valkey."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from producers import STREAM, BackPressureError, EventError, PublishError, decode
from producers.events import ChannelRead, MessageNew
from producers.partitions import LAYOUT_KEY, Layout, encoded, tags
from tests.integration.producers.stored import documents, ids, stored
from tests.unit.producers.examples import EVERY_TYPE, MESSAGE, changed, numbered
from tests.valkey import free_port

START = datetime(2026, 11, 28, 14, 0, tzinfo=UTC)

Make = Callable[..., Any]


@pytest.mark.parametrize("event", EVERY_TYPE, ids=lambda event: event["type"])
def test_an_event_of_every_type_arrives_as_it_was(
    make: Make, redis_url: str, stream: Any, event: dict[str, Any]
) -> None:
    entry = make(redis_url).publish(event)
    assert stored(redis_url) == [(entry, decode(json.dumps(event)))]


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda event: decode(json.dumps(event)), id="an event"),
        pytest.param(lambda event: event, id="a mapping"),
        pytest.param(json.dumps, id="a string"),
        pytest.param(lambda event: json.dumps(event).encode(), id="bytes"),
    ],
)
def test_an_event_may_be_handed_in_in_any_form(
    make: Make, redis_url: str, stream: Any, form: Callable[[dict[str, Any]], Any]
) -> None:
    make(redis_url).publish(form(MESSAGE))
    ((_, event),) = stored(redis_url)
    assert event == decode(json.dumps(MESSAGE))


def test_many_events_keep_their_order_across_chunks(make: Make, redis_url: str, stream: Any) -> None:
    entries = make(redis_url).publish_many(iter(numbered(1_001)))
    assert ids(redis_url) == [f"evt-{number}" for number in range(1_001)]
    assert entries == [entry for entry, _ in stored(redis_url)]


def test_no_events_are_no_fault(make: Make, redis_url: str) -> None:
    assert make(redis_url).publish_many([]) == []


def test_one_bad_event_keeps_the_whole_call_from_the_stream(make: Make, redis_url: str, stream: Any) -> None:
    events = [*numbered(300), changed(MESSAGE, message__text=5)]
    with pytest.raises(EventError, match=r"^events\[300\]\.message\.text: expected a string"):
        make(redis_url).publish_many(events)
    with pytest.raises(EventError, match=r"^message\.text: expected a string"):
        make(redis_url).publish(events[-1])
    assert stream.xlen(STREAM) == 0


def test_what_is_no_event_at_all_is_refused_by_its_kind(make: Make, redis_url: str) -> None:
    with pytest.raises(EventError, match="got int"):
        make(redis_url).publish(5)


def test_presence_is_a_key_that_ends_by_itself_or_at_once(make: Make, redis_url: str, stream: Any) -> None:
    publisher = make(redis_url)
    publisher.online("demo", "han:solo", 30)
    assert stream.get("carillon:online:demo:han:solo") == b"1"
    assert 0 < stream.ttl("carillon:online:demo:han:solo") <= 30
    publisher.offline("demo", "han:solo")
    assert stream.exists("carillon:online:demo:han:solo") == 0


def test_presence_says_more_in_one_round_trip_and_ends_together(make: Make, redis_url: str, stream: Any) -> None:
    publisher = make(redis_url)
    keys = [f"carillon:{what}:demo:han" for what in ("online", "active", "viewing")]
    publisher.online("demo", "han", 30, active=True, viewing="messaging:general")
    assert stream.mget(keys) == [b"1", b"1", b"messaging:general"]
    assert all(0 < stream.ttl(key) <= 30 for key in keys)
    publisher.online("demo", "han", 60, viewing=("messaging:general", "root"))
    assert stream.get(keys[2]) == b"messaging:general\nroot"
    assert 0 < stream.ttl(keys[1]) <= 30, "what is not said stays"
    publisher.offline("demo", "han")
    assert stream.exists(*keys) == 0


def test_a_read_marker_only_grows(make: Make, redis_url: str, stream: Any) -> None:
    publisher = make(redis_url)
    at = datetime(2026, 11, 28, 14, 0, 4, 123_999, tzinfo=UTC)
    publisher.mark_read("demo", "han", "messaging:general", at)
    publisher.mark_read("demo", "han", "messaging:general", until=at - timedelta(hours=1))
    publisher.mark_read("demo", "han", "messaging:general", at - timedelta(hours=1), thread="root")
    score = at.timestamp() * 1000 // 1
    assert stream.zrange("carillon:read:demo:messaging:general", 0, -1, withscores=True) == [(b"han", score)]
    assert stream.zscore("carillon:read:demo:messaging:general\nroot", "han") == score - 3_600_000
    assert 0 < stream.ttl("carillon:read:demo:messaging:general") <= 90_000


def test_what_is_read_is_published_where_it_is_shown(make: Make, redis_url: str, stream: Any) -> None:
    publisher = make(redis_url)
    assert publisher.read("demo", "han", "general", START) is None
    assert stream.zscore("carillon:read:demo:general", "han") == START.timestamp() * 1000
    stream.zadd("carillon:shown:demo", {"general\nhan": 1, "general\nroot\nhan": 1})
    assert publisher.read("demo", "han", "general", START, device={"token": "00"}, unread=3)
    assert publisher.read("demo", "han", "general", START, "root")
    first, second = (decode(fields[b"event"]) for _, fields in stream.xrange("carillon:events"))
    assert isinstance(first, ChannelRead)
    assert isinstance(second, ChannelRead)
    assert (first.user, first.until, first.unread, first.thread) == ("han", START, 3, None)
    assert (second.thread, second.device, second.unread) == ("root", None, None)


@pytest.mark.parametrize(
    ("marked", "field"),
    [
        pytest.param(("a:b", "han", "general", START), "app", id="an app with a colon"),
        pytest.param(("demo", "han", "gene\nral", START), "channel.id", id="a channel with a line break"),
        pytest.param(("demo", "han", "general", START, "r\n"), "thread", id="a thread with a line break"),
        pytest.param(("demo", "han", "general", START.replace(tzinfo=None)), "until", id="a time of no zone"),
        pytest.param(("demo", "han", "general", 5), "until", id="no time"),
    ],
)
def test_a_marker_of_what_cannot_be_is_refused(
    make: Make, redis_url: str, stream: Any, marked: tuple[Any, ...], field: str
) -> None:
    with pytest.raises(EventError) as caught:
        make(redis_url).mark_read(*marked)
    assert caught.value.field == field
    assert stream.dbsize() == 0


@pytest.mark.parametrize(
    ("presence", "field"),
    [
        pytest.param(("a:b", "han", 30), "app", id="an app with a colon would be another's key"),
        pytest.param(("demo", "", 30), "user", id="no user"),
        pytest.param(("demo", "h\nn", 30), "user", id="a user with a line break"),
        pytest.param(("demo", "han", 0), "seconds", id="no time"),
        pytest.param(("demo", "han", 1.5), "seconds", id="half a second"),
        pytest.param(("demo", "han", 604_801), "seconds", id="more than a week"),
        pytest.param(("demo", "han", 60, True, "a\nb"), "channel.id", id="a channel with a line break"),
        pytest.param(("demo", "han", 60, True, ("a", "")), "thread", id="a thread without an id"),
    ],
)
def test_presence_of_nobody_is_refused(make: Make, redis_url: str, presence: tuple[Any, ...], field: str) -> None:
    with pytest.raises(EventError) as caught:
        make(redis_url).online(*presence)
    assert caught.value.field == field


def test_an_app_that_has_too_much_unread_is_refused_more_and_others_are_not(
    make: Make, redis_url: str, stream: Any
) -> None:
    publisher = make(redis_url, max_backlog=300)
    stream.hset("carillon:pressure", mapping={"redis_percent": 10, "at": 1, MESSAGE["app"]: 400})
    for publish in (lambda: publisher.publish(MESSAGE), lambda: publisher.publish_many(numbered(3))):
        with pytest.raises(BackPressureError, match=f"400 events of '{MESSAGE['app']}' wait unread"):
            publish()
    assert stream.xlen(STREAM) == 0
    assert publisher.publish(MESSAGE | {"app": "another"})
    stream.delete("carillon:pressure")
    assert publisher.publish(MESSAGE), "while no worker tells, nothing is refused"


def test_the_pressure_is_looked_at_once_a_second_for_each_app(make: Make, redis_url: str, stream: Any) -> None:
    publisher = make(redis_url)
    stream.config_resetstat()
    publisher.publish_many(numbered(500))
    for _ in range(20):
        publisher.publish(MESSAGE)
    looked = stream.info("commandstats")["cmdstat_hmget"]["calls"]
    assert looked <= 1 + 30, "the machine may be slow, but not a look a chunk and event"


@pytest.mark.parametrize("app", ["at", "redis_percent"])
def test_an_app_of_the_name_of_another_field_has_no_backlog(make: Make, redis_url: str, stream: Any, app: str) -> None:
    stream.hset("carillon:pressure", mapping={"redis_percent": 10, "at": 1_795_880_095})
    assert make(redis_url, max_backlog=5).publish(MESSAGE | {"app": app})


def test_events_go_to_their_app_s_own_stream_where_that_is_asked(make: Make, redis_url: str, stream: Any) -> None:
    publisher = make(redis_url, own_stream=True)
    publisher.publish_many([MESSAGE | {"app": "a"}, MESSAGE | {"app": "b"}, MESSAGE | {"app": "a", "id": "2"}])
    publisher.publish(MESSAGE | {"app": "b", "id": "2"})
    assert [stream.xlen(f"carillon:events:{app}") for app in "ab"] == [2, 2]
    assert stream.xlen(STREAM) == 0


def test_what_redis_refuses_of_several_events_is_an_error(make: Make, redis_url: str, stream: Any) -> None:
    stream.set("carillon:events:b", "no stream")
    with pytest.raises(PublishError, match="WRONGTYPE"):
        make(redis_url, own_stream=True, timeout=60).publish_many([MESSAGE | {"app": app} for app in "bb"])


def test_a_redis_without_memory_says_so_and_takes_nothing_of_the_chunk(make: Make, redis_url: str, stream: Any) -> None:
    publisher = make(redis_url)
    publisher.publish(MESSAGE)
    before = stream.config_get("maxmemory")["maxmemory"]
    stream.config_set("maxmemory", "1")
    try:
        for publish in (lambda: publisher.publish(MESSAGE), lambda: publisher.publish_many(numbered(3))):
            with pytest.raises(BackPressureError, match="maxmemory"):
                publish()
    finally:
        stream.config_set("maxmemory", before)
    assert stream.xlen(STREAM) == 1


def test_a_redis_that_is_away_is_an_error_that_says_what_to_do(make: Make) -> None:
    with pytest.raises(PublishError, match=r"0\.2 s and \d+ tries.*publish the same event again") as caught:
        make(f"redis://127.0.0.1:{free_port()}/0", timeout=0.2).publish(MESSAGE)
    assert caught.value.accepted == ()


def test_a_key_that_is_no_stream_is_named_at_once(make: Make, redis_url: str, stream: Any) -> None:
    stream.set(STREAM, "not a stream")
    with pytest.raises(PublishError, match="WRONGTYPE"):
        make(redis_url, timeout=60).publish(MESSAGE)


def test_a_wrong_password_is_named_at_once_and_not_shown(make: Make, valkey: Any) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("requirepass", "right")
    with pytest.raises(PublishError, match="refuses this user") as caught:
        make(valkey.url.replace("//", "//:wr0ng@"), timeout=60).publish(MESSAGE)
    assert "wr0ng" not in str(caught.value)
    assert make(valkey.url.replace("//", "//:right@")).publish(MESSAGE)


def test_a_url_that_is_none_is_refused_at_once(make: Make) -> None:
    with pytest.raises(ValueError, match="redis://"):
        make("localhost:6379")


def test_a_closed_publisher_publishes_nothing(make: Make, redis_url: str, stream: Any) -> None:
    publisher = make(redis_url)
    publisher.publish(MESSAGE)
    publisher.close()
    with pytest.raises(PublishError, match="closed"):
        publisher.publish(MESSAGE)
    assert stream.xlen(STREAM) == 1


def test_nothing_of_the_message_or_the_url_shows_in_a_publisher(make: Make, redis_url: str) -> None:
    assert redis_url not in repr(make(redis_url))


def test_a_python_event_needs_no_version_and_its_document_has_it(make: Make, redis_url: str, stream: Any) -> None:
    event = decode(json.dumps(MESSAGE))
    assert isinstance(event, MessageNew)
    built = MessageNew(
        id=event.id, app=event.app, at=event.at, channel=event.channel, message=event.message, sender=event.sender
    )
    make(redis_url).publish(built)
    assert json.loads(documents(redis_url)[0][1])["v"] == 1


FOUR = Layout(2, tags(4))
#: Each lives in another of four partitions.
APPS = ("demo", "acme", "a", "zu\u0308rich")


def test_events_of_many_apps_go_to_their_partitions_in_order(make: Make, redis_url: str, stream: Any) -> None:
    stream.set(LAYOUT_KEY, encoded(FOUR))
    events = [MESSAGE | {"app": APPS[n % 4], "id": f"{n}"} for n in range(500)]
    entries = make(redis_url).publish_many(events)
    found: dict[str, tuple[str, str]] = {}
    for first, app in enumerate(APPS):
        of_app = stream.xrange(FOUR.stream(app))
        assert [decode(fields[b"event"]).id for _, fields in of_app] == [str(n) for n in range(first, 500, 4)]
        found |= {decode(fields[b"event"]).id: (id.decode(), app) for id, fields in of_app}
    assert entries == [found[str(n)][0] for n in range(500)]
    assert stream.xlen(STREAM) == 0


def test_a_publisher_of_the_layout_of_before_loses_nothing(make: Make, redis_url: str, stream: Any) -> None:
    publisher = make(redis_url)
    publisher.publish(MESSAGE | {"id": "before"})
    with stream.pipeline() as pipe:
        pipe.set(STREAM, "closed").set(LAYOUT_KEY, encoded(FOUR)).execute()
    publisher.publish(MESSAGE | {"id": "after"})
    [(_, fields)] = stream.xrange(FOUR.stream(MESSAGE["app"]))
    assert decode(fields[b"event"]).id == "after"


def test_nothing_is_published_while_the_partitions_are_changed(make: Make, redis_url: str, stream: Any) -> None:
    stream.set(LAYOUT_KEY, encoded(Layout(1, closed=True)))
    publisher = make(redis_url, timeout=0.5)
    with pytest.raises(PublishError, match="the partitions are being changed"):
        publisher.publish(MESSAGE)
    assert stream.xlen(STREAM) == 0
    stream.set(LAYOUT_KEY, encoded(FOUR))
    publisher.publish(MESSAGE)
    assert stream.xlen(FOUR.stream(MESSAGE["app"])) == 1


def test_one_call_fills_the_home_and_the_channels_of_a_spread_app(make: Make, redis_url: str, stream: Any) -> None:
    spread = Layout(2, tags(4), spread=frozenset({"demo"}))
    stream.set(LAYOUT_KEY, encoded(spread))
    channels = [f"c{n}" for n in range(7)]
    events = [MESSAGE | {"id": f"{n}", "channel": {"id": channels[n % 7]}} for n in range(500)]
    muted = {"v": 1, "type": "user.muted", "app": "demo", "at": MESSAGE["at"], "user": "han", "target": "leia"}
    events[100:100] = [muted | {"id": "first"}]
    entries = make(redis_url).publish_many(events)
    assert len(entries) == 501
    streams = {spread.stream("demo", channel=channel) for channel in (*channels, None)}
    found = {key: [decode(fields[b"event"]) for _, fields in stream.xrange(key)] for key in streams}
    assert sum(map(len, found.values())) == 501
    for event in events:
        channel = event["channel"]["id"] if "channel" in event else None
        assert event["id"] in [one.id for one in found[spread.stream("demo", channel=channel)]]
    for of in found.values():
        ids = [int(one.id) for one in of if one.id != "first"]
        assert ids == sorted(ids)


def test_what_may_be_shown_is_asked_of_the_app_s_partition(make: Make, redis_url: str, stream: Any) -> None:
    stream.set(LAYOUT_KEY, encoded(FOUR))
    publisher = make(redis_url)
    assert publisher.read("demo", "han", "general", START) is None
    stream.zadd(FOUR.shown("demo"), {"general\nhan": 1})
    assert publisher.read("demo", "han", "general", START + timedelta(seconds=1))
    assert stream.xlen(FOUR.stream("demo")) == 1
