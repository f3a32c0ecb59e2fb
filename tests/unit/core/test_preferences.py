"""The walk over rows of preferences: the table of what each says, and what is so of all rows."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.fields import Level, Trigger
from worker.core.preferences import LEVELS, Row, RowName, Rows, ask, judge, judge_again, judge_all, judge_calls
from worker.core.triggers import TRIGGERS, Triggers

CASES = json.loads((Path(__file__).parent / "preference-vectors.json").read_text())
NEAREST_FIRST: tuple[RowName, ...] = ("thread", "member", "user", "channel", "app")
NOW = 1000.0


def row(said: dict[str, Any]) -> Row:
    return Row(
        said.get("level"),
        said.get("triggers", {}),
        said.get("muted_until", 0.0),
        said.get("muted_level", "none"),
    )


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case['id']} {case['comment']}") for case in CASES])
def test_rows_decide(case):
    rows: Rows = [(name, row(case["rows"][name])) for name in NEAREST_FIRST if name in case["rows"]]
    verdict = judge(tuple(case["triggers"]), rows, case["now"])
    assert bool(verdict.on) is case["push"]
    assert (verdict.on[0] if verdict.on else None) == case["why"]
    assert verdict.by == case["by"]
    assert bool(verdict.reason) is not case["push"]
    if case["refused"]:
        assert not ask(case["refused"], rows, case["now"]).on


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        pytest.param([("thread", Row("none"))], "thread_muted", id="a muted thread"),
        pytest.param([("member", Row("none"))], "channel_muted", id="a muted channel"),
        pytest.param([("member", Row("all", muted_until=NOW + 1))], "channel_muted", id="for a while"),
        pytest.param(
            [("member", Row("all", muted_until=NOW + 1, muted_level="mentions"))], "mentions_only", id="quietened"
        ),
        pytest.param([("user", Row("none"))], "level_none", id="by the user"),
        pytest.param([("user", Row("all", muted_until=NOW + 1))], "level_none", id="by the user for a while"),
        pytest.param([("channel", Row("none"))], "level_none", id="by the channel"),
        pytest.param([("app", Row("none"))], "level_none", id="by the app"),
        pytest.param([("app", Row("mentions"))], "mentions_only", id="by a level"),
        pytest.param([("user", Row("personal"))], "mentions_only", id="by another level"),
        pytest.param([("user", Row(switches={"message": False}))], "switched_off", id="by a switch"),
        pytest.param([("member", Row("all")), ("user", Row(enabled=False))], "push_off", id="before all levels"),
        pytest.param([("user", Row(enabled=False, switches={"message": True}))], "push_off", id="before all switches"),
    ],
)
def test_a_refusal_is_named_after_what_refused(rows, reason):
    assert judge(("message",), rows, NOW).reason == reason


def test_a_refusal_is_named_after_the_most_salient_trigger():
    verdict = judge(("here", "message"), [("user", Row("mentions", {"here": False}))], NOW)
    assert verdict == ((), "user", "switched_off")


def test_without_a_word_from_anybody_it_is_as_it_was():
    assert {trigger for trigger in TRIGGERS if ask(trigger, (), NOW).on} == set(TRIGGERS) - {"reaction"}


def test_each_level_has_what_the_one_above_it_lacks():
    assert LEVELS["none"] < LEVELS["personal"] < LEVELS["mentions"] < LEVELS["all"] < set(TRIGGERS)


LEVEL = st.none() | st.sampled_from(get_args(Level))
ROW = st.builds(
    Row,
    level=LEVEL,
    switches=st.dictionaries(st.sampled_from(TRIGGERS), st.booleans(), max_size=4),
    muted_until=st.sampled_from([0.0, NOW - 1, NOW, NOW + 1]),
    muted_level=st.sampled_from(["none", "mentions"]),
    enabled=st.sampled_from([True, True, True, False]),
)
ROWS = st.dictionaries(st.sampled_from(NEAREST_FIRST), ROW).map(
    lambda found: [(name, found[name]) for name in NEAREST_FIRST if name in found]
)
SET = st.sets(st.sampled_from(TRIGGERS), min_size=1)


def ordered(some: set[Trigger]) -> tuple[Trigger, ...]:
    return tuple(trigger for trigger in TRIGGERS if trigger in some)


@given(SET, ROWS, st.sampled_from([Row("none"), Row("all", {"mention": True}, NOW + 1)]))
def test_a_nearest_row_of_none_silences_everything(some, rows, nearest):
    assert judge(ordered(some), [("thread", nearest), *rows], NOW).on == ()


@given(SET, st.sampled_from(TRIGGERS), ROWS)
def test_one_trigger_more_never_silences(some, more, rows):
    before, after = (judge(ordered(triggers), rows, NOW) for triggers in (some, some | {more}))
    assert set(before.on) <= set(after.on)


@given(SET, ROWS)
def test_an_ended_mute_is_no_mute(some, rows):
    ended = [(name, one._replace(muted_until=min(one.muted_until, NOW))) for name, one in rows]
    never = [(name, one._replace(muted_until=0.0)) for name, one in rows]
    assert judge(ordered(some), ended, NOW) == judge(ordered(some), never, NOW)


@pytest.mark.parametrize(
    ("why", "rows", "reason"),
    [
        pytest.param("message", [("member", Row("mentions"))], "mentions_only", id="a plain message"),
        pytest.param("mention", [("member", Row("mentions"))], "", id="a mention still comes"),
        pytest.param("mention", [("member", Row("none"))], "channel_muted", id="it was muted meanwhile"),
        pytest.param("mention", [("user", Row(switches={"mention": False}))], "", id="it may have been a message too"),
        pytest.param("reaction", [("user", Row("all"))], "switched_off", id="a reaction is nothing else"),
        pytest.param("message", [], "", id="nobody said anything"),
    ],
)
def test_a_push_that_waited_is_judged_again(why, rows, reason):
    assert judge_again(why, rows, NOW) == reason


def test_a_call_is_refused_by_who_wants_nothing_and_by_a_running_mute_of_its_channel():
    muted = Row(muted_until=NOW + 1)
    own: dict[str, Rows] = {
        "off": [("member", muted), ("user", Row(enabled=False))],
        "muted": [("member", muted)],
        "but mentions": [("member", muted._replace(muted_level="mentions"))],
        "over": [("member", muted._replace(muted_until=NOW))],
        "none": [("member", Row("none")), ("user", Row("none"))],
    }
    assert judge_calls(own, NOW).refused == {"push_off": {"off"}, "channel_muted": {"muted"}}


USERS = ("a", "b", "c", "d")


@given(SET, st.dictionaries(st.sampled_from(USERS), SET), st.dictionaries(st.sampled_from(USERS), ROWS), ROWS)
def test_all_are_judged_as_each_is(everybody, some, own, common):
    said = Triggers(ordered(everybody), {user: ordered(of) for user, of in some.items()})
    rows = {user: rows for user, rows in own.items() if rows}
    found = judge_all(said, common, rows, NOW)
    for user in (*USERS, "somebody else"):
        verdict = judge(said.of(user), [*rows.get(user, ()), *common], NOW)
        assert found.of(user) == verdict
        assert {reason for reason, users in found.refused.items() if user in users} == {verdict.reason} - {""}
