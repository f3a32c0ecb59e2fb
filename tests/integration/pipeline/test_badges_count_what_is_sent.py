"""A badge counts what is sent: what the checks before delivery drop gives its number back before anything is sent."""

import json
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, message, stamp, token
from worker.core.badges import Cleared
from worker.core.batch import COUNT, LEAVE, SHOW, Batch, Job, Sending
from worker.core.batch_run import begin
from worker.core.model import ACCEPTED, Answer, Notification
from worker.core.outcome import Drop
from worker.pipeline.steps.uncount import Uncount
from worker.state.homes import Homes
from worker.state.journal import DONE, Journal, QueuedBatch, Recorded, Step
from worker.state.partition import untagged
from worker.state.redis import Redis, connect


def badges(pipeline: Pipeline) -> set[int]:
    found = pipeline.redis.hgetall("carillon:badge:demo")
    return {int(n) for n in found.values()}


def shown(sent: Sequence[Notification]) -> list[int]:
    return [json.loads(n.payload)["aps"]["badge"] for n in sent]


@pytest.fixture
def one(pipeline: Pipeline) -> Pipeline:
    """Han with one device that shows 1."""
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="e0"))
    pipeline.run()
    return pipeline


def expanded(pipeline: Pipeline, *events: ev.AnyEvent) -> None:
    """In one batch."""
    pipeline.publish(*events)
    pipeline.take()
    pipeline.expand()


def left(pipeline: Pipeline) -> None:
    channel = ev.ChannelId(id="general")
    pipeline.publish(ev.MemberRemoved(**stamp(5), channel=channel, users=["han"]))
    pipeline.now += 60


def muted(pipeline: Pipeline) -> None:
    pipeline.publish(ev.UserMuted(**stamp(5), user="han", target="leia"))
    pipeline.now += 60


def expires(pipeline: Pipeline) -> None:
    pipeline.now += 3601


@pytest.mark.parametrize("drop", [left, muted, expires])
@pytest.mark.parametrize("badge", [None, 7])
def test_a_dropped_message_is_in_no_number(one, drop, badge):
    expanded(one, message(id="e1", badge=badge))
    drop(one)
    one.take()
    assert one.deliver()[0].keys() <= {"dropped.expired", "dropped.left", "dropped.muted"}
    assert badges(one) == {1}


def test_the_others_of_the_batch_have_the_numbers_that_they_have_without_it(one):
    late = message(id="e1", seconds=-3590)
    expanded(one, message(id="e2", badge=7, seconds=-3590), late, message(id="e3"), message(id="e4"))
    one.now += 60
    one.deliver()
    assert shown(one.apns.sent[1:]) == [2, 3]
    assert badges(one) == {3}


def test_a_message_that_waited_unsent_and_is_then_dropped_is_in_no_number(one):
    one.save_app(channel_rate=0.1)
    expanded(one, message(id="e1"), message(id="e2"))
    assert one.deliver() == [{"accepted": 1, "limited.channel_rate": 1}]
    assert badges(one) == {3}
    one.now += 3601
    one.later()
    assert one.deliver() == [{"dropped.expired": 1}]
    assert badges(one) == {2}


def test_a_message_that_was_sent_and_is_then_dropped_stays_in_the_number(one):
    """Whether a phone showed it is not known."""
    one.apns.answers[token("han")] = [Answer(503, "ServiceUnavailable"), ACCEPTED]
    expanded(one, message(id="e1"))
    one.deliver()
    one.now += 3601
    one.later()
    assert one.deliver() == [{"dropped.expired": 1}]
    assert badges(one) == {2}


def test_a_worker_that_dies_after_the_check_gives_no_number_back_twice(one, monkeypatch):
    expanded(one, message(id="e1", seconds=-3590), message(id="e2"))
    one.now += 60

    def dies(*_):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("worker.pipeline.steps.send.Send.__call__", dies)
        with pytest.raises(SystemExit):
            one.deliver()
    assert badges(one) == {2}
    one.later()
    assert one.deliver() == [{"dropped.expired": 1, "accepted": 1}]
    assert badges(one) == {2}
    assert shown(one.apns.sent[1:]) == [2]


def test_a_batch_of_which_nothing_is_dropped_asks_for_nothing(one, monkeypatch):
    monkeypatch.setattr(one.journal, "uncount", None)
    expanded(one, message(id="e1"), message(id="e2"))
    assert one.deliver() == [{"accepted": 2}]


# Any batch, whatever of it is dropped: the numbers of the same batch without that.

DEVICES = (7, 8)
#: Kind of badge, device, and in which of the checks it is dropped: 0 in none.
JOBS = some.lists(
    some.tuples(some.sampled_from([COUNT, COUNT, LEAVE, SHOW, 2, 9]), some.sampled_from(DEVICES), some.integers(0, 2)),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def valkey(engine_urls) -> Iterator[Redis]:
    client = connect(engine_urls.redis)
    yield client
    client.close()


def written(journal: Journal, jobs: Sequence[tuple[int, int, int]]) -> None:
    """A batch of these, each of a message of its own."""
    journal._redis.flushall()
    journal._redis.hset("carillon:badge:demo", mapping={"7": 5, "8": 3})
    journal._redis.xadd("carillon:events", {"event": ""}, id="100-0")
    journal.open([Recorded("100-0", "demo", 100)], token=0)
    sendings = [Sending("100-0", f"e{n}", "", "", 0, "", badge=jobs[n][0], place=100 + n) for n in range(len(jobs))]
    batch = Batch("demo", 1, "urgent", sendings, [Job(n, jobs[n][1], "u", "00", 0) for n in range(len(jobs))])
    journal.expand([Step("100-0", "demo\n\n100\n", DONE)], [QueuedBatch("b1", batch)], {}, [])


def delivered(journal: Journal, jobs: Sequence[tuple[int, int, int]], *, clear: bool, dies: bool) -> list[int | None]:
    """The numbers of the jobs that are sent."""
    for taking in (1, 2) if dies else (2,):
        taken = journal.take_batch("urgent")
        assert taken is not None
        run = begin(taken.id, taken.batch, taken.badges, taken.outcomes)
        if clear:
            journal.clear_badges([Cleared("", "demo", [7], [7], place=200)])
        for check in range(1, taking + 1):
            run.set_outcome([n for n, (*_, when) in enumerate(jobs) if when == check], Drop("expired"))
            Uncount(journal, Homes(untagged(journal._redis)))(run)
        if taking == 1:
            journal.return_batch(taken.id)
    return [run.badges[index] for index in run.pending()]


@settings(max_examples=40, deadline=None)
@given(JOBS, some.booleans(), some.booleans())
def test_the_numbers_are_those_of_the_batch_without_the_dropped(valkey, jobs, clear, dies):
    journal = Journal(untagged(valkey), lease=60)
    kept = [one for one in jobs if not one[2]]
    expected: list[int | None] = []
    without: dict[bytes, bytes] = {b"7": b"5", b"8": b"3"}
    if kept:
        written(journal, kept)
        expected = delivered(journal, kept, clear=clear, dies=dies)
        without = valkey.hgetall("carillon:badge:demo")
    elif clear:
        del without[b"7"]
    written(journal, jobs)
    found = delivered(journal, jobs, clear=clear, dies=dies)
    assert valkey.hgetall("carillon:badge:demo") == without
    changed = {device for kind, device, when in jobs if when and kind not in (LEAVE, SHOW)}
    cleared = 7 if clear else None
    for (_, device, _), number, other in zip(kept, found, expected, strict=True):
        # Of a device that loses nothing the numbers are as they were handed out, the clearing's own push comes behind them.
        assert number == (0 if device == cleared and device in changed and number is not None else other)
