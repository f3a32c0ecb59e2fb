"""The worker that expands few messages has their batch without another call, as if it had taken it."""

import time
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token, user_of
from tests.integration.pipeline.test_digests import people
from worker.core.model import Answer
from worker.pipeline.expansion.fan_out import Expanded
from worker.state.journal import Opened

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


def test_its_numbers_count_what_is_not_pushed_of_the_same_messages(channel):
    people(channel)
    channel.publish(message(id="e1"), message(id="e2", urgency="urgent"))
    channel.take()
    [taken] = expanded(channel).taken
    assert (len(taken.batch.jobs), taken.badges) == (1, [2])
    assert channel.redis.hvals(channel.partition.keys.BADGE("demo")) == [b"2"]


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
    woken = Counter[str]()
    [taken] = first.taken
    channel.delivery.deliver_taken(taken, first.taken_at, lambda lane, batches: woken.update({lane: batches}))
    assert +woken == {"urgent": 1}, "whoever delivers what it took has no next turn"
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


def opened_for_idle(pipeline: Pipeline) -> list[Opened]:
    """What the leader hands to an idle thread of its process, of what it opens now."""
    handed: list[Opened] = []
    pipeline.intake._idle = lambda _: handed.extend
    pipeline.take()
    pipeline.intake._idle = lambda _: None
    return handed


def test_what_the_leader_opens_an_idle_thread_has_in_the_same_step(channel):
    channel.publish(message(id="e1"))
    taken = opened_for_idle(channel)
    assert channel.woken[-1:] != [1], "nobody else is woken"
    assert channel.journal.take_messages("urgent", 100) == [], "nobody else has it"
    of = channel.fan_out.expand(taken, full=())
    assert deliver(channel, of) == [{"accepted": 1}]
    assert channel.journal.backlog() == (0, 0)


def test_it_is_what_take_messages_would_have_given(channel):
    channel.publish(message(id="e1"), message(id="e2"))
    taken = opened_for_idle(channel)
    channel.later()
    again = channel.journal.take_messages("urgent", 100)
    assert [replace(one, turn="") for one in again] == [replace(one, turn="") for one in taken]
    assert channel.fan_out.expand(taken).batches.total() == 0, "the other one has them"
    assert channel.fan_out.expand(again).batches.total() == 1


def test_what_has_no_channel_is_taken_too(channel):
    about: dict[str, Any] = {"channel": ev.Channel(id="general"), "caller": ev.Sender(id="leia"), "recipients": ["han"]}
    channel.publish(ev.CallStarted(**stamp(), **about, call=ev.Call(id=str(uuid4()))))
    [call] = opened_for_idle(channel)
    assert call.group == ""
    assert channel.journal.take_messages("urgent", 100) == []
    channel.fan_out.expand([call])
    channel.later()
    assert not [one for one in channel.journal.take_messages("urgent", 100) if not one.look], "it has no lease any more"


def test_messages_of_a_group_that_another_task_has_wait_for_it(channel):
    publish(channel, "e1")
    first = channel.journal.take_messages("urgent", 100)
    channel.publish(message(id="e2"))
    assert opened_for_idle(channel) == []
    channel.fan_out.expand(first)
    assert [one.document for one in channel.journal.take_messages("urgent", 100)] != []
    channel.later()
    channel.run()


def test_what_waits_is_expanded_first(channel):
    publish(channel, "e1")
    channel.publish(message(id="e2"))
    assert opened_for_idle(channel) == []
    assert channel.woken[-1] == 1
    assert len(channel.journal.take_messages("urgent", 100)) == 2
    channel.later()
    channel.run()
