"""Presence that loses nothing: who is there is decided again later, and whoever closed the laptop is notified."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, user_of
from worker.core.attention import Attention
from worker.core.second_look import SecondLook
from worker.reports.got_and_missed import of_user, reason_of
from worker.reports.looking_up import look_up, write_up
from worker.reports.push_log import Filter, read
from worker.reports.words import instant
from worker.state import backlog, keys
from worker.state.journal import QueuedLook

DELAY = 30
NOTHING: Final[Mapping[str, Any]] = {}


class Timeline(NamedTuple):
    """What is so when a message is written, and what happens until it is decided again; `then` is what became of han."""

    #: Reason of a skip, or 'push', at once.
    now: str
    #: The same at the second look; '': there is none.
    then: str = ""
    online: bool = False
    active: bool = False
    viewing: str = ""
    settings: Mapping[str, Any] = NOTHING
    app: Mapping[str, Any] = NOTHING
    message: Mapping[str, Any] = NOTHING
    #: Called with the pipeline in between.
    between: Any = None


def _reads(pipeline: Pipeline) -> None:
    pipeline.redis.zadd(keys.READ("demo", "general"), {"han": START.timestamp() * 1000}, gt=True)


def _leaves(pipeline: Pipeline) -> None:
    for family in (keys.ONLINE, keys.ACTIVE, keys.VIEWING):
        pipeline.redis.delete(family("demo", "han"))


def _leaves_channel(pipeline: Pipeline) -> None:
    pipeline.publish(ev.MemberRemoved(**stamp(10), channel=ev.ChannelId(id="general"), users=["han"]))


def _app_off(pipeline: Pipeline) -> None:
    pipeline.save_app(push_enabled=False, attention=Attention(online_delay=DELAY, present="active"))


def _channel_off(pipeline: Pipeline) -> None:
    settings = ev.ChannelSettings(id="general", push_notifications=False)
    pipeline.publish(ev.ChannelUpdated(**stamp(10), channel=settings))


def _mutes_sender(pipeline: Pipeline) -> None:
    pipeline.publish(ev.UserMuted(**stamp(10), user="han", target="leia"))


def _mutes_channel(pipeline: Pipeline) -> None:
    pipeline.publish(ev.PreferencesUpdated(**stamp(10), user="han", channel=ev.ChannelId(id="general"), level="none"))


def _is_quiet(pipeline: Pipeline) -> None:
    pause = START + timedelta(hours=1)
    pipeline.publish(ev.QuietUpdated(**stamp(20), user="han", pause_until=pause))


def _deleted(pipeline: Pipeline) -> None:
    pipeline.publish(
        ev.MessageDeleted(**stamp(10), channel=ev.ChannelId(id="general"), message=ev.MessageId(id="m-e1"))
    )


REPLY = {"parent_id": "root", "parent_sender": "han"}
TIMELINES = {
    "W01": Timeline("push"),
    "W02": Timeline("delayed", "read", active=True, between=_reads),
    "W03": Timeline("delayed", "push", active=True, between=_leaves),
    "W03 without a delay": Timeline("online", online=True, settings={"online_delay": None, "present": "online"}),
    "W04": Timeline("push", online=True),
    "W05": Timeline("delayed", "push", online=True, settings={"present": "online"}),
    "W06": Timeline("viewing", active=True, viewing="general"),
    "W07": Timeline("delayed", "push", active=True, viewing="random"),
    "W08": Timeline("delayed", "deleted", active=True, between=_deleted),
    "W09": Timeline("delayed", "channel_muted", active=True, between=_mutes_channel),
    "W10": Timeline("delayed", "paused", active=True, between=_is_quiet),
    "W11": Timeline(
        "delayed", "too_old", active=True, message={"expires_at": START.timestamp() + 20},
    ),
    "W13": Timeline("push", active=True, message={"urgency": "urgent"}),
    "W15": Timeline("viewing", online=True, viewing="general", app={"push_to_online": True}),
    "W15 elsewhere": Timeline("push", online=True, viewing="random", app={"push_to_online": True}),
    "W17": Timeline("delayed", "app_push_off", active=True, between=_app_off),
    "W18": Timeline("delayed", "push", active=True, viewing="general", message=REPLY),
    "W18 in the thread": Timeline("viewing", active=True, viewing="general\nroot", message=REPLY),
    "W18 a thread is not its channel": Timeline("delayed", "push", active=True, viewing="general\nroot"),
    "still there": Timeline("delayed", "push", active=True, online=True),
    "left the channel": Timeline("delayed", "not_a_member", active=True, between=_leaves_channel),
    "muted the sender": Timeline("delayed", "muted_sender", active=True, between=_mutes_sender),
    "channel off": Timeline("delayed", "channel_push_off", active=True, between=_channel_off),
    "mentioned": Timeline("delayed", "push", active=True, message={"mentioned": ["han"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", TIMELINES)
def test_who_is_present_is_decided_again(pipeline, name):
    line = TIMELINES[name]
    settings: dict[str, Any] = {"online_delay": DELAY, "present": "active", **line.settings}
    pipeline.save_app(attention=Attention(**settings), **line.app)
    pipeline.member("general", "leia", "han")
    for family, value in ((keys.ONLINE, line.online), (keys.ACTIVE, line.active), (keys.VIEWING, line.viewing)):
        if value:
            pipeline.redis.set(family("demo", "han"), value if isinstance(value, str) else 1, ex=60)
    pipeline.publish(_message(line))
    assert list(map(user_of, pipeline.run())) == (["han"] if line.now == "push" else [])
    assert _became(pipeline.account("e1"), "page:0") == line.now
    assert pipeline.redis.hlen(keys.SECOND_LOOKS()) == (line.now == "delayed")
    if line.between is not None:
        line.between(pipeline)
    pipeline.now += DELAY
    pipeline.later(DELAY)
    assert list(map(user_of, pipeline.run())) == (["han"] if line.then == "push" else [])
    assert _became(pipeline.account("e1"), "look:0.0") == line.then
    pipeline.later()
    assert pipeline.run() == [], "a deletion takes back what was shown a little later"
    assert pipeline.journal.backlog() == (0, 0)


def _message(line: Timeline) -> ev.MessageNew:
    fields = dict(line.message)
    expires = fields.pop("expires_at", None)
    event = message(**fields)
    if expires is None:
        return event
    return ev.MessageNew(
        **{name: getattr(event, name) for name in event.__struct_fields__} | {"expires_at": _at(expires)}
    )


def _at(seconds: float) -> Any:
    return START.fromtimestamp(seconds, START.tzinfo)


def _became(account: dict[str, Any], part: str) -> str:
    """What became of han in a part of the account."""
    found = account.get(part, {})
    if "han" in found.get("pushed", ()):
        return "push"
    if "han" in found.get("delayed", ()):
        return "delayed"
    return next((reason for reason, users in found.get("skipped", {}).items() if "han" in users), "")


def test_a_message_that_came_while_somebody_was_away_goes_first(pipeline):
    """W12."""
    pipeline.save_app(attention=Attention(online_delay=DELAY, present="active"))
    pipeline.member("general", "leia", "han")
    pipeline.redis.set(keys.ACTIVE("demo", "han"), 1)
    pipeline.publish(message(id="a"))
    assert pipeline.run() == []
    _leaves(pipeline)
    pipeline.publish(message(id="b", seconds=6))
    assert len(pipeline.run()) == 1
    pipeline.now += DELAY
    pipeline.later(DELAY)
    assert len(pipeline.run()) == 1
    assert [_became(pipeline.account("b"), "page:0"), _became(pipeline.account("a"), "look:0.0")] == ["push", "push"]


def test_a_worker_that_dies_delays_it_by_its_lease_and_it_is_sent_once(pipeline):
    """W16."""
    pipeline.save_app(attention=Attention(online_delay=DELAY, present="active"))
    pipeline.member("general", "leia", "han")
    pipeline.redis.set(keys.ACTIVE("demo", "han"), 1)
    pipeline.publish(message())
    pipeline.run()
    pipeline.later(DELAY)
    assert len(pipeline.journal.take_messages("urgent", 10)) == 1, "by a worker that dies"
    assert pipeline.run() == []
    pipeline.later(pipeline.journal.lease)
    assert len(pipeline.run()) == 1
    pipeline.later()
    assert pipeline.run() == []


def test_a_call_of_those_who_are_here_is_for_those_who_were_when_it_came(pipeline):
    """W19."""
    pipeline.save_app(attention=Attention(online_delay=DELAY, present="active"))
    pipeline.member("general", "leia", "han", "luke")
    for family in (keys.ONLINE, keys.ACTIVE):
        pipeline.redis.set(family("demo", "han"), 1)
    pipeline.publish(message(mentions=ev.Mentions(here=True)))
    pipeline.run()
    _leaves(pipeline)
    pipeline.later(DELAY)
    [sent] = pipeline.run()
    assert (user_of(sent), b'"why":"here"' in sent.payload) == ("han", True)


def test_a_delayed_member_takes_a_place_of_the_cap(pipeline):
    """O04: also if they have read it by then."""
    pipeline.save_app(member_cap=2, attention=Attention(online_delay=DELAY))
    pipeline.member("general", "leia", "a", "b", "c")
    pipeline.redis.set(keys.ONLINE("demo", "a"), 1)
    pipeline.publish(message())
    assert list(map(user_of, pipeline.run())) == ["b"]
    assert pipeline.account("e1")["page:0"] == {
        "considered": 3,
        "pushed": ["b"],
        "skipped": {"over_member_cap": ["c"], "sender": ["leia"]},
        "delayed": ["a"],
        "until": int(pipeline.now) + DELAY,
        "present": "online",
    }
    pipeline.later(DELAY)
    assert list(map(user_of, pipeline.run())) == ["a"]
    counts = pipeline.journal.counts("demo")
    assert (counts["delayed"], counts["considered"], counts["pushed"], counts["messages"]) == (1, 4, 2, 1)


def test_the_cap_counts_the_delayed_of_all_pages(small_pages):
    small_pages.save_app(member_cap=12, attention=Attention(online_delay=DELAY))
    users = [f"u{n:02}" for n in range(25)]
    small_pages.member("general", "leia", *users)
    for user in users:
        small_pages.redis.set(keys.ONLINE("demo", user), 1)
    small_pages.publish(message())
    assert small_pages.run() == []
    small_pages.later(DELAY)
    assert sorted(map(user_of, small_pages.run())) == users[:12]


def test_who_has_no_device_is_not_delayed(pipeline):
    pipeline.save_app(attention=Attention(online_delay=DELAY))
    pipeline.member("general", "leia")
    pipeline.member("general", "han", devices=0)
    pipeline.redis.set(keys.ONLINE("demo", "han"), 1)
    pipeline.publish(message())
    pipeline.run()
    assert pipeline.account("e1")["page:0"]["skipped"]["no_device"] == ["han"]
    assert pipeline.redis.hlen(keys.SECOND_LOOKS()) == 0


@pytest.mark.parametrize(
    ("key", "marker", "fields", "read"),
    [
        ("general", 0, {}, True),
        ("general", -1, {}, False),
        ("general", 0, REPLY, False),
        ("general\nroot", 0, REPLY, True),
        ("general\nroot", 0, {}, False),
    ],
    ids=["R01", "R02", "R06", "R06 its thread", "R06 a thread is not its channel"],
)
def test_who_has_read_it_gets_no_push(pipeline, key, marker, fields, read):
    pipeline.member("general", "leia", "han", "luke")
    pipeline.redis.zadd(keys.READ("demo", key), {"han": START.timestamp() * 1000 + marker, "luke": 5})
    pipeline.publish(message(**fields))
    assert ("han" in map(user_of, pipeline.run())) is not read
    assert _became(pipeline.account("e1"), "page:0") == ("read" if read else "push")


def test_a_marker_of_another_type_says_nothing(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.redis.set(keys.READ("demo", "general"), "now")
    pipeline.publish(message())
    assert len(pipeline.run()) == 1


def test_a_kind_that_this_release_does_not_know_is_decided_as_one_it_knows(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.take()
    [opened] = pipeline.journal.take_messages("urgent", 10)
    look = QueuedLook(opened.entry, "0.0", "demo", opened.place, 0.0, SecondLook("new", ["han"], {"any": 1}))
    pipeline.journal.expand([opened.step("-")], [], {}, [], [look])
    pipeline.later()
    assert len(pipeline.run()) == 1


def test_why_says_until_when_somebody_is_delayed_and_what_became_of_them(pipeline):
    pipeline.save_app(attention=Attention(online_delay=DELAY, present="active"))
    pipeline.member("general", "leia", "han", "luke")
    for user in ("han", "luke"):
        pipeline.redis.set(keys.ACTIVE("demo", user), 1)
    pipeline.publish(message())
    pipeline.run()
    asked = (pipeline.keyspace, pipeline.pool)
    write_up(pipeline.journal, pipeline.ledger)
    _, made = look_up(*asked, "demo", "e1")
    words = f"delayed until {instant(pipeline.now + DELAY)}, was active"
    assert {user: of.words for user, of in made.delayed.items()} == {"han": words, "luke": words}
    [one] = of_user(*asked, "demo", ["han"], 0).happened
    assert (one.decision, reason_of(one)) == ("delayed", words)
    _reads(pipeline)
    pipeline.later(DELAY)
    pipeline.run()
    write_up(pipeline.journal, pipeline.ledger)
    _, made = look_up(*asked, "demo", "e1")
    assert (made.delayed, made.skipped["han"], list(made.pushed)) == ({}, "read", ["luke"])
    [one] = of_user(*asked, "demo", ["han"], 0).happened
    assert (one.decision, one.reason) == ("skipped", "read")
    said = {(line.user, line.outcome, line.reason) for line in read(pipeline.pool, Filter(0, decisions=True)).lines}
    assert {("han", "skipped", "read"), ("luke", "pushed", ""), ("luke", "accepted", "")} <= said


def test_delayed_users_are_no_load(pipeline):
    pipeline.save_app(attention=Attention(online_delay=DELAY))
    pipeline.member("general", "leia", "han")
    pipeline.redis.set(keys.ONLINE("demo", "han"), 1)
    pipeline.publish(message())
    pipeline.run()
    waiting = backlog.read(pipeline.keyspace, {}).by(lambda one: (one.state,))
    assert waiting["scheduled",].messages == 1
    pipeline.later(DELAY)
    waiting = backlog.read(pipeline.keyspace, {}).by(lambda one: (one.state, one.app))
    assert waiting["ready", "demo"].messages == 1
    pipeline.run()
