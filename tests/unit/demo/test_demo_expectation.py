"""The second reading of the rules, against worlds small enough to be read a third time by eye."""

from collections import Counter
from dataclasses import replace

import pytest

from worker.demo.expectation import Reading, read_all, read_edits, read_silent
from worker.demo.world import Choice, Device, Edit, Line, Quiet, Room, Sync, World

#: It is 23:00 in Berlin.
NIGHT, DAY = Quiet("Europe/Berlin", "22:00", "07:00"), Quiet("Europe/Berlin", "09:00", "18:00")
EVERYBODY = ("ann", "bob", "cem", "dan", "eve")


def device(user: str, number: int = 1) -> Device:
    return Device(f"{user}-{number}", user, "live", 0)


def said(number: int, sender: str = "ann", **more) -> Line:
    return Line(f"e{number}", f"m{number}", more.pop("room", "r"), sender, "text", **more)


def world(*lines: Line, members=EVERYBODY, devices=EVERYBODY, push=True, cap=100, **more) -> World:
    return World(
        app="app",
        people={user: user.title() for user in members},
        devices=[device(user) for user in devices],
        rooms={"r": Room("r", "Room", frozenset(members), push, more.get("level"))},
        online=frozenset(more.get("online", ())),
        mutes=frozenset(more.get("mutes", ())),
        choices=more.get("choices", {}),
        quiet=more.get("quiet", {}),
        readers=frozenset(more.get("readers", ())),
        viewing=more.get("viewing", {}),
        now_ms=1_796_853_600_000,
        lines=list(lines),
        member_cap=cap,
    )


def last(of: World) -> Reading:
    return read_all(of)[-1]


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        pytest.param(world(said(1, skip_push=True)), "skip_push", id="the message wants no push"),
        pytest.param(world(said(1, late=True)), "too_old", id="it is too old"),
        pytest.param(world(said(1, room="elsewhere")), "unknown_channel", id="nobody knows its channel"),
        pytest.param(world(said(1), push=False), "channel_push_off", id="its channel is silent"),
        pytest.param(world(said(1, deleted=True)), "deleted", id="it was taken back"),
        pytest.param(world(said(1, skip_push=True, late=True)), "skip_push", id="the first reason counts"),
    ],
)
def test_nobody_gets_a_message_when(of, reason):
    reading = last(of)
    assert reading.whole == reason
    assert (reading.notified, reading.considered) == ({}, 0)


@pytest.mark.parametrize(
    ("of", "notified", "skipped"),
    [
        pytest.param(world(said(1)), "bob cem dan eve", {"sender": 1}, id="all members but the sender"),
        pytest.param(world(said(1), online=("bob",)), "bob cem dan eve", {"sender": 1}, id="who is online does too"),
        pytest.param(
            world(
                said(1),
                choices={("bob", ""): Choice("none"), ("cem", "r"): Choice("none"), ("dan", ""): Choice("mentions")},
            ),
            "eve",
            {"sender": 1, "level_none": 1, "channel_muted": 1, "mentions_only": 1},
            id="who does not want it does not",
        ),
        pytest.param(
            world(said(1), choices={("bob", ""): Choice("none"), ("bob", "r"): Choice("all")}),
            "bob cem dan eve",
            {"sender": 1},
            id="the nearer level counts, upwards too",
        ),
        pytest.param(
            world(
                said(1, mentioned=("bob", "cem")),
                choices={("bob", ""): Choice("mentions"), ("cem", "r"): Choice("none")},
            ),
            "bob dan eve",
            {"sender": 1, "channel_muted": 1},
            id="a mention comes through mentions, and through no mute",
        ),
        pytest.param(
            world(
                said(1, here=True),
                online=("bob",),
                choices={one: Choice("mentions") for one in (("bob", ""), ("cem", ""))},
            ),
            "bob dan eve",
            {"sender": 1, "mentions_only": 1},
            id="those who are online are here",
        ),
        pytest.param(
            world(said(1, group=("bob",)), choices={("bob", ""): Choice("mentions", {"group": False})}),
            "cem dan eve",
            {"sender": 1, "switched_off": 1},
            id="a switch corrects the level",
        ),
        pytest.param(
            world(said(1), choices={("bob", ""): Choice(None, {"message": True})}, level="none"),
            "bob",
            {"sender": 1, "level_none": 3},
            id="a switch is nearer than the channel's level",
        ),
        pytest.param(
            world(said(1), readers=[("bob", "r"), ("ann", "r")], viewing={"cem": "r", "dan": "other"}),
            "dan eve",
            {"sender": 1, "read": 1, "viewing": 1},
            id="who has read it or has it open does not",
        ),
        pytest.param(
            world(said(1), quiet={"bob": NIGHT, "cem": DAY, "dan": NIGHT._replace(friends=("ann",))}),
            "cem dan eve",
            {"sender": 1, "quiet": 1},
            id="in quiet time only friends come through",
        ),
        pytest.param(
            world(said(1, urgent=True), quiet={"bob": NIGHT}), "bob cem dan eve", {"sender": 1}, id="and what is urgent"
        ),
        pytest.param(
            world(said(1), mutes=[("cem", "ann"), ("ann", "bob"), ("dan", "eve")]),
            "bob dan eve",
            {"sender": 1, "muted_sender": 1},
            id="who muted the sender does not, other mutes are of no account",
        ),
        pytest.param(
            world(said(1), devices=("ann", "bob", "cem")),
            "bob cem",
            {"sender": 1, "no_device": 2},
            id="who has no device does not",
        ),
        pytest.param(
            world(said(1, mentioned=("zoe", "bob"))),
            "bob cem dan eve",
            {"sender": 1, "not_a_member": 1},
            id="a mention makes nobody a member",
        ),
        pytest.param(
            world(said(1), cap=2),
            "bob cem",
            {"sender": 1, "over_member_cap": 2},
            id="the cap ends it in the order of the ids",
        ),
        pytest.param(
            world(said(1, mentioned=("eve",)), cap=2),
            "bob cem eve",
            {"sender": 1, "over_member_cap": 1},
            id="who is mentioned is outside of the cap",
        ),
        pytest.param(
            world(said(1), cap=1, readers=[("eve", "r")]),
            "bob",
            {"sender": 1, "over_member_cap": 2, "read": 1},
            id="over the cap every other reason comes first",
        ),
        pytest.param(
            world(said(1, room="ticket", recipients=("bob", "ann", "zoe"))),
            "bob",
            {"sender": 1, "no_device": 1},
            id="recipients stand for the members",
        ),
    ],
)
def test_of_a_message_to_the_channel(of, notified, skipped):
    reading = last(of)
    assert sorted(reading.notified) == notified.split()
    assert reading.skipped == Counter(skipped)
    assert reading.considered == len(reading.notified) + sum(skipped.values())


def test_an_edit_is_for_whom_it_names_first_and_for_nobody_else():
    of = world(said(1), choices={("bob", ""): Choice("mentions"), ("cem", "r"): Choice("none")})
    of = replace(of, edits=[Edit("e2", of.lines[0], "bob"), Edit("e3", of.lines[0], "cem")], _owned={})
    assert [(one.edit.named, len(one.devices), one.skipped) for one in read_edits(of)] == [
        ("bob", 1, None),
        ("cem", 0, "channel_muted"),
    ]


def test_every_phone_of_a_user_gets_a_push():
    of = replace(world(said(1)), devices=[device("bob"), device("bob", 2)], _owned={})
    assert [one.token for one in last(of).notified["bob"]] == ["bob-1", "bob-2"]


def test_a_silent_push_goes_to_all_devices_but_browsers():
    browser, of_others = device("bob", 2)._replace(kind="web"), device("cem")
    of = replace(
        world(said(1)),
        devices=[device("bob"), browser, of_others, device("dan")],
        syncs=[Sync("s", ("bob", "cem", "eve"))],
        _owned={},
    )
    [reading] = read_silent(of)
    assert reading.devices == [device("bob"), of_others]
    assert reading.withheld == [browser]


def test_a_reply_notifies_who_is_part_of_the_thread_by_then():
    of = world(
        said(1, "ann", mentioned=("bob",)),
        said(2, "cem", parent="m1"),
        said(3, "bob", parent="m1", mentioned=("dan",)),
        said(4, "eve", parent="m9"),
    )
    _, second, third, other = read_all(of)
    assert sorted(second.notified) == ["ann", "bob"]
    assert second.skipped == Counter(sender=1, not_in_thread=2)
    assert sorted(third.notified) == ["ann", "cem", "dan"]
    assert other.skipped == Counter(sender=1, not_in_thread=4)


MANY = tuple(f"u{number:04}" for number in range(2500))


@pytest.mark.parametrize(
    ("of", "notified", "skipped"),
    [
        pytest.param(
            world(said(1, "u2400"), members=MANY, devices=MANY, readers=[(user, "r") for user in MANY[200:300]]),
            100,
            {"over_member_cap": 800 + 1500, "read": 100},
            id="once the cap is reached the other pages are counted with it",
        ),
        pytest.param(
            world(said(1, "u0000"), members=MANY, devices=MANY[1500:]),
            100,
            {"sender": 1, "no_device": 999 + 500, "over_member_cap": 400 + 500},
            id="until then one page after the other is looked at",
        ),
        pytest.param(
            world(said(1, "u0000", mentioned=("u2499",)), said(2, "u0000", parent="m1"), members=MANY, devices=MANY),
            1,
            {"sender": 1, "not_in_thread": 998 + 1500},
            id="a thread needs no second page",
        ),
        pytest.param(
            world(said(1, "u2400", recipients=MANY), members=MANY, devices=MANY),
            100,
            {"sender": 1, "over_member_cap": 2399},
            id="a list of recipients is one page",
        ),
    ],
)
def test_of_a_channel_larger_than_a_page(of, notified, skipped):
    reading = last(of)
    assert len(reading.notified) == notified
    assert reading.skipped == Counter(skipped)
    assert reading.considered == len(MANY)
