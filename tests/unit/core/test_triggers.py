"""Which triggers a message has for whom: the table, and who is considered first."""

from datetime import UTC, datetime
from typing import Any

import pytest

from producers.events import Channel, Group, Mentions, Message, MessageNew, ReplyTo, Sender
from worker.core.triggers import Triggers, first_candidates, groups_of, triggers


def event(**fields: Any) -> MessageNew:
    return MessageNew(
        id="e",
        app="demo",
        at=datetime(2026, 11, 28, tzinfo=UTC),
        channel=Channel(id="general"),
        message=Message(id="m", **fields),
        sender=Sender(id="leia"),
    )


def group(id: str, *users: str) -> Group:
    return Group(id=id, users=[*users])


REPLY: dict[str, Any] = {"parent_id": "root"}
TAKES_PART = {"thread": {"u"}}
NO_PART = {"thread": {"chewie"}}
TWO_GROUPS = Mentions(groups=[group("crew", "u", "x"), group("ops", "u")])


@pytest.mark.parametrize(
    ("message", "known", "expected"),
    [
        pytest.param({}, {}, "message", id="T01 plain"),
        pytest.param({"mentioned": ["u"]}, {}, "mention message", id="T02 mentioned"),
        pytest.param({}, {"kind": "direct"}, "direct message", id="T03 a direct message"),
        pytest.param({"mentioned": ["u"]}, {"kind": "group"}, "direct mention message", id="T04 a conversation of few"),
        pytest.param(REPLY, TAKES_PART, "thread", id="T05 takes part"),
        pytest.param(REPLY, NO_PART, "", id="T06 takes no part"),
        pytest.param(REPLY | {"mentioned": ["u"]}, NO_PART, "mention", id="T07 mentioned in a reply"),
        pytest.param(REPLY | {"also_in_channel": True}, NO_PART, "message", id="T08 shown in the channel"),
        pytest.param(REPLY | {"also_in_channel": True}, TAKES_PART, "thread message", id="T09 and takes part"),
        pytest.param(REPLY | {"mentions": Mentions(everyone=True)}, NO_PART, "", id="T10 everyone of a thread"),
        pytest.param(
            REPLY | {"mentions": Mentions(everyone=True)}, TAKES_PART, "thread everyone", id="T11 and takes part"
        ),
        pytest.param({"mentions": Mentions(here=True)}, {"online": {"u"}}, "here message", id="T12 is here"),
        pytest.param({"mentions": Mentions(here=True)}, {"online": {"x"}}, "message", id="T13 is not here"),
        pytest.param({"mentions": TWO_GROUPS}, {}, "group message", id="T14 two groups"),
        pytest.param({"mentions": TWO_GROUPS, "mentioned": ["u"]}, {}, "mention group message", id="T15 mentioned too"),
        pytest.param({"reply_to": ReplyTo(message="m1", user="u")}, {}, "reply message", id="T16 quoted"),
        pytest.param({"category": "reaction"}, {}, "reaction", id="T18 a reaction is nothing else"),
        pytest.param(
            {"mentions": Mentions(everyone=True, here=True)},
            {"wide": False, "online": {"u"}},
            "message",
            id="T20 too many for a call",
        ),
        pytest.param({}, {"keyword": ["u"]}, "keyword message", id="T21 a stored keyword"),
        pytest.param(
            {"mentions": Mentions(keyword=["u"])}, {}, "keyword message", id="T21 or one of the chat server's"
        ),
        pytest.param(REPLY, {"kind": "direct"} | NO_PART, "", id="T22 a thread of a direct conversation"),
        pytest.param(REPLY, {"kind": "direct"} | TAKES_PART, "direct thread", id="T22 and takes part"),
        pytest.param(REPLY | {"mentions": TWO_GROUPS}, NO_PART, "group", id="a group in a thread it is no part of"),
        pytest.param(
            REPLY | {"mentions": Mentions(here=True)},
            {"online": {"u"}} | NO_PART,
            "",
            id="who is here, but not in the thread",
        ),
        pytest.param({"mentions_everyone": True} | REPLY, {}, "everyone", id="the whole channel, also from a thread"),
        pytest.param({"mentions_everyone": True}, {"wide": False}, "everyone message", id="however many they are"),
    ],
)
def test_a_message_is_for_somebody_because_of(message, known, expected):
    assert triggers(event(**message), **known).of("u") == tuple(expected.split())


def test_those_whom_nothing_sets_apart_are_not_listed():
    assert triggers(event(mentioned=["u"])) == Triggers(("message",), {"u": ("mention", "message")})
    assert triggers(event(), thread=None).some == {}


def test_the_smallest_of_the_groups_names_it_of_equal_ones_the_first():
    said = event(mentions=Mentions(groups=[group("crew", "u", "x"), group("ops", "u"), group("qa", "u")])).message
    assert {user: of.id for user, of in groups_of(said).items()} == {"u": "ops", "x": "crew"}


def test_those_whom_it_concerns_most_come_first_each_once():
    said = event(
        mentioned=["z", "m"],
        reply_to=ReplyTo(message="m1", user="q"),
        mentions=Mentions(groups=[group("crew", "y", "z")], keyword=["k"]),
    )
    assert first_candidates(said, {"b", "m", "a"}, ["l", "a"]) == ["z", "m", "q", "y", "a", "b", "k", "l"]
