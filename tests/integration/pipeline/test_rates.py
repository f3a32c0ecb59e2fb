"""What is over a rate is given its time, waits for it once, and costs no more however low the rate is."""

import time
from collections import Counter
from typing import Any

import pytest

from tests.integration.pipeline.harness import Pipeline, message, token, user_of
from worker.core.model import Answer


def people(pipeline: Pipeline, n: int) -> list[str]:
    users = [f"u{i}" for i in range(n)]
    pipeline.member("general", "leia", *users)
    return users


def pass_second(pipeline: Pipeline) -> int:
    """Moves what waits and the clock on by a second; returns how many batches became due."""
    pipeline.now += 1.0
    return pipeline.later(1.0)


@pytest.mark.parametrize("limit", ["push_rate", "provider_rate", "channel_rate"])
def test_what_is_over_a_rate_goes_at_its_own_time_and_is_not_lost(pipeline: Pipeline, limit):
    pipeline.save_app(**{limit: 10.0})
    people(pipeline, 25)
    pipeline.publish(message())
    assert len(pipeline.run()) == 10
    assert pipeline.journal.counts("demo")[f"limited.{limit}"] == 15
    for expected in (10, 5, 0):
        pass_second(pipeline)
        before = len(pipeline.apns.sent)
        pipeline.deliver()
        assert len(pipeline.apns.sent) - before == expected
    assert len({n.token for n in pipeline.apns.sent}) == len(pipeline.apns.sent) == 25
    assert pipeline.journal.backlog() == (0, 0)
    assert pipeline.journal.counts("demo")[f"limited.{limit}"] == 15, "each waited once"


@pytest.mark.parametrize("rate", [5.0, 50.0])
def test_the_cost_of_a_push_is_flat_whatever_the_rate(pipeline: Pipeline, rate):
    """Deliveries and ledger lines: at most two of each for a push, one of them for its wait."""
    pipeline.save_app(push_rate=rate)
    people(pipeline, 100)
    for n in range(5):
        pipeline.publish(message(id=f"e{n}"))
    pipeline.run()
    deliveries, seconds = 0, 0
    while pipeline.redis.zcard("carillon:due"):
        pass_second(pipeline)
        deliveries += len(pipeline.deliver())
        seconds += 1
        assert seconds < 200
    counts = pipeline.journal.counts("demo")
    assert counts["accepted"] == 500
    assert counts["limited.push_rate"] == 500 - rate
    assert deliveries <= 1.2 * seconds + 10
    lines = Counter[str]()
    for n in range(5):
        for outcome, devices in pipeline.account(f"e{n}").items():
            lines[outcome] += len(devices) if isinstance(devices, list) else 0
    assert sum(lines.values()) <= 2 * 500 + 50


def test_what_cannot_go_within_its_life_is_dropped_at_once_and_reserves_nothing(pipeline: Pipeline):
    pipeline.save_app(push_rate=1.0, max_age=10)
    people(pipeline, 50)
    pipeline.publish(message(id="e1"))
    pipeline.run()
    counts = pipeline.journal.counts("demo")
    assert counts["dropped.expired"] >= 38
    assert counts["limited.push_rate"] <= 11
    pipeline.save_app(push_rate=1.0, max_age=3600)
    pipeline.publish(message(id="e2", recipients=["u7"]))
    pipeline.run()
    due: Any = pipeline.redis.zrange("carillon:due", 0, -1, withscores=True)
    waits = [at for _, at in due]
    assert max(waits) - time.time() < 15.0, "what was dropped holds up nobody"


def test_a_message_of_the_urgent_lane_goes_before_a_campaign_that_waits(pipeline: Pipeline):
    pipeline.save_app(push_rate=10.0, member_cap=None)
    people(pipeline, 40)
    pipeline.fan_out._page = 30  # the channel is large: its batches go on the bulk lane
    pipeline.publish(message(id="campaign"))
    pipeline.run()
    waiting = pipeline.redis.zcard("carillon:due")
    assert waiting >= 2
    pipeline.publish(message(id="chat", recipients=["u1"]))
    assert [user_of(n) for n in pipeline.run()] == ["u1"]


def test_a_batch_that_comes_long_after_its_time_asks_for_a_new_one(pipeline: Pipeline):
    """As after its provider was stopped: else all that waited would go at once."""
    pipeline.save_app(push_rate=10.0)
    people(pipeline, 60)
    pipeline.publish(message())
    assert len(pipeline.run()) == 10
    pipeline.now += 60.0
    pipeline.redis.delete("carillon:notbefore:push_rate:demo")
    pipeline.later(60.0)
    before = len(pipeline.apns.sent)
    pipeline.deliver()
    assert len(pipeline.apns.sent) - before == 10
    while pipeline.redis.zcard("carillon:due"):
        pass_second(pipeline)
        pipeline.deliver()
    assert len({n.token for n in pipeline.apns.sent}) == len(pipeline.apns.sent) == 60


def test_two_limits_are_waited_for_one_after_the_other(pipeline: Pipeline):
    pipeline.save_app(push_rate=10.0, provider_rate=20.0)
    people(pipeline, 60)
    pipeline.publish(message())
    pipeline.run()
    seconds = 0
    while pipeline.redis.zcard("carillon:due"):
        pass_second(pipeline)
        pipeline.deliver()
        seconds += 1
        assert seconds < 60
    assert len({n.token for n in pipeline.apns.sent}) == len(pipeline.apns.sent) == 60
    counts = pipeline.journal.counts("demo")
    assert counts["limited.provider_rate"] + counts["limited.push_rate"] <= 2 * 60


def test_a_retry_asks_for_a_time_of_its_own(pipeline: Pipeline):
    pipeline.save_app(push_rate=10.0)
    people(pipeline, 12)
    pipeline.apns.answers[token("u11")] = [Answer(503, "ServiceUnavailable"), Answer(200)]
    pipeline.publish(message())
    pipeline.run()
    for _ in range(5):
        pass_second(pipeline)
        pipeline.deliver()
    assert pipeline.journal.backlog() == (0, 0)
    assert Counter(user_of(n) for n in pipeline.apns.sent)["u11"] == 2


def test_a_burst_in_one_channel_waits_and_leaves_other_channels_and_mentions_alone(pipeline: Pipeline):
    pipeline.save_app(channel_rate=10.0)
    people(pipeline, 25)
    pipeline.publish(
        message(id="e1", mentioned=["u7", "u8"]), message(id="e2", channel="lobby", recipients=["han", "luke"])
    )
    for user in ("han", "luke"):
        pipeline.member("lobby", user)
    pushed = [user_of(n) for n in pipeline.run()]
    assert {"u7", "u8", "han", "luke"} <= set(pushed)
    assert len(pushed) == 10 + 2 + 2
    assert pipeline.journal.counts("demo")["limited.channel_rate"] == 13
    for _ in range(2):
        pass_second(pipeline)
        pipeline.deliver()
    assert len({n.token for n in pipeline.apns.sent}) == len(pipeline.apns.sent) == 27
    assert pipeline.journal.backlog() == (0, 0)


def test_a_device_s_own_rate_leaves_the_others_alone(pipeline: Pipeline):
    pipeline.save_app(device_rate=2.0)
    pipeline.member("general", "leia", "han", "luke")
    pipeline.publish(
        *(message(id=f"e{n}", recipients=["han"]) for n in range(5)), message(id="e9", recipients=["luke"])
    )
    assert sorted(user_of(n) for n in pipeline.run()) == ["han", "han", "luke"]
    sent = [n.heading.collapse_id for n in pipeline.apns.sent if user_of(n) == "han"]
    for _ in range(91):
        pass_second(pipeline)
        pipeline.deliver()
    after = [n.heading.collapse_id for n in pipeline.apns.sent if user_of(n) == "han"]
    assert len(after) == len(set(after)) == 5
    assert after[:2] == sent
    assert pipeline.journal.backlog() == (0, 0)
