"""Preferences from the event to the account: what users, channels and apps say about how loud something is."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, user_of
from worker.core.attention import Attention
from worker.facts import preferences


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str) -> Iterator[Pipeline]:
    made = Pipeline(postgres_url, redis_url)
    yield made
    made.close()


def prefers(user: str, seconds: float = 1, **said: Any) -> ev.PreferencesUpdated:
    if isinstance(channel := said.get("channel"), str):
        said["channel"] = ev.ChannelId(id=channel)
    return ev.PreferencesUpdated(**stamp(seconds), user=user, **said)


def in_general(user: str, seconds: float = 1, **said: Any) -> ev.PreferencesUpdated:
    return prefers(user, seconds, channel="general", **said)


def in_thread(user: str, seconds: float = 1, **said: Any) -> ev.PreferencesUpdated:
    return prefers(user, seconds, channel="general", thread="root", **said)


def outcome(pipeline: Pipeline, id: str, user: str) -> str:
    """Why a user got a push; or the reason for which they got none, and the row that decided."""
    account = pipeline.account(id)["page:0"]
    for reason, users in account["skipped"].items():
        if user in users:
            by = account.get("by", {}).get(user)
            return f"{reason} by {by}" if by else reason
    payloads = [json.loads(one.payload)["carillon"] for one in pipeline.apns.sent if user_of(one) == user]
    [why] = [one["why"] for one in payloads if one["event"] == id]
    return str(why)


def run(pipeline: Pipeline, *published: ev.AnyEvent) -> None:
    pipeline.publish(*published)
    pipeline.run()


def reply(id: str, sender: str = "leia", seconds: float = 10, **fields: Any) -> ev.MessageNew:
    return message(sender=sender, id=id, seconds=seconds, parent_id="root", **fields)


def set_channel(seconds: float = 1, **settings: Any) -> ev.ChannelUpdated:
    return ev.ChannelUpdated(**stamp(seconds), channel=ev.ChannelSettings(id="general", **settings))


@pytest.mark.parametrize(
    ("said", "fields", "expected"),
    [
        pytest.param([in_general("han", level="none")], {}, "channel_muted by member", id="a muted channel"),
        pytest.param([prefers("han", level="mentions")], {}, "mentions_only by user", id="mentions only"),
        pytest.param([prefers("han", level="mentions")], {"mentioned": ["han"]}, "mention", id="and mentioned"),
        pytest.param([prefers("han", enabled=False)], {}, "push_off by user", id="the main switch"),
        pytest.param(
            [prefers("han", level="none"), in_general("han", level="all")], {}, "message", id="the nearer one"
        ),
        pytest.param([prefers("han", level="none"), prefers("han", 2)], {}, "message", id="a row that says nothing"),
        pytest.param([prefers("han", 2, level="none"), prefers("han")], {}, "level_none by user", id="an older row"),
        pytest.param([prefers("han", 1, level="none"), prefers("han")], {}, "message", id="the later of equal times"),
        pytest.param([set_channel(level="mentions")], {}, "mentions_only by channel", id="a channel's default"),
        pytest.param([set_channel(level="none"), in_general("han", level="all")], {}, "message", id="a user beats it"),
        pytest.param(
            [in_general("han", muted_until=START + timedelta(hours=1))], {}, "channel_muted by member", id="for a while"
        ),
        pytest.param([in_general("han", muted_until=START)], {}, "message", id="a mute that is over"),
        pytest.param([prefers("han", keywords=["Deploy"])], {"text": "deploy!"}, "keyword", id="a stored keyword"),
        pytest.param(
            [prefers("han", keywords=["deploy"], level="personal")],
            {"text": "deploy"},
            "mentions_only by user",
            id="a keyword at a level without them",
        ),
        pytest.param(
            [prefers("han", level="personal"), set_channel(kind="direct")], {}, "direct", id="a direct channel"
        ),
        pytest.param([in_general("luke", level="none")], {}, "message", id="somebody else's row"),
        pytest.param([prefers("han", channel="other", level="none")], {}, "message", id="another channel's row"),
    ],
)
def test_what_somebody_says_decides(pipeline, said, fields, expected):
    pipeline.member("general", "leia", "han")
    run(pipeline, *said, message(id="e", seconds=10, **fields))
    assert outcome(pipeline, "e", "han") == expected


def test_it_counts_as_it_is_when_a_message_is_expanded(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="e", seconds=1))
    pipeline.take()
    run(pipeline, in_general("han", 2, level="none"))
    assert outcome(pipeline, "e", "han") == "channel_muted by member"


def test_the_default_is_the_apps(pipeline):
    pipeline.save_app(attention=Attention(level="mentions", triggers={"reaction": True}))
    pipeline.member("general", "leia", "han")
    run(
        pipeline,
        message(id="e1"),
        message(id="e2", mentions=ev.Mentions(groups=[ev.Group(id="crew", users=["han"])])),
        message(id="e3", category="reaction", recipients=["han"]),
    )
    assert [outcome(pipeline, id, "han") for id in ("e1", "e2", "e3")] == ["mentions_only by app", "group", "reaction"]


def test_reactions_are_off_unless_somebody_wants_them(pipeline):
    pipeline.member("general", "leia", "han", "luke")
    run(
        pipeline,
        prefers("luke", triggers={"reaction": True}),
        message(id="e", category="reaction", recipients=["han", "luke"]),
    )
    assert outcome(pipeline, "e", "han") == "switched_off by built in"
    assert outcome(pipeline, "e", "luke") == "reaction"


ROOT = ev.MessageNew(
    **stamp(),
    channel=ev.Channel(id="general"),
    message=ev.Message(id="root", text="hello"),
    sender=ev.Sender(id="han"),
)


@pytest.mark.parametrize(
    ("happened", "expected"),
    [
        pytest.param([ROOT], "thread", id="H01 wrote the root"),
        pytest.param([reply("h", "han")], "thread", id="H02 replied"),
        pytest.param([reply("h", mentioned=["han"])], "thread", id="H03 was mentioned"),
        pytest.param(
            [reply("h", mentions=ev.Mentions(groups=[ev.Group(id="crew", users=["han"])]))],
            "not_in_thread",
            id="H04 a group makes nobody part of a thread",
        ),
        pytest.param([in_thread("han", following=True)], "thread", id="H05 follows by hand"),
        pytest.param(
            [reply("h", "han", 1), in_thread("han", 2, following=False)], "switched_off by thread", id="H06 unfollowed"
        ),
        pytest.param(
            [reply("h", "han", 1), in_thread("han", 2, following=False), reply("i", "han", 3)],
            "thread",
            id="H07 their own act renews it",
        ),
        pytest.param(
            [reply("h", "han", 1), in_thread("han", 2, following=False), reply("i", mentioned=["han"], seconds=3)],
            "switched_off by thread",
            id="H08 a mention does not",
        ),
        pytest.param(
            [reply("h", "han", 1), in_thread("han", 2, level="none"), reply("i", "han", 3)],
            "thread_muted by thread",
            id="H09 a mute ends by hand only",
        ),
        pytest.param(
            [
                in_thread("han", following=True),
                ev.MemberRemoved(**stamp(2), channel=ev.ChannelId(id="general"), users=["han"]),
            ],
            "not_a_member",
            id="H10 left the channel",
        ),
        pytest.param(
            [
                in_thread("han", following=True),
                ev.MemberRemoved(**stamp(2), channel=ev.ChannelId(id="general"), users=["han"]),
                ev.MemberAdded(**stamp(3), channel=ev.ChannelId(id="general"), users=["han"]),
            ],
            "thread",
            id="H11 and came back",
        ),
        pytest.param(
            [reply("h", "han", 1), in_general("han", level="none")], "channel_muted by member", id="H12 a muted channel"
        ),
        pytest.param(
            [in_general("han", level="none"), in_thread("han", following=True)], "thread", id="H13 but the thread"
        ),
    ],
)
def test_who_is_in_a_thread(pipeline, happened, expected):
    """The next reply is luke's."""
    pipeline.member("general", "leia", "han", "luke")
    run(pipeline, *happened, reply("next", "luke", 20))
    assert outcome(pipeline, "next", "han") == expected


def test_what_waited_is_judged_by_what_is_said_by_now(pipeline):
    pipeline.member("general", "leia", "han", "luke")
    app = pipeline.apps.app("demo")
    waiting = [
        preferences.Pushed("han", "general", "", "message"),
        preferences.Pushed("luke", "general", "root", "thread"),
    ]
    assert preferences.refused(pipeline.pool, app, waiting, pipeline.now) == ["", ""]
    run(pipeline, set_channel(level="mentions"))
    assert preferences.refused(pipeline.pool, app, waiting, pipeline.now) == ["mentions_only", ""]
    run(pipeline, in_general("han", level="all"), in_thread("luke", level="none"))
    assert preferences.refused(pipeline.pool, app, waiting, pipeline.now) == ["", "thread_muted"]
