"""Scripts as they are played: answers, delays and faults for each request."""

import pytest

from worker.simulator import Answer, Latency, Rule, Script, Share, faults, read_script, reasons
from worker.simulator.player import Player
from worker.simulator.reasons import STATUS_OF
from worker.simulator.script import OK

GONE = Answer("Unregistered")


def _plans(script, requests=10, seed=0, *, step=1.0, tokens=None):
    player = Player(script, seed, 0.0)
    return [
        player.plan((tokens or ["ab"])[n % len(tokens or ["ab"])], "topic", "alert", 1, n * step)
        for n in range(requests)
    ]


@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        pytest.param(Rule(), range(10), id="every request"),
        pytest.param(Rule(skip=3), range(3, 10), id="after the first three"),
        pytest.param(Rule(count=2), range(2), id="twice"),
        pytest.param(Rule(skip=1, every=3), [1, 4, 7], id="each third after the first"),
        pytest.param(Rule(skip=1, every=3, count=2), [1, 4], id="each third, twice"),
        pytest.param(Rule(after=4, until=7), [4, 5, 6], id="in a window of time"),
        pytest.param(Rule(token="AB"), range(10), id="the token in any case"),
        pytest.param(Rule(token="cd"), [], id="another token"),
        pytest.param(Rule(topic="topic", push_type="alert", connection=1), range(10), id="all that is given"),
        pytest.param(Rule(topic="other"), [], id="another topic"),
        pytest.param(Rule(push_type="voip"), [], id="another push type"),
        pytest.param(Rule(connection=2), [], id="another connection"),
        pytest.param(Rule(on="connect"), [], id="not for connections"),
    ],
)
def test_a_rule_takes_what_matches(rule, taken):
    fields = {name: getattr(rule, name) for name in rule.__struct_fields__ if name != "answer"}
    plans = _plans(Script(rules=(Rule(**fields, answer=GONE),)))
    assert [n for n, plan in enumerate(plans) if plan.answer == GONE] == list(taken)


def test_rules_win_over_tokens_and_tokens_over_shares():
    busy, down = Answer("TooManyRequests"), Answer("Shutdown")
    script = Script(tokens={"AB": GONE}, shares=(Share(1.0, down),), rules=(Rule(count=1, answer=busy),))
    assert [plan.answer for plan in _plans(script, 3, tokens=["ab", "ab", "cd"])] == [busy, GONE, down]


def test_several_rules_may_each_say_a_part():
    script = Script(rules=(Rule(answer=GONE), Rule(latency=0.5), Rule(answer=OK, latency=9.0, fault=faults.Ping())))
    assert _plans(script, 1) == [(GONE, 0.5, faults.Ping())]


def test_a_share_by_request_is_about_its_part_and_the_same_for_the_same_seed():
    script = Script(shares=(Share(0.2, GONE),))
    first, second, other = _plans(script, 1000, 1), _plans(script, 1000, 1), _plans(script, 1000, 2)
    assert first == second != other
    assert 150 < sum(plan.answer == GONE for plan in first) < 250


def test_a_share_by_token_gives_a_token_the_same_answer_again():
    script = Script(shares=(Share(0.5, GONE, by="token"),))
    tokens = [f"{n:04x}" for n in range(200)]
    plans = _plans(script, 400, tokens=tokens)
    assert plans[:200] == plans[200:]
    assert 70 < sum(plan.answer == GONE for plan in plans[:200]) < 130


@pytest.mark.parametrize(
    ("latency", "low", "high"),
    [
        pytest.param(0.05, 0.05, 0.05, id="fixed"),
        pytest.param(Latency(low=0.01, high=0.03), 0.01, 0.03, id="uniform"),
        pytest.param(Latency(low=0.02, median=0.05, sigma=0.5), 0.02, 1.0, id="log-normal, bounded below"),
    ],
)
def test_latency_is_drawn_within_its_bounds(latency, low, high):
    delays = [plan.delay for plan in _plans(Script(latency=latency), 500)]
    assert low <= min(delays)
    assert max(delays) <= high
    assert (len(set(delays)) == 1) is isinstance(latency, float)


def test_connect_rules_befall_connections():
    rule = Rule(on="connect", skip=1, count=1, fault=faults.Close())
    player = Player(Script(rules=(rule,)), 0, 0.0)
    assert [list(player.on_connect(number, 0.0)) for number in (1, 2, 3)] == [[], [faults.Close()], []]


@pytest.mark.parametrize("reason", STATUS_OF)
def test_every_documented_reason_knows_its_status(reason):
    assert Answer(reason).code == STATUS_OF[reason]


def test_an_undocumented_reason_needs_a_status():
    assert Answer("Whatever", status=418).code == 418
    with pytest.raises(ValueError, match="needs a status"):
        Answer("Whatever")


def test_a_script_is_read_from_json():
    document = """{"latency": {"low": 0.01, "high": 0.02},
      "tokens": {"ab": {"reason": "Unregistered", "timestamp": 1763700000000}},
      "shares": [{"share": 0.02, "by": "token", "answer": {"reason": "Unregistered"}}],
      "rules": [{"skip": 5, "count": 1, "fault": {"kind": "goaway", "last_stream_id": "middle", "reason": "Shutdown"}}]}"""
    assert read_script(document) == Script(
        latency=Latency(low=0.01, high=0.02),
        tokens={"ab": Answer("Unregistered", timestamp=1763700000000)},
        shares=(Share(0.02, GONE, by="token"),),
        rules=(Rule(skip=5, count=1, fault=faults.GoAway(last_stream_id="middle", reason="Shutdown")),),
    )


@pytest.mark.parametrize(
    ("document", "named"),
    [
        pytest.param('{"rules": [{"fault": {"kind": "nope"}}]}', "rules[0].fault.kind", id="an unknown fault"),
        pytest.param('{"rules": [{"tokn": "ab"}]}', "tokn", id="an unknown field"),
        pytest.param('{"shares": [{"share": "2%"}]}', "shares[0].share", id="a wrong type"),
        pytest.param('{"tokens": {"ab": {"reason": "Gone"}}}', "status", id="an unknown reason"),
    ],
)
def test_a_faulty_script_is_refused_by_name(document, named):
    with pytest.raises(ValueError, match=named.replace("[", r"\[")):
        read_script(document)


def test_no_reason_has_two_statuses():
    assert len(STATUS_OF) == sum(map(len, (reasons.APNS, reasons.FCM, reasons.OAUTH, reasons.WEB)))
