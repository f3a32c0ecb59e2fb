"""Members, mutes and channel settings count as they stood at a message's place: idle, in one pipeline, and in a backlog."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, message, stamp, token, user_of
from worker import facts
from worker.database.bulk import Reading
from worker.database.postgres import Pool
from worker.facts import members
from worker.facts.members import MEMBERS, Page, PageKey
from worker.facts.standings import StandingWrite

MESSAGES = 30


def added(user: str, seconds: float = 0, channel: str = "priv") -> ev.MemberAdded:
    return ev.MemberAdded(**stamp(seconds), channel=ev.ChannelId(id=channel), users=[user])


def removed(user: str, seconds: float = 0, channel: str = "priv") -> ev.MemberRemoved:
    return ev.MemberRemoved(**stamp(seconds), channel=ev.ChannelId(id=channel), users=[user])


def updated(seconds: float = 0, **settings: Any) -> ev.ChannelUpdated:
    return ev.ChannelUpdated(**stamp(seconds), channel=ev.ChannelSettings(id="priv", **settings))


def people(pipeline: Pipeline, *users: str) -> None:
    if users:
        pipeline.member("priv", *users)
    for other in ("eve", "bob"):
        if other not in users:
            pipeline.publish(ev.DeviceRegistered(**stamp(), user=other, device=ev.Device(token=token(other))))
    pipeline.run()
    pipeline.apns.sent.clear()


def one_pipeline(pipeline: Pipeline, published: list[ev.AnyEvent]) -> None:
    """All of it is applied before any of the messages is expanded."""
    pipeline.publish(*published)
    pipeline.run()


def backlog(pipeline: Pipeline, published: list[ev.AnyEvent]) -> None:
    """Stretches of a few entries each, expanded and sent when all are applied."""
    for at in range(0, len(published), 7):
        pipeline.publish(*published[at : at + 7])
        pipeline.take()
    pipeline.run()


def idle(pipeline: Pipeline, published: list[ev.AnyEvent]) -> None:
    """Message after message, each expanded when the next event is applied already."""
    for event in published:
        pipeline.publish(event)
        opened = pipeline.journal.take_messages("urgent", 500)
        pipeline.take()
        pipeline.fan_out.expand(opened)
    pipeline.run()


WAYS = pytest.mark.parametrize("way", [one_pipeline, backlog, idle], ids=lambda way: way.__name__)
Way = Callable[[Pipeline, list[ev.AnyEvent]], None]


def pushed(pipeline: Pipeline) -> Counter[str]:
    return Counter(map(user_of, pipeline.apns.sent))


def messages(first: int = 0, *, seconds: float = 0) -> list[ev.AnyEvent]:
    return [message("priv", "ann", f"e{n}", seconds=seconds) for n in range(first, first + MESSAGES)]


@WAYS
def test_who_came_later_gets_nothing_and_who_left_later_gets_all(pipeline: Pipeline, way: Way) -> None:
    people(pipeline, "ann", "bob")
    way(pipeline, [*messages(), added("eve", 1), removed("bob", 1), *messages(100, seconds=2)])
    assert pushed(pipeline) == {"bob": MESSAGES, "eve": MESSAGES}


@WAYS
def test_who_comes_and_goes_several_times_gets_what_was_said_meanwhile(pipeline: Pipeline, way: Way) -> None:
    people(pipeline, "ann", "bob")
    said = iter(messages())
    way(
        pipeline,
        [
            *(next(said), removed("bob", 1), next(said), added("bob", 2), next(said), next(said), removed("bob", 3)),
            *(next(said), added("bob", 2.5), next(said), added("bob", 4), added("bob", 5), next(said)),
        ],
    )
    assert [pipeline.account(f"e{n}")["page:0"]["pushed"] for n in range(7)] == [
        *(["bob"], [], ["bob"], ["bob"], [], [], ["bob"])
    ], "by places; a write that is older than what is known changes nothing"


@WAYS
def test_a_mute_counts_from_its_place_to_its_end(pipeline: Pipeline, way: Way) -> None:
    people(pipeline, "ann", "bob")
    muted = ev.UserMuted(**stamp(1), user="bob", target="ann")
    unmuted = ev.UserUnmuted(**stamp(2), user="bob", target="ann")
    way(pipeline, [*messages(), muted, *messages(100, seconds=1), unmuted, *messages(200, seconds=2)])
    assert pushed(pipeline) == {"bob": 2 * MESSAGES}
    assert pipeline.account("e0")["page:0"]["pushed"] == ["bob"]
    assert pipeline.account("e100")["page:0"]["skipped"]["muted_sender"] == ["bob"]
    assert pipeline.account("e200")["page:0"]["pushed"] == ["bob"]


@WAYS
def test_a_channel_is_on_or_off_and_named_as_it_was_then(pipeline: Pipeline, way: Way) -> None:
    people(pipeline, "ann", "bob")
    way(
        pipeline,
        [
            message("priv", "ann", "e0"),
            *(updated(1, name="Lounge"), message("priv", "ann", "e1"), updated(2, push_notifications=False)),
            *(message("priv", "ann", "e2"), updated(3, name="Bar"), updated(4, push_notifications=True)),
            *(message("priv", "ann", "e3"), updated(5, name="Pub")),
        ],
    )
    alerts = [json.loads(n.payload)["aps"]["alert"] for n in pipeline.apns.sent]
    assert [alert.get("subtitle") for alert in alerts] == [None, "Lounge", "Bar"]
    assert pipeline.account("e2")["page:0"] == {"message": "channel_push_off"}


@WAYS
def test_a_channel_that_was_made_later_is_unknown(pipeline: Pipeline, way: Way) -> None:
    people(pipeline, "ann")
    way(pipeline, [message("new", "ann", "e0"), added("bob", channel="new"), message("new", "ann", "e1")])
    assert pushed(pipeline) == {"bob": 1}
    assert pipeline.account("e0")["page:0"] == {"message": "unknown_channel"}


@WAYS
def test_the_mentioned_and_the_thread_are_members_by_the_place(pipeline: Pipeline, way: Way) -> None:
    people(pipeline, "ann", "bob")
    way(
        pipeline,
        [
            message("priv", "bob", "e0"),
            message("priv", "ann", "e1", mentioned=["eve"]),
            *(added("eve", 1), message("priv", "ann", "e2", parent_id="m-e0", mentioned=["eve"]), removed("bob", 1)),
            *(message("priv", "eve", "e3", parent_id="m-e0"), added("bob", 2)),
        ],
    )
    said = {n: pipeline.account(f"e{n}")["page:0"] for n in range(4)}
    assert said[1]["skipped"]["not_a_member"] == ["eve"]
    assert said[2]["pushed"] == ["eve", "bob"]
    assert (said[3]["pushed"], said[3]["skipped"]) == (["ann"], {"not_a_member": ["bob"], "sender": ["eve"]})


def test_a_large_channel_is_walked_as_it_was_though_it_changes_meanwhile(small_pages):
    pipeline = small_pages
    pipeline.save_app(member_cap=None)
    users = [f"u{n:02}" for n in range(35)]
    people(pipeline, "ann", *users)
    pipeline.publish(message("priv", "ann", "e0"))
    pipeline.take()
    [opened] = pipeline.journal.take_messages("urgent", 10)
    pipeline.fan_out.expand([opened])
    pipeline.publish(*(removed(user, 1) for user in users[::2]), added("a-newcomer", 1), added("u99", 1))
    pipeline.run()
    assert pushed(pipeline) == dict.fromkeys(users, 1)
    pipeline.publish(message("priv", "ann", "e1", seconds=2))
    pipeline.apns.sent.clear()
    pipeline.run()
    assert pushed(pipeline) == dict.fromkeys(users[1::2], 1)


def test_what_is_left_of_a_channel_is_counted_as_it_was(small_pages):
    pipeline = small_pages
    pipeline.save_app(member_cap=3)
    people(pipeline, "ann", *(f"u{n:02}" for n in range(30)))
    pipeline.publish(message("priv", "ann", "e0"), removed("u20", 1), added("u98", 1), added("u99", 1))
    pipeline.run()
    assert pipeline.account("e0")["page:0"]["rest"] == {"over_member_cap": 21}


def test_messages_of_one_channel_share_one_read_whatever_changed(pipeline, monkeypatch):
    people(pipeline, "ann", "bob")
    asked: list[int] = []
    reading = members.reading

    def counted(pool: Pool, starts: Mapping[PageKey, int], size: int) -> Reading[dict[PageKey, Page]]:
        asked.append(len(starts))
        return reading(pool, starts, size)

    monkeypatch.setattr(members, "reading", counted)
    one_pipeline(pipeline, [*messages(), added("eve", 1), *messages(100, seconds=1)])
    assert sum(asked) == 1
    assert pushed(pipeline) == {"bob": 2 * MESSAGES, "eve": MESSAGES}


def test_rows_of_the_release_before_are_from_before_every_place(pipeline):
    with pipeline.pool.connection() as db:
        db.execute("INSERT INTO carillon.channels (app, id) VALUES ('demo', 'priv')")
        db.execute(
            "INSERT INTO carillon.members (app, channel, user_id, at, present)"
            " VALUES ('demo', 'priv', 'ann', 1, true), ('demo', 'priv', 'bob', 1, true), ('demo', 'priv', 'eve', 1, false)"
        )
    people(pipeline)
    pipeline.publish(*messages())
    pipeline.run()
    assert pushed(pipeline) == {"bob": MESSAGES}


def test_a_repeated_import_writes_no_row(pipeline):
    people(pipeline, "ann", "bob")
    with pipeline.pool.connection() as db:
        before = db.execute("SELECT xmin, ctid FROM carillon.members ORDER BY user_id").fetchall()
        at = int(stamp()["at"].timestamp() * 1_000_000)
        MEMBERS.write(db, [StandingWrite(("demo", "priv", user), at, True, 9) for user in ("ann", "bob")])
        assert db.execute("SELECT xmin, ctid FROM carillon.members ORDER BY user_id").fetchall() == before


def test_writes_of_one_millisecond_are_kept_apart_and_old_rows_are_milliseconds(pipeline: Pipeline) -> None:
    """What a release before stored is milliseconds; a write that is half a millisecond older and comes later does nothing."""
    moment = datetime(2026, 11, 28, 12, 0, 0, 123_400, tzinfo=UTC)
    half = moment + timedelta(microseconds=500)

    def envelope(at: datetime) -> dict[str, Any]:
        return stamp() | {"at": at}

    pipeline.publish(ev.MemberRemoved(**envelope(half), channel=ev.ChannelId(id="c"), users=["han"]))
    pipeline.publish(ev.MemberAdded(**envelope(moment), channel=ev.ChannelId(id="c"), users=["han"]))
    pipeline.publish(ev.UserMuted(**envelope(half), user="han", target="leia"))
    pipeline.publish(ev.UserUnmuted(**envelope(moment), user="han", target="leia"))
    for at, push in ((half, False), (moment, True)):
        settings = ev.ChannelSettings(id="c", push_notifications=push)
        pipeline.publish(ev.ChannelUpdated(**envelope(at), channel=settings))
    pipeline.take()
    with pipeline.pool.connection() as db:
        asked = "SELECT m.present, u.muted, c.push FROM carillon.members m, carillon.mutes u, carillon.channels c"
        assert db.execute(asked).fetchall() == [(False, True, False)]
        db.execute(
            "INSERT INTO carillon.members (app, channel, user_id, at, present) VALUES ('demo', 'c', 'luke', %s, true)",
            (int(half.timestamp() * 1000),),
        )
    pipeline.publish(
        ev.MemberRemoved(**envelope(moment - timedelta(milliseconds=1)), channel=ev.ChannelId(id="c"), users=["luke"])
    )
    pipeline.take()
    with pipeline.pool.connection() as db:
        assert db.execute("SELECT present FROM carillon.members WHERE user_id = 'luke'").fetchall() == [(True,)]
    pipeline.publish(ev.MemberRemoved(**envelope(half), channel=ev.ChannelId(id="c"), users=["luke"]))
    pipeline.take()
    with pipeline.pool.connection() as db:
        assert db.execute("SELECT present FROM carillon.members WHERE user_id = 'luke'").fetchall() == [(False,)]


def test_a_message_that_is_expanded_when_what_was_is_forgotten_is_counted(pipeline):
    pipeline.save_app(max_age=10 * 365 * 86_400)
    people(pipeline, "ann", "bob")
    pipeline.publish(message("priv", "ann", "e0"), removed("bob", 1), added("eve", 1))
    pipeline.take()
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.member_past SET ended_at = ended_at - interval '25 hours'")
    facts.forget_old(pipeline.pool, 30)
    pipeline.now = time.time() + 25 * 3600
    pipeline.expand()
    assert pipeline.account("e0")["page:0"]["pushed"] == [], "who left is gone, and who joined later is still left out"
    assert pipeline.journal.counts("demo")["late"] == 1
