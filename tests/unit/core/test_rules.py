"""S1-S9 and A4 as a table: one plain message, and what each change to it does."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from producers.events import Channel, Message, MessageNew, Sender
from worker.core.attention import Attention
from worker.core.model import AppSettings, Device
from worker.core.notification import expiration
from worker.core.preferences import Row, Rows, judge_all
from worker.core.rules import (
    MESSAGE_RULES,
    Case,
    Decision,
    Skip,
    counted,
    decide_page,
    skip_message,
)
from worker.core.triggers import first_candidates, triggers

NOW = 1_800_000_000.0
APP = AppSettings(name="demo")


def message(**fields: object) -> Message:
    return Message(id="m", **fields)  # type: ignore[arg-type]


EVENT = MessageNew(
    id="e",
    app="demo",
    at=datetime.fromtimestamp(NOW - 1, UTC),
    channel=Channel(id="general"),
    message=message(text="hello"),
    sender=Sender(id="leia"),
)


def devices(*users: str) -> dict[str, list[Device]]:
    return {user: [Device(hash(user), user, 1, "aa", None, 0)] for user in users}


DELAYING = AppSettings("demo", attention=Attention(online_delay=30))
#: What is known of a message to han alone.
HAN: dict[str, Any] = {"members": {"han"}, "devices": devices("han")}


def decided(
    *users: str,
    event: MessageNew = EVENT,
    app: AppSettings = APP,
    cap_left: int | None = None,
    thread: Collection[str] | None = None,
    rows: Mapping[str, Rows] = {},
    **known: Any,
) -> Decision:
    verdicts = judge_all(triggers(event, thread=thread), own=rows, now=NOW)
    return decide_page(users, Case(event, app, verdicts=verdicts, **known), cap_left=cap_left)


@pytest.mark.parametrize(
    ("event", "app", "channel", "reason"),
    [
        pytest.param(EVENT, APP, {}, None, id="a plain message goes on"),
        pytest.param(
            replace(EVENT, message=message(skip_push=True)), APP, {}, "skip_push", id="S8 skip_push on the message"
        ),
        pytest.param(EVENT, APP, {"channel_push": False}, "channel_push_off", id="S9 the channel is off"),
        pytest.param(EVENT, AppSettings("demo", push_enabled=False), {}, "app_push_off", id="A6 the app is off"),
        pytest.param(EVENT, AppSettings("demo", max_age=1), {}, None, id="as old as allowed still goes"),
        pytest.param(
            replace(EVENT, at=datetime.fromtimestamp(NOW - 3601, UTC)), APP, {}, "too_old", id="older is dropped"
        ),
        pytest.param(
            replace(EVENT, expires_at=datetime.fromtimestamp(NOW - 1, UTC)), APP, {}, "too_old", id="its own end"
        ),
        pytest.param(
            replace(EVENT, at=datetime.fromtimestamp(0, UTC), expires_at=datetime.fromtimestamp(NOW + 1, UTC)),
            APP,
            {},
            None,
            id="its own end wins over the app's",
        ),
        pytest.param(EVENT, APP, {"channel_known": False}, "unknown_channel", id="nobody knows the channel"),
        pytest.param(EVENT, APP, {"deleted": True}, "deleted", id="it was deleted"),
        pytest.param(EVENT, APP, {"known": False}, "unknown_message", id="it edits what nobody knows"),
        pytest.param(EVENT, AppSettings("demo", only_to=()), {}, "not_allowed_here", id="the fleet may push to nobody"),
        pytest.param(
            replace(EVENT, recipients=["han"]), APP, {"channel_known": False}, None, id="recipients need no channel"
        ),
    ],
)
def test_a_message_is_skipped_as_a_whole_for(event, app, channel, reason):
    known = {"channel_push": True, "channel_known": True} | channel
    assert skip_message(event, app, moment=NOW, expires_at=expiration(event, app.max_age), **known) == reason
    assert reason is None or reason in MESSAGE_RULES


@pytest.mark.parametrize(
    ("user", "event", "app", "known", "expected"),
    [
        pytest.param("han", EVENT, APP, HAN, "message", id="S6 a member with a device gets a push"),
        pytest.param("leia", EVENT, APP, HAN, "sender", id="S2 never the sender"),
        pytest.param("luke", EVENT, APP, HAN, "not_a_member", id="S2 only members"),
        pytest.param(
            "luke",
            EVENT,
            APP,
            {"devices": devices("luke")},
            "message",
            id="a list of recipients is the membership",
        ),
        pytest.param(
            "han",
            EVENT,
            APP,
            HAN | {"facts": {"present": {"han"}}},
            "online",
            id="S3 A4 not while online",
        ),
        pytest.param(
            "han",
            EVENT,
            AppSettings("demo", push_to_online=True),
            HAN | {"facts": {"present": {"han"}}},
            "message",
            id="S3 unless the app pushes to online members",
        ),
        pytest.param(
            "han",
            replace(EVENT, message=message(parent_id="root")),
            APP,
            HAN | {"thread": {"chewie"}},
            "not_in_thread",
            id="S4 not in the thread",
        ),
        pytest.param(
            "han",
            replace(EVENT, message=message(parent_id="root")),
            APP,
            HAN | {"thread": {"han"}},
            "thread",
            id="S4 in the thread",
        ),
        pytest.param(
            "han",
            replace(EVENT, message=message(parent_id="root", mentioned=["han"])),
            APP,
            HAN | {"thread": set()},
            "mention",
            id="S4 mentioned in the reply itself",
        ),
        pytest.param(
            "han",
            EVENT,
            APP,
            HAN | {"facts": {"muted": {"han"}}},
            "muted_sender",
            id="S5 muted the sender",
        ),
        pytest.param(
            "han",
            replace(EVENT, message=message(mentioned=["han"])),
            APP,
            HAN | {"facts": {"muted": {"han"}}},
            "muted_sender",
            id="S5 a mute beats a mention",
        ),
        pytest.param("han", EVENT, APP, {"members": {"han"}}, "no_device", id="S11 no device"),
        pytest.param(
            "han",
            replace(EVENT, message=message(parent_id="root")),
            APP,
            HAN | {"thread": {"chewie"}, "thread_full": True},
            "thread_full",
            id="a full thread adds nobody",
        ),
        pytest.param(
            "han", EVENT, APP, HAN | {"rows": {"han": [("member", Row("none"))]}}, "channel_muted", id="muted it"
        ),
        pytest.param(
            "han",
            EVENT,
            APP,
            HAN | {"rows": {"han": [("member", Row("none"))]}, "facts": {"muted": {"han"}}},
            "muted_sender",
            id="a muted sender before preferences",
        ),
        pytest.param(
            "han",
            EVENT,
            APP,
            HAN | {"rows": {"han": [("user", Row("mentions"))]}, "facts": {"present": {"han"}}},
            "mentions_only",
            id="preferences before presence",
        ),
        pytest.param("han", EVENT, DELAYING, HAN | {"facts": {"present": {"han"}}}, "delayed", id="S3 with a delay"),
        pytest.param(
            "han",
            replace(EVENT, message=message(urgency="urgent")),
            DELAYING,
            HAN | {"facts": {"present": {"han"}}},
            "message",
            id="what is urgent is not delayed",
        ),
        pytest.param(
            "han",
            replace(EVENT, message=message(urgency="urgent")),
            APP,
            HAN | {"facts": {"present": {"han"}}},
            "online",
            id="S3 also if it is urgent, without a delay",
        ),
        pytest.param(
            "han",
            EVENT,
            DELAYING,
            HAN | {"facts": {"present": {"han"}, "viewing": {"han"}, "read": {"han"}}},
            "read",
            id="who has read it, before all of presence",
        ),
        pytest.param(
            "han",
            EVENT,
            DELAYING,
            HAN | {"facts": {"present": {"han"}}, "devices": {}},
            "no_device",
            id="nobody is delayed without a device",
        ),
    ],
)
def test_a_candidate_is_decided_by(user, event, app, known, expected):
    decision = decided(user, event=event, app=app, **known)
    found: list[str] = [push.why for push in decision.pushes] + [skip.reason for skip in decision.skips]
    found += ["delayed" for _ in decision.delayed]
    assert found == [expected]


def test_S6_every_device_of_a_user_gets_the_push():
    two = [Device(1, "han", 1, "aa", None, 0), Device(2, "han", 1, "bb", None, 0)]
    [push] = decided("han", members={"han"}, devices={"han": two}).pushes
    assert (push.user, push.devices, push.why) == ("han", two, "message")


def test_S7_the_cap_counts_members_who_are_notified_and_not_the_skipped():
    users = ["leia", "a", "b", "c"]
    decision = decided(*users, members=users, devices=devices("a", "b", "c"), cap_left=2)
    assert [push.user for push in decision.pushes] == ["a", "b"]
    assert decision.skips == [Skip("leia", "sender"), Skip("c", "over_member_cap")]


def test_S7_the_mentioned_take_no_place_of_the_cap_and_are_not_cut_off():
    users = ["z", "y", "a", "b", "c"]
    event = replace(EVENT, message=message(mentioned=["z", "y"]))
    decision = decided(*users, event=event, members=users, devices=devices(*users), cap_left=1)
    assert [push.user for push in decision.pushes] == ["z", "y", "a"]
    assert decision.skips == [Skip("b", "over_member_cap"), Skip("c", "over_member_cap")]
    assert counted(decision.pushes) == 1


@pytest.mark.parametrize("parent", [None, "root"])
def test_a_mention_of_everyone_is_a_mention_of_each_member(parent):
    users = ["a", "b", "leia", "x"]
    event = replace(EVENT, message=message(mentions_everyone=True, parent_id=parent))
    known: dict[str, Any] = {"members": {"a", "b", "leia"}, "facts": {"muted": {"b"}}, "thread": ()}
    decision = decided(*users, event=event, devices=devices(*users), cap_left=0, **known)
    assert [(push.user, push.why) for push in decision.pushes] == [("a", "everyone")]
    assert decision.skips == [Skip("b", "muted_sender"), Skip("leia", "sender"), Skip("x", "not_a_member")]
    assert counted(decision.pushes) == 0


def test_without_a_cap_everybody_is_notified():
    users = [f"u{n}" for n in range(500)]
    decision = decided(*users, members=users, devices=devices(*users), cap_left=None)
    assert len(decision.pushes) == 500


def test_a_skip_says_whose_row_it_was_where_a_preference_decided():
    rows: dict[str, Rows] = {"han": [("member", Row("none"))], "luke": [("user", Row("mentions"))]}
    decision = decided("leia", "han", "luke", rows=rows, devices=devices("han", "luke"))
    assert decision.skips == [
        Skip("leia", "sender"),
        Skip("han", "channel_muted", "member"),
        Skip("luke", "mentions_only", "user"),
    ]


@pytest.mark.parametrize(
    ("mentioned", "loud", "rows", "pushed"),
    [
        pytest.param(["c"], [], {}, "cab", id="O01 the mentioned come first and take no place"),
        pytest.param([], [], {"a": [("member", Row("none"))]}, "bc", id="O02 who is skipped takes no place"),
        pytest.param([], ["c"], {"c": [("member", Row("all"))]}, "ca", id="O03 who wants all of it first"),
        pytest.param(
            ["c"], [], {"c": [("user", Row(switches={"mention": False}))]}, "ca", id="a message takes a place"
        ),
    ],
)
def test_the_cap_cuts_off_those_whom_it_concerns_least(mentioned, loud, rows, pushed):
    event = replace(EVENT, message=message(mentioned=mentioned))
    candidates = dict.fromkeys([*first_candidates(event, None, loud), "a", "b", "c"])
    decision = decided(*candidates, event=event, rows=rows, devices=devices(*candidates), cap_left=2)
    assert "".join(push.user for push in decision.pushes) == pushed
