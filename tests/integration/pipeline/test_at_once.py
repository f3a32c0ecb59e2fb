"""The worker that expands few messages has their batch without another call, as if it had taken it."""

import time

import pytest

from tests.integration.pipeline.harness import START, Pipeline, message, token, user_of
from worker.core.model import Answer
from worker.pipeline.expansion.fan_out import Expanded

AWAY = Answer(503, "ServiceUnavailable")


def expanded(pipeline: Pipeline, *, full: tuple[int, ...] = ()) -> Expanded:
    return pipeline.fan_out.expand(pipeline.journal.take_messages("urgent", 100), full=full)


def deliver(pipeline: Pipeline, of: Expanded) -> list[dict[str, int]]:
    return [pipeline.delivery.deliver_taken(one, of.taken_at) for one in of.taken]


def publish(pipeline: Pipeline, *ids: str) -> None:
    for id in ids:
        pipeline.publish(message(id=id))
    pipeline.take()


@pytest.fixture
def channel(pipeline: Pipeline) -> Pipeline:
    pipeline.member("general", "leia", "han")
    pipeline.take()
    return pipeline


def test_it_is_delivered_from_memory_with_its_numbers_and_an_account(channel):
    publish(channel, "e1", "e2")
    of = expanded(channel)
    [taken] = of.taken
    assert (taken.badges, of.batches.total()) == ([1, 2], 1)
    assert channel.deliver() == [], "nobody else has it"
    assert deliver(channel, of) == [{"accepted": 2}]
    assert [user_of(n) for n in channel.apns.sent] == ["han", "han"]
    assert channel.journal.backlog() == (0, 0)
    [accepted] = [part["accepted"] for name, part in channel.account("e1").items() if name.startswith("batch:")]
    assert [user for user, *_ in accepted] == ["han"]
    channel.fan_out.keep(of.kept)


def test_it_is_what_take_batch_would_have_given(channel):
    publish(channel, "e1")
    [taken] = expanded(channel).taken
    channel.later()
    again = channel.journal.take_batch("urgent")
    assert again is not None
    assert again._replace(accepted=()) == taken, "whoever took it has died"
    assert channel.delivery.deliver_taken(again, channel.now) == {"accepted": 1}


def test_what_a_worker_took_and_died_with_is_sent_once_its_lease_is_over(channel):
    publish(channel, "e1")
    assert expanded(channel).taken
    assert channel.journal.make_due_ready() == 0
    assert channel.later() == 1
    assert channel.deliver() == [{"accepted": 1}]
    assert channel.apns.sent[0].payload.endswith(b'"badge":1}}') or b'"badge":1' in channel.apns.sent[0].payload


def test_what_waits_goes_first(channel):
    publish(channel, "e1")
    channel.expand()
    publish(channel, "e2")
    assert expanded(channel).taken == ()
    assert channel.deliver() == [{"accepted": 1}, {"accepted": 1}]


def test_a_device_that_another_batch_has_is_waited_for(channel):
    publish(channel, "e1")
    first = expanded(channel)
    publish(channel, "e2")
    second = expanded(channel)
    assert second.taken == ()
    assert channel.deliver() == [], "it waits for the first"
    assert deliver(channel, first) == [{"accepted": 1}]
    assert channel.deliver() == [{"accepted": 1}]
    assert [n.payload.count(b'"badge":2') for n in channel.apns.sent] == [0, 1]


def test_a_way_that_is_stopped_over_its_quota_or_full_gets_none(channel):
    publish(channel, "e1")
    assert expanded(channel, full=(channel.provider.id,)).taken == ()
    assert channel.deliver() == [{"accepted": 1}]
    channel.breaker.stop(channel.provider.id, "key", now=channel.now)
    publish(channel, "e2")
    assert expanded(channel).taken == ()
    channel.breaker.resume(channel.provider.id, by_hand=True)
    channel.later()
    assert channel.deliver() == [{"accepted": 1}]
    channel.limiter.over_quota(channel.provider.id, 5.0, "TooManyRequests", jitter=0.5)
    publish(channel, "e3")
    assert expanded(channel).taken == ()


def test_a_later_one_waits_for_an_earlier_one_that_is_put_off(channel):
    channel.now = time.time()
    channel.apns.answers[token("han")] = [AWAY]
    passed = channel.now - START.timestamp()
    channel.publish(message(id="e1", seconds=passed))
    channel.take()
    deliver(channel, expanded(channel))
    channel.publish(message(id="e2", seconds=passed + 0.1))
    channel.take()
    [taken] = (of := expanded(channel)).taken
    assert set(taken.waits) == {0}
    deliver(channel, of)
    assert len(channel.apns.sent) == 1


def test_a_device_that_moved_long_after_the_decision_gets_nothing(channel):
    publish(channel, "e1")
    of = expanded(channel)
    with channel.pool.connection() as db:
        db.execute("UPDATE carillon.devices SET user_id = 'chewie'")
    channel.now += 2.0
    assert deliver(channel, of) == [{"dropped.device_moved": 1}]


def test_a_larger_part_of_an_audience_is_left_to_others(channel):
    channel.save_app(member_cap=None)
    channel.member("general", *(f"u{n}" for n in range(600)))
    channel.take()
    publish(channel, "e1")
    assert expanded(channel).taken == (), "it is of the bulk lane"
