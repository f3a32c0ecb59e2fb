"""The account: it balances when everything was done right, and every way to be wrong shows in it."""

from collections import Counter
from dataclasses import replace

import pytest

from worker.demo.account import KINDS, Account, DeviceState, Found, draw_up
from worker.demo.expectation import read_all, read_silent
from worker.demo.services.base import Content
from worker.demo.watch import Request
from worker.demo.world import Device, KindName, Line, Nature, Room, Sync, World

MEMBERS = ("ann", "bob", "cem", "dan", "eve", "fay")

DEVICES: dict[str, tuple[str, Nature, KindName]] = {
    "b1": ("bob", "live", "apns"),
    "b2": ("bob", "gone", "fcm"),
    "c1": ("cem", "busy", "fcm"),
    "d1": ("dan", "returned", "apns"),
    "e1": ("eve", "gone", "web"),
    "g1": ("gus", "live", "web"),
}
WORLD = World(
    app="app",
    people={name: name.title() for name in (*MEMBERS, "gus")},
    devices=[Device(token, user, nature, 0, kind) for token, (user, nature, kind) in DEVICES.items()],
    rooms={"r": Room("r", "Room", frozenset(MEMBERS))},
    online=frozenset(),
    mutes=frozenset(),
    lines=[Line("ev1", "m1", "r", "ann", "hello"), Line("ev2", "m2", "r", "ann", "again")],
    syncs=[Sync("s1", ("cem", "gus"))],
)
READINGS, SILENT = read_all(WORLD), read_silent(WORLD)


def request(message: str, token: str, reason: str | None = None, **more) -> Request:
    text = {line.id: line.text for line in WORLD.lines}.get(message)
    content = Content(message) if text is None else Content(message, "Ann · Room", text, "r")
    made = Request(DEVICES[token][2], token, 200 if reason is None else 400, reason, reason is None, 0.0, content)
    return made._replace(**more)


#: Eve's device is found out by the first message and unknown to the second; Bob's dead one is tried by both.
REQUESTS = (
    request("m1", "b1"),
    request("m1", "b2", "UNREGISTERED"),
    request("m1", "c1", "UNAVAILABLE"),
    request("m1", "c1"),
    request("m1", "d1", "Unregistered"),
    request("m1", "e1", "NotRegistered"),
    request("m2", "b1"),
    request("m2", "b2", "UNREGISTERED"),
    request("m2", "c1"),
    request("m2", "d1"),
    request("s1", "c1"),
)
COUNTS = {
    "messages": 2,
    "considered": 12,
    "pushed": 7,
    "jobs": 11,
    "accepted": 6,
    "retry": 1,
    "retired": 3,
    "dropped": 2,
    "dropped.no_silent_push": 1,
    "skipped.sender": 2,
    "skipped.no_device": 3,
}
RETIRED = DeviceState(False, "NotRegistered")
STATES = {token: RETIRED if token in ("b2", "e1") else DeviceState(True, None) for token in DEVICES}
FOUND = Found(REQUESTS, COUNTS, STATES, dead_letters=2)


def draw(found: Found) -> Account:
    return draw_up(WORLD, READINGS, [], SILENT, found, mistakes=2)


def test_the_account_of_what_was_done_right_balances():
    account = draw(FOUND)
    assert account.uneven == []
    assert account.balances
    assert (account.messages, account.considered, account.notified) == (2, 12, 7)
    assert account.skipped == {"sender": 2, "no_device": 3}


def test_each_kind_has_its_own_account():
    apns, fcm, web = (draw(FOUND).kinds[kind] for kind in KINDS)
    assert [kind.devices for kind in (apns, fcm, web)] == [2, 2, 2]
    assert [kind.expected for kind in (apns, fcm, web)] == [3, 3, 0]
    assert [kind.accepted for kind in (apns, fcm, web)] == [3, 3, 0]
    assert (fcm.tried_again, fcm.retired) == ({"UNAVAILABLE": 1}, {"NotRegistered": 1})
    assert (web.skipped, web.retired) == ({"no_silent_push": 1}, {"NotRegistered": 1})
    assert (apns.kept, apns.retired, apns.skipped) == (1, {}, {})


def test_the_json_has_the_sum_and_each_kind():
    shown = draw(FOUND).as_json()
    assert (shown["accepted"], shown["tried_again"]) == (6, {"UNAVAILABLE": 1})
    assert shown["skipped_pushes"] == {"no_silent_push": 1}
    assert {kind: one["accepted"] for kind, one in shown["kinds"].items()} == {"apns": 3, "fcm": 3, "web": 0}


@pytest.mark.parametrize(
    ("one", "kind", "fault"),
    [
        (request("m1", "e1"), "web", "unexpected"),
        (request("s1", "g1"), "web", "unexpected"),
        (request("m1", "b1", kind="fcm"), "fcm", "unexpected"),
        (request("m1", "c1"), "fcm", "duplicates"),
    ],
    ids=["to a dead browser", "silent, to a browser", "to the service of another kind", "twice"],
)
def test_a_fault_is_that_of_its_kind(one, kind, fault):
    account = draw(replace(FOUND, requests=(*REQUESTS, one)))
    found = {each: getattr(account.kinds[each], fault) for each in KINDS}
    assert found == dict.fromkeys(KINDS, 0) | {kind: 1}


def without(*gone: int) -> tuple[Request, ...]:
    return tuple(one for at, one in enumerate(REQUESTS) if at not in gone)


@pytest.mark.parametrize(
    ("found", "faults"),
    [
        pytest.param(replace(FOUND, requests=without(6)), {"lost": 1}, id="a push that never arrived"),
        pytest.param(replace(FOUND, requests=(*REQUESTS, REQUESTS[0])), {"duplicates": 1}, id="one that came twice"),
        pytest.param(
            replace(FOUND, requests=(*REQUESTS, request("m2", "b2", "UNREGISTERED"))),
            {"duplicates": 1},
            id="one that was sent again after it was refused for good",
        ),
        pytest.param(
            replace(FOUND, requests=(*REQUESTS, request("m1", "e1"))),
            {"unexpected": 1},
            id="one that a dead device accepted",
        ),
        pytest.param(
            replace(FOUND, requests=(*REQUESTS, request("m1", "g1"))),
            {"unexpected": 1},
            id="one to a device that should get none",
        ),
        pytest.param(replace(FOUND, requests=without(5)), {"lost": 1}, id="a dead device that was never tried"),
        pytest.param(
            replace(
                FOUND, requests=(*without(0), request("m1", "b1", content=Content("m1", "Ann · Room", "hell", "r")))
            ),
            {"wrong_content": 1},
            id="one with another text",
        ),
    ],
)
def test_it_does_not_balance_with(found, faults):
    account = draw(found)
    assert not account.balances
    assert {name: getattr(account.total, name) for name in ("lost", "duplicates", "unexpected", "wrong_content")} == (
        Counter(faults) | dict.fromkeys({"lost", "duplicates", "unexpected", "wrong_content"} - faults.keys(), 0)
    )


@pytest.mark.parametrize(
    ("found", "names"),
    [
        pytest.param(
            replace(FOUND, counts=COUNTS | {"skipped.no_device": 2}),
            ["skipped.no_device"],
            id="a skip that was not counted",
        ),
        pytest.param(
            replace(FOUND, counts=COUNTS | {"skipped.online": 1}), ["skipped.online"], id="one for a reason of its own"
        ),
        pytest.param(
            replace(FOUND, counts=COUNTS | {"skipped_message.too_old": 1}),
            ["skipped_message.too_old"],
            id="a message that was skipped whole",
        ),
        pytest.param(replace(FOUND, counts=COUNTS | {"accepted": 7}), ["accepted"], id="a push that was counted twice"),
        pytest.param(
            replace(FOUND, counts=COUNTS | {"dropped.no_silent_push": 0}),
            ["dropped.no_silent_push"],
            id="a silent push to a browser that was not dropped",
        ),
        pytest.param(replace(FOUND, counts=COUNTS | {"messages": 3}), ["messages"], id="a repeat that was expanded"),
        pytest.param(
            replace(FOUND, devices=STATES | {"d1": RETIRED}),
            ["devices retired that work"],
            id="a device that was retired though it was registered anew",
        ),
        pytest.param(
            replace(FOUND, devices=STATES | {"e1": DeviceState(True, None)}),
            ["dead devices kept"],
            id="a dead device that was kept",
        ),
        pytest.param(
            replace(FOUND, dead_letters=1), ["dead-lettered documents"], id="a bad document that was swallowed"
        ),
    ],
)
def test_the_workers_sums_are_held_against_ours(found, names):
    account = draw(found)
    assert [check.name for check in account.uneven] == names
    assert not account.balances
    assert (account.total.lost, account.total.duplicates, account.total.unexpected) == (0, 0, 0)


def test_a_guarded_refusal_before_the_provider_has_proved_itself_may_keep_a_phone():
    kept = replace(
        FOUND, devices=STATES | {"e1": DeviceState(True, None)}, counts=COUNTS | {"dropped.refused_unproven": 1}
    )
    assert draw(kept).balances


def unsure(*reasons: str, counts: dict[str, int]) -> Account:
    """Bob's dead device is refused for these by the first message, and not tried by the second."""
    requests = [one for one in REQUESTS if one.token != "b2"]
    requests += [request("m1", "b2", reason) for reason in reasons]
    return draw(replace(FOUND, requests=requests, counts=COUNTS | {"jobs": 10} | counts))


def test_a_refusal_that_a_wrong_key_explains_may_be_sent_once_more():
    account = unsure(*["SENDER_ID_MISMATCH"] * 2, counts={"retry": 2, "retired.SENDER_ID_MISMATCH": 1})
    assert account.balances, account.uneven
    assert account.kinds["fcm"].confirmed == 1


@pytest.mark.parametrize(
    ("account", "duplicates", "names"),
    [
        (unsure(*["UNREGISTERED"] * 2, counts={"retired.UNREGISTERED": 1}), 1, []),
        (unsure(*["SENDER_ID_MISMATCH"] * 3, counts={"retry": 3, "retired.SENDER_ID_MISMATCH": 1}), 1, []),
        (unsure(*["SENDER_ID_MISMATCH"] * 2, counts={"retry": 1, "retired.SENDER_ID_MISMATCH": 1}), 0, ["retry"]),
    ],
    ids=["another refusal twice", "it a third time", "it without being counted"],
)
def test_no_other_refusal_is_sent_again(account, duplicates, names):
    assert (account.total.duplicates, [check.name for check in account.uneven]) == (duplicates, names)
    assert not account.balances
