"""A second look: its users are decided by all rules but those of presence, as everything is by then. It is done once."""

import pytest
from msgspec.structs import replace

from producers import events as ev
from tests.integration.pipeline.harness import message, stamp, user_of
from worker.core.second_look import MOST, SecondLook
from worker.pipeline.plan import Plan
from worker.state import keys
from worker.state.journal import DONE, Opened, QueuedLook


def delay(pipeline, *users, kind="online", **fields):
    """A message about whose recipients nothing but this was decided: these users have a second look in 30 s."""
    pipeline.publish(message(**fields))
    pipeline.take()
    [opened] = pipeline.journal.take_messages("urgent", 10)
    looks = [QueuedLook(opened.entry, "0.0", "demo", opened.place, 30.0, SecondLook(kind, [*users]))]
    assert pipeline.journal.expand([opened.step(DONE)], [], {}, [], looks) == (set(), 0)
    pipeline.expand()
    assert pipeline.apns.sent == []


def test_it_decides_by_all_rules_as_things_are_by_then(pipeline):
    users = ("away", "here", "left", "mute", "bare")
    pipeline.member("general", "leia", "away", "here", "left", "mute")
    pipeline.member("general", "bare", devices=0)
    delay(pipeline, *users, mentioned=["here"])
    pipeline.redis.set(keys.ONLINE("demo", "here"), 1)
    pipeline.publish(ev.MemberRemoved(**stamp(1), channel=ev.ChannelId(id="general"), users=["left"]))
    pipeline.publish(ev.UserMuted(**stamp(1), user="mute", target="leia"))
    pipeline.later(30)
    assert sorted(map(user_of, pipeline.run())) == ["away", "here"]
    account = pipeline.account("e1")
    assert account["look:0.0"] == {
        "considered": 5,
        "pushed": ["away", "here"],
        "skipped": {"not_a_member": ["left"], "muted_sender": ["mute"], "no_device": ["bare"]},
    }
    assert pipeline.journal.backlog() == (0, 0)


def test_its_users_took_their_places_of_the_cap_before(pipeline):
    pipeline.save_app(member_cap=1)
    pipeline.member("general", "leia", "a", "b")
    delay(pipeline, "a", "b")
    pipeline.later(30)
    assert sorted(map(user_of, pipeline.run())) == ["a", "b"]


def test_listed_recipients_need_not_be_members(pipeline):
    pipeline.member("general", "leia")
    pipeline.member("elsewhere", "han")
    delay(pipeline, "han", recipients=["han"])
    pipeline.later(30)
    assert list(map(user_of, pipeline.run())) == ["han"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda pipeline: pipeline.save_app(push_enabled=False), "app_push_off"),
        (lambda pipeline: setattr(pipeline, "now", pipeline.now + 3601), "too_old"),
        (
            lambda pipeline: pipeline.publish(
                ev.ChannelUpdated(**stamp(1), channel=ev.ChannelSettings(id="general", push_notifications=False))
            ),
            "channel_push_off",
        ),
    ],
    ids=["app off", "too old", "channel off"],
)
def test_the_message_as_a_whole_is_decided_again(pipeline, change, reason):
    pipeline.member("general", "leia", "han")
    delay(pipeline, "han")
    change(pipeline)
    pipeline.later(30)
    assert pipeline.run() == []
    assert pipeline.account("e1")["look:0.0"] == {"considered": 1, "pushed": [], "skipped": {reason: ["han"]}}


def test_two_workers_expand_it_once(pipeline):
    pipeline.member("general", "leia", "han")
    delay(pipeline, "han")
    pipeline.later(30)
    [first] = pipeline.journal.take_messages("urgent", 10)
    pipeline.later(30)
    [second] = pipeline.journal.take_messages("urgent", 10)
    assert first == second
    assert pipeline.fan_out.expand([second]).batches.total() == 1
    assert pipeline.fan_out.expand([first]).batches.total() == 0


def test_what_is_left_of_many_is_given_back(pipeline, monkeypatch):
    monkeypatch.setattr("worker.pipeline.expansion.read.MEMBERS", 1)
    pipeline.member("general", "leia", "han", "luke")
    delay(pipeline, "han")
    delay(pipeline, "luke", id="e2")
    pipeline.later(30)
    assert sorted(map(user_of, pipeline.run())) == ["han", "luke"]


def test_many_users_are_several_second_looks_and_each_has_its_own_number():
    plan = Plan(str, 500, lambda *_: None, 0.0)
    opened = Opened("1-1", "demo", "", b"{}", 11, "")
    plan.look_again(opened, 0, "online", 30, [f"u{n}" for n in range(MOST + 1)])
    plan.look_again(opened, 0, "fold", 10, ["han"], {"n": 1})
    plan.look_again(replace(opened, look="0.1"), 0, "fold", 10, ["r2"])
    assert [(one.number, one.look.kind, len(one.look.users)) for one in plan.looks] == [
        ("0.0", "online", MOST),
        ("0.1", "online", 1),
        ("0.2", "fold", 1),
        ("0.1.0", "fold", 1),
    ]
    assert {one.place for one in plan.looks} == {11}
