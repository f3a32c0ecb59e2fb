"""What is over a rate is given its time, waits for it once, and costs no more however low the rate is."""

import time
from collections import Counter
from typing import Any

import pytest

from tests.road.harness import Road, message, token, user_of
from worker.core.model import Answer


def people(road: Road, n: int) -> list[str]:
    users = [f"u{i}" for i in range(n)]
    road.member("general", "leia", *users)
    return users


def pass_second(road: Road) -> int:
    """Moves what waits and the clock on by a second; returns how many batches became due."""
    road.now += 1.0
    return road.later(1.0)


@pytest.mark.parametrize("limit", ["push_rate", "provider_rate", "channel_rate"])
def test_what_is_over_a_rate_goes_at_its_own_time_and_is_not_lost(road: Road, limit):
    road.save_app(**{limit: 10.0})
    people(road, 25)
    road.publish(message())
    assert len(road.run()) == 10
    assert road.journal.counts("demo")[f"limited.{limit}"] == 15
    for expected in (10, 5, 0):
        pass_second(road)
        before = len(road.apns.sent)
        road.deliver()
        assert len(road.apns.sent) - before == expected
    assert len({n.token for n in road.apns.sent}) == len(road.apns.sent) == 25
    assert road.journal.backlog() == (0, 0)
    assert road.journal.counts("demo")[f"limited.{limit}"] == 15, "each waited once"


@pytest.mark.parametrize("rate", [5.0, 50.0])
def test_the_cost_of_a_push_is_flat_whatever_the_rate(road: Road, rate):
    """Deliveries and ledger lines: at most two of each for a push, one of them for its wait."""
    road.save_app(push_rate=rate)
    people(road, 100)
    for n in range(5):
        road.publish(message(id=f"e{n}"))
    road.run()
    deliveries, seconds = 0, 0
    while road.redis.zcard("carillon:due"):
        pass_second(road)
        deliveries += len(road.deliver())
        seconds += 1
        assert seconds < 200
    counts = road.journal.counts("demo")
    assert counts["accepted"] == 500
    assert counts["limited.push_rate"] == 500 - rate
    assert deliveries <= 1.2 * seconds + 10
    lines = Counter[str]()
    for n in range(5):
        for outcome, devices in road.account(f"e{n}").items():
            lines[outcome] += len(devices) if isinstance(devices, list) else 0
    assert sum(lines.values()) <= 2 * 500 + 50


def test_what_cannot_go_within_its_life_is_dropped_at_once_and_reserves_nothing(road: Road):
    road.save_app(push_rate=1.0, max_age=10)
    people(road, 50)
    road.publish(message(id="e1"))
    road.run()
    counts = road.journal.counts("demo")
    assert counts["dropped.expired"] >= 38
    assert counts["limited.push_rate"] <= 11
    road.save_app(push_rate=1.0, max_age=3600)
    road.publish(message(id="e2", recipients=["u7"]))
    road.run()
    due: Any = road.redis.zrange("carillon:due", 0, -1, withscores=True)
    waits = [at for _, at in due]
    assert max(waits) - time.time() < 15.0, "what was dropped holds up nobody"


def test_a_message_of_the_urgent_lane_goes_before_a_campaign_that_waits(road: Road):
    road.save_app(push_rate=10.0, member_cap=None)
    people(road, 40)
    road.fan_out._page = 30  # the channel is large: its batches go on the bulk lane
    road.publish(message(id="campaign"))
    road.run()
    waiting = road.redis.zcard("carillon:due")
    assert waiting >= 2
    road.publish(message(id="chat", recipients=["u1"]))
    assert [user_of(n) for n in road.run()] == ["u1"]


def test_a_batch_that_comes_long_after_its_time_asks_for_a_new_one(road: Road):
    """As after its provider was stopped: else all that waited would go at once."""
    road.save_app(push_rate=10.0)
    people(road, 60)
    road.publish(message())
    assert len(road.run()) == 10
    road.now += 60.0
    road.redis.delete("carillon:notbefore:push_rate:demo")
    road.later(60.0)
    before = len(road.apns.sent)
    road.deliver()
    assert len(road.apns.sent) - before == 10
    while road.redis.zcard("carillon:due"):
        pass_second(road)
        road.deliver()
    assert len({n.token for n in road.apns.sent}) == len(road.apns.sent) == 60


def test_two_limits_are_waited_for_one_after_the_other(road: Road):
    road.save_app(push_rate=10.0, provider_rate=20.0)
    people(road, 60)
    road.publish(message())
    road.run()
    seconds = 0
    while road.redis.zcard("carillon:due"):
        pass_second(road)
        road.deliver()
        seconds += 1
        assert seconds < 60
    assert len({n.token for n in road.apns.sent}) == len(road.apns.sent) == 60
    counts = road.journal.counts("demo")
    assert counts["limited.provider_rate"] + counts["limited.push_rate"] <= 2 * 60


def test_a_retry_asks_for_a_time_of_its_own(road: Road):
    road.save_app(push_rate=10.0)
    people(road, 12)
    road.apns.answers[token("u11")] = [Answer(503, "ServiceUnavailable"), Answer(200)]
    road.publish(message())
    road.run()
    for _ in range(5):
        pass_second(road)
        road.deliver()
    assert road.journal.backlog() == (0, 0)
    assert Counter(user_of(n) for n in road.apns.sent)["u11"] == 2


def test_a_burst_in_one_channel_waits_and_leaves_other_channels_and_mentions_alone(road: Road):
    road.save_app(channel_rate=10.0)
    people(road, 25)
    road.publish(
        message(id="e1", mentioned=["u7", "u8"]), message(id="e2", channel="lobby", recipients=["han", "luke"])
    )
    for user in ("han", "luke"):
        road.member("lobby", user)
    pushed = [user_of(n) for n in road.run()]
    assert {"u7", "u8", "han", "luke"} <= set(pushed)
    assert len(pushed) == 10 + 2 + 2
    assert road.journal.counts("demo")["limited.channel_rate"] == 13
    for _ in range(2):
        pass_second(road)
        road.deliver()
    assert len({n.token for n in road.apns.sent}) == len(road.apns.sent) == 27
    assert road.journal.backlog() == (0, 0)


def test_a_device_s_own_rate_leaves_the_others_alone(road: Road):
    road.save_app(device_rate=2.0)
    road.member("general", "leia", "han", "luke")
    road.publish(*(message(id=f"e{n}", recipients=["han"]) for n in range(5)), message(id="e9", recipients=["luke"]))
    assert sorted(user_of(n) for n in road.run()) == ["han", "han", "luke"]
    sent = [n.collapse_id for n in road.apns.sent if user_of(n) == "han"]
    for _ in range(91):
        pass_second(road)
        road.deliver()
    after = [n.collapse_id for n in road.apns.sent if user_of(n) == "han"]
    assert len(after) == len(set(after)) == 5
    assert after[:2] == sent
    assert road.journal.backlog() == (0, 0)
