"""What a relay does with rows, one batch after the other."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
import redis

from producers import Publisher, outbox
from producers.errors import EventError
from producers.events import MAX_DOCUMENT
from producers.partitions import LAYOUT_KEY, Layout, encoded, tags
from tests.integration.outbox.relays import badge, published, rows, write
from tests.valkey import Valkey, wait_until
from worker.database.outbox import Outbox
from worker.pipeline.outbox_relay import BacklogError, Pace, Relay
from worker.state import fence
from worker.state.fence import Fence, Overtaken
from worker.state.partition import Keyspace
from worker.state.redis import Redis, connect

MakeRelay = Callable[..., Relay]


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as connected:
        yield connected


@pytest.fixture
def relay(postgres_url: str, redis_url: str) -> Iterator[MakeRelay]:
    made: list[Relay] = []

    def make(max_backlog: int = 1_000_000, **pace: Any) -> Relay:
        one = Relay(
            Outbox(postgres_url),
            lambda source: Fence(redis_url, source, max_backlog=max_backlog),
            Pace(**pace),
            lambda _: None,
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def drained(relay: Relay) -> int:
    """How many rows were dealt with until none was left."""
    total = 0
    while dealt := relay.step():
        total += dealt
    return total


def test_committed_rows_go_to_the_stream_in_their_order_and_are_removed(
    postgres_url: str, client: Any, relay: MakeRelay
) -> None:
    write(postgres_url, *(badge(n) for n in range(25)))
    assert drained(relay(batch=10)) == 25
    assert published(client) == [str(n) for n in range(25)]
    assert rows(postgres_url) == []


def test_a_document_is_moved_as_it_was_written(postgres_url: str, client: Any, relay: MakeRelay) -> None:
    document = badge("ünï 😀").replace(": ", " :  ")
    write(postgres_url, document)
    drained(relay())
    [(_, fields)] = client.xrange("carillon:events")
    assert fields[b"event"].decode() == document


def test_a_jsonb_value_may_be_inserted_as_it_is(postgres_url: str, client: Any, relay: MakeRelay) -> None:
    with psycopg.connect(postgres_url) as db:
        db.execute("INSERT INTO carillon.outbox (event) SELECT %s::jsonb", (badge("from jsonb"),))
    drained(relay())
    assert published(client) == ["from jsonb"]


def test_what_was_rolled_back_is_never_published(postgres_url: str, client: Any, relay: MakeRelay) -> None:
    with psycopg.connect(postgres_url) as db:
        db.execute("INSERT INTO carillon.outbox (event) VALUES (%s)", (badge("undone"),))
        db.rollback()
    assert drained(relay()) == 0
    assert published(client) == []


BAD = [
    pytest.param("{", "document: not JSON", id="no JSON"),
    pytest.param("", "document: empty", id="nothing"),
    pytest.param(badge("x").replace("badge.cleared", "badge.clared"), "type:", id="an unknown type"),
    pytest.param(json.dumps(json.loads(badge("x")) | {"mentoined": 1}), "mentoined: unknown", id="a misspelt field"),
    pytest.param(" " * MAX_DOCUMENT + badge("x"), "document: 1,048,", id="longer than an event may be"),
]


@pytest.mark.parametrize(("document", "error"), BAD)
def test_a_bad_row_fails_with_its_error_and_its_neighbours_are_moved(
    postgres_url: str, client: Any, relay: MakeRelay, document: str, error: str
) -> None:
    write(postgres_url, badge("before"), document, badge("after"))
    drained(relay())
    assert published(client) == ["before", "after"]
    [found] = rows(postgres_url, "error")
    assert found.startswith(error)
    assert rows(postgres_url, "failed_at IS NOT NULL AND moved_at IS NULL") == [True]


def test_a_mended_row_is_tried_anew(postgres_url: str, client: Any, relay: MakeRelay) -> None:
    write(postgres_url, "{")
    one = relay()
    drained(one)
    with psycopg.connect(postgres_url) as db:
        db.execute("UPDATE carillon.outbox SET event = %s, failed_at = NULL, error = NULL", (badge("mended"),))
    drained(one)
    assert published(client) == ["mended"]
    assert rows(postgres_url) == []


def test_a_batch_holds_a_bounded_number_of_bytes(postgres_url: str, client: Any, relay: MakeRelay) -> None:
    write(postgres_url, *(" " * 400_000 + badge(n) for n in range(6)))
    one = relay()
    assert [one.step() for _ in range(3)] == [3, 3, 0]
    assert published(client) == [str(n) for n in range(6)]


def test_rows_may_be_kept_for_some_hours(postgres_url: str, client: Any, relay: MakeRelay) -> None:
    write(postgres_url, badge("old"), badge("new"))
    one = relay(keep_hours=2.0)
    drained(one)
    assert rows(postgres_url, "moved_at IS NOT NULL") == [True, True]
    with psycopg.connect(postgres_url) as db:
        db.execute("UPDATE carillon.outbox SET moved_at = now() - interval '3 h' WHERE event LIKE '%old%'")
    drained(one)
    assert [json.loads(event)["id"] for event in rows(postgres_url, "event")] == ["new"]
    assert published(client) == ["old", "new"]


def test_a_kept_row_can_be_moved_again(postgres_url: str, client: Any, relay: MakeRelay) -> None:
    write(postgres_url, badge("lost"))
    one = relay(keep_hours=1.0)
    drained(one)
    client.delete("carillon:events")
    with psycopg.connect(postgres_url) as db:
        db.execute("UPDATE carillon.outbox SET moved_at = NULL")
    drained(one)
    assert published(client) == ["lost"]


def test_rows_wait_while_the_stream_is_too_long(postgres_url: str, client: Any, relay: MakeRelay) -> None:
    write(postgres_url, *(badge(n) for n in range(5)))
    one = relay(max_backlog=3, batch=2)
    assert one.step() == 2
    for figures in ({"demo": 3}, {"demo": 0, "redis_percent": 80}):
        client.hset("carillon:pressure", mapping=figures)
        with pytest.raises(BacklogError):
            one.step()
    assert len(rows(postgres_url)) == 3
    client.hset("carillon:pressure", mapping={"demo": 2, "redis_percent": 79})
    assert drained(one) == 3


def test_a_batch_whose_deletion_was_not_committed_does_not_come_twice(
    postgres_url: str, redis_url: str, client: Any, relay: MakeRelay
) -> None:
    write(postgres_url, *(badge(n) for n in range(9)))
    table = Outbox(postgres_url)
    fence = Fence(redis_url, table.source(), max_backlog=100)
    with table.lead():
        fence.claim()
        fence.move([(f"{row.id}.{row.version}", (row.event or "").encode()) for row in table.waiting(6)])
        table.close()  # the relay dies here
    fence.close()
    assert drained(relay(batch=2)) == 9
    assert published(client) == [str(n) for n in range(9)]


def test_a_relay_that_was_thought_dead_writes_nothing_when_it_wakes(
    postgres_url: str, redis_url: str, client: Any, relay: MakeRelay
) -> None:
    write(postgres_url, *(badge(n) for n in range(4)))
    sleeper = Outbox(postgres_url)
    fence = Fence(redis_url, sleeper.source(), max_backlog=100)
    with sleeper.lead():
        fence.claim()
        batch = [(f"{row.id}.{row.version}", (row.event or "").encode()) for row in sleeper.waiting(2)]
        sleeper.close()  # Postgres ended its session
    drained(relay(batch=1))
    with pytest.raises(Overtaken):
        fence.move(batch)
    fence.close()
    assert published(client) == ["0", "1", "2", "3"]


def test_while_one_relay_moves_another_does_nothing(postgres_url: str, relay: MakeRelay) -> None:
    write(postgres_url, badge(1))
    leader = Outbox(postgres_url)
    with leader.lead() as leading:
        assert leading
        assert relay().step() == 0
    leader.close()


def test_a_row_that_somebody_has_locked_is_left_for_later(postgres_url: str, client: Any, relay: MakeRelay) -> None:
    write(postgres_url, badge(1), badge(2))
    one = relay()
    with psycopg.connect(postgres_url) as db:
        db.execute("SELECT FROM carillon.outbox ORDER BY id LIMIT 1 FOR UPDATE")
        assert one.step() == 1
    assert one.step() == 1
    assert published(client) == ["2", "1"]


def test_python_writes_checked_events_in_its_own_transaction(postgres_url: str, client: Any, relay: MakeRelay) -> None:
    with psycopg.connect(postgres_url) as db, db.cursor() as cursor:
        outbox.write(cursor, json.loads(badge("a mapping")), badge("a string"), badge("bytes").encode())
        with pytest.raises(EventError, match=r"^events\[1\].type"):
            outbox.write(cursor, badge("not written"), badge("bad").replace("badge.cleared", "nothing"))
    drained(relay())
    assert published(client) == ["a mapping", "a string", "bytes"]


def test_events_published_directly_and_through_the_outbox_stand_on_one_stream(
    postgres_url: str, redis_url: str, client: Any, relay: MakeRelay
) -> None:
    with Publisher(redis_url) as publisher:
        publisher.publish(badge("direct"))
    write(postgres_url, badge("outbox"))
    drained(relay())
    assert published(client) == ["direct", "outbox"]


FOUR = Layout(2, tags(4))


def test_each_row_goes_to_its_app_s_partition_in_order(postgres_url: str, client: Any, relay: MakeRelay) -> None:
    client.set(LAYOUT_KEY, encoded(FOUR))
    write(postgres_url, *(badge(n, ("acme", "demo")[n % 2]) for n in range(20)))
    assert drained(relay(batch=7)) == 20
    for first, app in enumerate(("acme", "demo")):
        assert published(client, FOUR.stream(app)) == [str(n) for n in range(first, 20, 2)]


def test_a_batch_that_one_partition_refused_does_not_come_twice(
    postgres_url: str, client: Any, relay: MakeRelay
) -> None:
    client.set(LAYOUT_KEY, encoded(FOUR))
    write(postgres_url, *(badge(n, ("acme", "demo")[n % 2]) for n in range(6)))
    client.hset(FOUR.pressure("demo"), mapping={"redis_percent": 0, "demo": 100})
    one = relay(max_backlog=50)
    with pytest.raises(BacklogError):
        one.step()
    assert published(client, FOUR.stream("acme")) == ["0", "2", "4"]
    assert len(rows(postgres_url)) == 6
    client.delete(FOUR.pressure("demo"))
    assert drained(one) == 6
    assert published(client, FOUR.stream("acme")) == ["0", "2", "4"]
    assert published(client, FOUR.stream("demo")) == ["1", "3", "5"]


def test_a_relay_of_the_layout_of_before_loses_nothing(postgres_url: str, client: Any, relay: MakeRelay) -> None:
    one = relay()
    write(postgres_url, badge("before"))
    assert drained(one) == 1
    client.set(LAYOUT_KEY, encoded(Layout(1, closed=True)))
    client.delete("carillon:events")
    client.set("carillon:events", "closed")
    write(postgres_url, badge("after"))
    with pytest.raises(BacklogError, match="the partitions are being changed"):
        one.step()
    with pytest.raises(BacklogError, match="the partitions are being changed"):
        relay().step()
    client.set(LAYOUT_KEY, encoded(FOUR))
    assert drained(relay()) == 1
    assert published(client, FOUR.stream("demo")) == ["after"]


SPREAD = Layout(2, tags(4), spread=frozenset({"acme"}))


def read(id: int, channel: str) -> str:
    """About a channel of `acme`."""
    said = {"type": "channel.read", "user": "han", "channel": {"id": channel}, "until": "2026-11-21T20:00:00Z"}
    return json.dumps(json.loads(badge(id, "acme")) | said)


def test_the_rows_of_a_spread_app_go_to_its_channels_and_its_home(
    postgres_url: str, client: Any, relay: MakeRelay
) -> None:
    client.set(LAYOUT_KEY, encoded(SPREAD))
    write(postgres_url, read(0, "lobby"), badge(1, "acme"), read(2, "lobby"), badge(3, "demo"), read(4, "news"))
    assert drained(relay()) == 5
    assert published(client, SPREAD.stream("acme")) == ["1"]
    assert published(client, SPREAD.stream("acme", channel="lobby")) == ["0", "2"]
    assert published(client, SPREAD.stream("acme", channel="news")) == ["4"]
    assert published(client, SPREAD.stream("demo")) == ["3"]


def test_a_batch_that_comes_again_is_known_where_it_came_in_pieces(
    postgres_url: str, client: Any, relay: MakeRelay
) -> None:
    client.set(LAYOUT_KEY, encoded(SPREAD))
    write(postgres_url, read(0, "lobby"), badge(1, "acme"), read(2, "lobby"), read(3, "news"))
    client.hset(SPREAD.pressure("acme", "news"), mapping={"redis_percent": 0, "acme": 100})
    one = relay(max_backlog=50)
    for _ in range(2):
        with pytest.raises(BacklogError):
            one.step()
    client.delete(SPREAD.pressure("acme", "news"))
    assert drained(one) == 4
    assert published(client, SPREAD.stream("acme", channel="lobby")) == ["0", "2"]
    assert published(client, SPREAD.stream("acme")) == ["1"]
    assert published(client, SPREAD.stream("acme", channel="news")) == ["3"]


class TwoServers(Keyspace):
    """The home of `acme` is on a server of its own."""

    second: Redis

    def client_of(self, key: str) -> Redis:
        return self.second if key == FOUR.prefix(FOUR.home_of("acme")) else self.redis


@pytest.fixture
def of_acme(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    with connect(valkey.url) as second:
        monkeypatch.setattr(TwoServers, "second", second, raising=False)
        monkeypatch.setattr(fence, "Keyspace", TwoServers)
        yield second
        valkey.thaw()


@pytest.mark.parametrize("layout", [FOUR, SPREAD], ids=["its own", "spread"])
def test_rows_for_a_server_that_is_silent_wait_and_hold_up_no_others(
    postgres_url: str, client: Any, relay: MakeRelay, valkey: Valkey, of_acme: Redis, layout: Layout
) -> None:
    """What is behind an event for a silent home waits as well."""
    client.set(LAYOUT_KEY, encoded(layout))
    theirs = [badge(0, "acme"), badge(1, "acme"), read(2, "lobby"), badge(3, "acme")]
    write(postgres_url, *theirs, *(badge(n) for n in range(4, 9)))
    one = relay(batch=2)
    valkey.freeze()
    assert drained(one) == 5
    assert published(client, layout.stream("demo")) == ["4", "5", "6", "7", "8"]
    assert len(rows(postgres_url)) == 4
    valkey.thaw()

    def all_moved() -> bool:
        with suppress(Overtaken):
            one.step()
        return not rows(postgres_url)

    wait_until(all_moved, "the others were not moved")
    lobby = layout.stream("acme", channel="lobby")
    if lobby == layout.stream("acme"):
        assert published(of_acme, lobby) == ["0", "1", "2", "3"]
    else:
        assert published(of_acme, layout.stream("acme")) == ["0", "1", "3"]
        assert published(client, lobby) == ["2"]


def test_a_claim_that_comes_late_makes_nobody_the_holder(
    postgres_url: str, client: Any, relay: MakeRelay, valkey: Valkey, of_acme: Redis
) -> None:
    client.set(LAYOUT_KEY, encoded(FOUR))
    write(postgres_url, badge(0, "acme"))
    slow, other = relay(), relay()
    valkey.freeze()
    assert slow.step() == 0
    valkey.thaw()
    key = FOUR.prefix(FOUR.home_of("acme")) + "outbox:" + slow._outbox.source()
    wait_until(lambda: of_acme.hexists(key, "holder"), "the claim did not come")
    assert other.step() == 1
    write(postgres_url, badge(1, "acme"))
    assert slow.step() == 1, "with a claim of its own"
    assert published(of_acme, FOUR.stream("acme")) == ["0", "1"]
