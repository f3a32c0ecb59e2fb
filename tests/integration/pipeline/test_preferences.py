"""Preferences from the event to the account: what users, channels and apps say about how loud something is."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token, user_of
from worker.core.attention import Attention
from worker.core.model import ACCEPTED, Answer


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


class Case(NamedTuple):
    happened: list[ev.AnyEvent]
    #: What becomes of han for the message that follows.
    expected: str
    what: str
    #: Of that message.
    fields: Mapping[str, Any] = MappingProxyType({})


#: What each case has of its own, so that all of them share a pipeline.
OWN = re.compile(rb'"(general|han|leia|luke|root|next|h|i)"')


def becomes(pipeline: Pipeline, cases: Sequence[Case], follows: Callable[[Case], ev.MessageNew]) -> dict[str, str]:
    """What becomes of han in each case, by what the case is."""
    for number, case in enumerate(cases):
        here = rb'"\1-%d"' % number
        pipeline.member(f"general-{number}", *(f"{user}-{number}" for user in ("leia", "han", "luke")))
        pipeline.publish(*(OWN.sub(here, ev.encode(event)) for event in (*case.happened, follows(case))))
    pipeline.run()
    return {case.what: outcome(pipeline, f"next-{number}", f"han-{number}") for number, case in enumerate(cases)}


SAID = [
    Case([in_general("han", level="none")], "channel_muted by member", "a muted channel"),
    Case([prefers("han", level="mentions")], "mentions_only by user", "mentions only"),
    Case([prefers("han", level="mentions")], "mention", "and mentioned", {"mentioned": ["han"]}),
    Case([prefers("han", enabled=False)], "push_off by user", "the main switch"),
    Case([prefers("han", level="none"), in_general("han", level="all")], "message", "the nearer one"),
    Case([prefers("han", level="none"), prefers("han", 2)], "message", "a row that says nothing"),
    Case([prefers("han", 2, level="none"), prefers("han")], "level_none by user", "an older row"),
    Case([prefers("han", 1, level="none"), prefers("han")], "message", "the later of equal times"),
    Case([set_channel(level="mentions")], "mentions_only by channel", "a channel's default"),
    Case([set_channel(level="none"), in_general("han", level="all")], "message", "a user beats it"),
    Case([in_general("han", muted_until=START + timedelta(hours=1))], "channel_muted by member", "for a while"),
    Case([in_general("han", muted_until=START)], "message", "a mute that is over"),
    Case([prefers("han", keywords=["Deploy"])], "keyword", "a stored keyword", {"text": "deploy!"}),
    Case(
        [prefers("han", keywords=["deploy"], level="personal")],
        "mentions_only by user",
        "a keyword at a level without them",
        {"text": "deploy"},
    ),
    Case([prefers("han", level="personal"), set_channel(kind="direct")], "direct", "a direct channel"),
    Case([in_general("luke", level="none")], "message", "somebody else's row"),
    Case([prefers("han", channel="other", level="none")], "message", "another channel's row"),
]


def test_S20_what_somebody_says_decides(pipeline):
    found = becomes(pipeline, SAID, lambda case: message(id="next", seconds=10, **case.fields))
    assert found == {case.what: case.expected for case in SAID}


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


THREADS = [
    Case([ROOT], "thread", "H01 wrote the root"),
    Case([reply("h", "han")], "thread", "H02 replied"),
    Case([reply("h", mentioned=["han"])], "thread", "H03 was mentioned"),
    Case(
        [reply("h", mentions=ev.Mentions(groups=[ev.Group(id="crew", users=["han"])]))],
        "not_in_thread",
        "H04 a group makes nobody part of a thread",
    ),
    Case([reply("h", "han", category="reaction")], "not_in_thread", "a reaction neither"),
    Case([in_thread("han", following=True)], "thread", "H05 follows by hand"),
    Case([reply("h", "han", 1), in_thread("han", 2, following=False)], "switched_off by thread", "H06 unfollowed"),
    Case(
        [reply("h", "han", 1), in_thread("han", 2, following=False), reply("i", "han", 3)],
        "thread",
        "H07 their own act renews it",
    ),
    Case(
        [reply("h", "han", 1), in_thread("han", 2, following=False), reply("i", mentioned=["han"], seconds=3)],
        "switched_off by thread",
        "H08 a mention does not",
    ),
    Case(
        [reply("h", "han", 1), in_thread("han", 2, level="none"), reply("i", "han", 3)],
        "thread_muted by thread",
        "H09 a mute ends by hand only",
    ),
    Case(
        [
            in_thread("han", following=True),
            ev.MemberRemoved(**stamp(2), channel=ev.ChannelId(id="general"), users=["han"]),
        ],
        "not_a_member",
        "H10 left the channel",
    ),
    Case(
        [
            in_thread("han", following=True),
            ev.MemberRemoved(**stamp(2), channel=ev.ChannelId(id="general"), users=["han"]),
            ev.MemberAdded(**stamp(3), channel=ev.ChannelId(id="general"), users=["han"]),
        ],
        "thread",
        "H11 and came back",
    ),
    Case([reply("h", "han", 1), in_general("han", level="none")], "channel_muted by member", "H12 a muted channel"),
    Case([in_general("han", level="none"), in_thread("han", following=True)], "thread", "H13 but the thread"),
    Case(
        [
            reply("h", "han", 1),
            ev.MessageDeleted(**stamp(2), channel=ev.ChannelId(id="general"), message=ev.MessageId(id="root")),
        ],
        "thread",
        "H14 the root was deleted",
    ),
]


def test_S20_who_is_in_a_thread(pipeline):
    """The next reply is luke's."""
    found = becomes(pipeline, THREADS, lambda _: reply("next", "luke", 20))
    assert found == {case.what: case.expected for case in THREADS}


def outcomes(pipeline: Pipeline, id: str) -> dict[str, list[str]]:
    """The users by what became of their last try."""
    batches = [account for part, account in pipeline.account(id).items() if part.startswith("batch:")]
    tried = {outcome: [user for user, _ in devices] for account in batches for outcome, devices in account.items()}
    return {outcome: users for outcome, users in tried.items() if not outcome.startswith("retry")}


def test_what_waited_is_judged_by_what_is_said_by_now(pipeline):
    pipeline.member("general", "leia", "han", "luke")
    for user in ("han", "luke"):
        pipeline.apns.answers[token(user)] = [Answer(503, "ServiceUnavailable"), ACCEPTED]
    run(pipeline, message(id="e1"), message(id="e2", mentioned=["luke"]))
    pipeline.now += 60
    run(pipeline, in_general("han", level="none"), in_general("luke", level="mentions"))
    pipeline.later()
    pipeline.run()
    assert outcomes(pipeline, "e1") == {"dropped.channel_muted": ["han"], "dropped.mentions_only": ["luke"]}
    assert outcomes(pipeline, "e2") == {"dropped.channel_muted": ["han"], "accepted": ["luke"]}


def test_those_whom_a_message_concerns_most_come_before_the_cap(postgres_url, redis_url):
    """Of 9 members on pages of 3, 3 may get a push. What they choose between two pages changes nothing."""
    pipeline = Pipeline(postgres_url, redis_url, page=3)
    pipeline.save_app(member_cap=3)
    pipeline.member("general", "leia", *"abcdefgh")
    crew = ev.Mentions(groups=[ev.Group(id="crew", users=["g"])])
    run(pipeline, in_general("h", level="all"), message(id="e1", mentions=crew, mentioned=["f"]))
    assert pipeline.account("e1")["page:0"]["pushed"] == ["f", "g", "h", "a"]
    pipeline.save_app(member_cap=5)
    pipeline.publish(message(id="e2"))
    pipeline.take()
    pipeline.fan_out.expand(pipeline.journal.take_messages("urgent", 100))
    run(pipeline, in_general("h", 2), in_general("g", 2, level="all"))
    pages = pipeline.account("e2")
    pushed = [user for part in sorted(pages) if part.startswith("page:") for user in pages[part]["pushed"]]
    assert pushed == ["h", "a", "b", "c", "d"]
    pipeline.close()


def test_a_call_of_a_whole_channel(pipeline):
    pipeline.save_app(member_cap=1, attention=Attention(wide_mention_limit=3))
    pipeline.member("general", "leia", "han", "luke")
    pipeline.member("large", "leia", "han", "luke", "r2")
    everyone = ev.Mentions(everyone=True)
    run(
        pipeline,
        message(id="everyone", mentions=everyone),
        message("large", id="too many", mentions=everyone),
        message(id="reply", mentions=everyone, parent_id="root"),
    )
    assert {outcome(pipeline, "everyone", user) for user in ("han", "luke")} == {"everyone"}
    assert (outcome(pipeline, "too many", "han"), outcome(pipeline, "too many", "r2")) == ("message", "over_member_cap")
    assert outcome(pipeline, "reply", "han") == "not_in_thread"
    run(pipeline, prefers("han", triggers={"everyone": False}), message(id="e", mentions=everyone))
    assert (outcome(pipeline, "e", "han"), outcome(pipeline, "e", "luke")) == ("message", "everyone")


def test_whom_here_calls_is_online_when_it_is_expanded(pipeline):
    pipeline.save_app(push_to_online=True)
    pipeline.member("general", "leia", "han", "luke")
    pipeline.redis.set("carillon:online:demo:luke", 1)
    run(pipeline, message(id="e", mentions=ev.Mentions(here=True)))
    assert (outcome(pipeline, "e", "han"), outcome(pipeline, "e", "luke")) == ("message", "here")


def test_a_stored_keyword_calls_into_a_thread(pipeline):
    pipeline.member("general", "leia", "han", "luke")
    run(pipeline, prefers("han", keywords=["deploy"]), reply("e", text="to deploy or not"))
    assert (outcome(pipeline, "e", "han"), outcome(pipeline, "e", "luke")) == ("keyword", "not_in_thread")


def test_what_a_channel_is_reaches_the_phone(pipeline):
    pipeline.member("general", "leia", "han")
    run(pipeline, set_channel(kind="direct", name="General"), message(id="e"))
    [sent] = pipeline.apns.sent
    assert json.loads(sent.payload)["carillon"]["channel_kind"] == "direct"
