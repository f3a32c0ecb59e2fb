"""The account: it balances when everything was done right, and every way to be wrong shows in it."""

from collections import Counter
from dataclasses import replace

import pytest

from worker.demo.account import Account, Found, PhoneState, draw_up
from worker.demo.expectation import read_all
from worker.demo.watch import Request
from worker.demo.world import Line, Nature, Phone, Room, World

PHONES: dict[str, tuple[str, Nature]] = {
    "b1": ("bob", "live"),
    "b2": ("bob", "gone"),
    "c1": ("cem", "busy"),
    "d1": ("dan", "returned"),
    "e1": ("eve", "gone"),
}
WORLD = World(
    app="app",
    people={name: name.title() for name in ("ann", "bob", "cem", "dan", "eve", "fay")},
    phones=[Phone(token, user, nature, 0) for token, (user, nature) in PHONES.items()],
    rooms={"r": Room("r", "Room", frozenset(("ann", "bob", "cem", "dan", "eve", "fay")))},
    online=frozenset(),
    mutes=frozenset(),
    lines=[Line("ev1", "m1", "r", "ann", "hello"), Line("ev2", "m2", "r", "ann", "again")],
)
READINGS = read_all(WORLD)


def request(message: str, token: str, reason: str | None = None, **more) -> Request:
    text = {line.id: line.text for line in WORLD.lines}[message]
    made = Request(token, message, 200 if reason is None else 400, reason, reason is None, 0.0, "Ann", text, "r")
    return made._replace(**more)


#: Eve's phone is found out by the first message and unknown to the second; Bob's dead one is tried by both.
REQUESTS = (
    request("m1", "b1"),
    request("m1", "b2", "Unregistered"),
    request("m1", "c1", "ServiceUnavailable"),
    request("m1", "c1"),
    request("m1", "d1", "Unregistered"),
    request("m1", "e1", "Unregistered"),
    request("m2", "b1"),
    request("m2", "b2", "Unregistered"),
    request("m2", "c1"),
    request("m2", "d1"),
)
COUNTS = {
    "messages": 2,
    "considered": 12,
    "pushed": 7,
    "jobs": 9,
    "accepted": 5,
    "retry": 1,
    "retired": 3,
    "dropped": 1,
    "skipped.sender": 2,
    "skipped.no_device": 3,
}
RETIRED = PhoneState(False, "Unregistered")
STATES = {token: RETIRED if token in ("b2", "e1") else PhoneState(True, None) for token in PHONES}
FOUND = Found(REQUESTS, COUNTS, STATES, dead_letters=2)


def draw(found: Found) -> Account:
    return draw_up(WORLD, READINGS, found, mistakes=2)


def test_the_account_of_what_was_done_right_balances():
    account = draw(FOUND)
    assert account.uneven == []
    assert account.balances
    assert (account.messages, account.considered, account.notified, account.accepted) == (2, 12, 7, 5)
    assert account.skipped == {"sender": 2, "no_device": 3}
    assert account.tried_again == {"ServiceUnavailable": 1}
    assert account.retired == {"Unregistered": 2}
    assert account.kept == 1


def without(*gone: int) -> tuple[Request, ...]:
    return tuple(one for at, one in enumerate(REQUESTS) if at not in gone)


@pytest.mark.parametrize(
    ("found", "faults"),
    [
        pytest.param(replace(FOUND, requests=without(6)), {"lost": 1}, id="a push that never arrived"),
        pytest.param(replace(FOUND, requests=(*REQUESTS, REQUESTS[0])), {"duplicates": 1}, id="one that came twice"),
        pytest.param(
            replace(FOUND, requests=(*REQUESTS, request("m2", "b2", "Unregistered"))),
            {"duplicates": 1},
            id="one that was sent again after it was refused for good",
        ),
        pytest.param(
            replace(FOUND, requests=(*REQUESTS, request("m1", "e1"))),
            {"unexpected": 1},
            id="one that a dead phone accepted",
        ),
        pytest.param(
            replace(FOUND, requests=(*REQUESTS, request("m1", "f1"))),
            {"unexpected": 1},
            id="one to a phone that should get none",
        ),
        pytest.param(replace(FOUND, requests=without(5)), {"lost": 1}, id="a dead phone that was never tried"),
        pytest.param(
            replace(FOUND, requests=(*without(0), request("m1", "b1", body="hell"))),
            {"wrong_content": 1},
            id="one with another text",
        ),
    ],
)
def test_it_does_not_balance_with(found, faults):
    account = draw(found)
    assert not account.balances
    assert {name: getattr(account, name) for name in ("lost", "duplicates", "unexpected", "wrong_content")} == (
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
        pytest.param(replace(FOUND, counts=COUNTS | {"accepted": 6}), ["accepted"], id="a push that was counted twice"),
        pytest.param(replace(FOUND, counts=COUNTS | {"messages": 3}), ["messages"], id="a repeat that was expanded"),
        pytest.param(
            replace(FOUND, phones=STATES | {"d1": RETIRED}),
            ["phones retired that work"],
            id="a phone that was retired though it was registered anew",
        ),
        pytest.param(
            replace(FOUND, phones=STATES | {"e1": PhoneState(True, None)}),
            ["dead phones kept"],
            id="a dead phone that was kept",
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
    assert (account.lost, account.duplicates, account.unexpected) == (0, 0, 0)


def test_a_guarded_refusal_before_the_provider_has_proved_itself_may_keep_a_phone():
    kept = replace(
        FOUND, phones=STATES | {"e1": PhoneState(True, None)}, counts=COUNTS | {"dropped.refused_unproven": 1}
    )
    assert draw(kept).balances
