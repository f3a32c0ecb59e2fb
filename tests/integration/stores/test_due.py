"""What is due, on the real store: retries at their time, leases of the dead, and patience with owners who could not renew."""

from typing import Any

from worker.core.batch import Batch, Job, Sending
from worker.state.journal import Journal, QueuedBatch, Recorded
from worker.state.redis import Redis


def write(journal: Journal, n: int, delay: float = 0.0) -> None:
    sending = Sending("1-1", "e1", '{"aps":{', "}}", 2_000_000_000, "c1")
    jobs = [Job(0, device, "han", "aa", 0) for device in range(n)]
    journal._redis.xadd("carillon:events", {"event": ""}, id="1-1")
    journal.open([Recorded("1-1", "demo", 1)], token=0)
    queued = [QueuedBatch(f"b{i}", Batch("demo", 1, "urgent", [sending], [jobs[i]]), delay) for i in range(n)]
    journal.expand([], queued, {}, [])


def pass_time(redis: Redis, seconds: float, *, unwatched: bool) -> None:
    """Everything is so much later; `unwatched`: nobody asked meanwhile."""
    due: Any = redis.zrange("carillon:due", 0, -1, withscores=True)
    for member, at in due:
        redis.zadd("carillon:due", {member: at - seconds})
    now: Any = redis.time()
    redis.set("carillon:asked", now[0] - (seconds if unwatched else 1.0))


def test_a_lease_that_ran_out_while_nobody_asked_is_given_time_once(journal, redis):
    write(journal, 1)
    assert journal.take_batch("urgent") is not None
    pass_time(redis, 20, unwatched=True)
    assert journal.make_due_ready() == 0
    pass_time(redis, 20, unwatched=True)
    assert journal.make_due_ready() == 1, "however rarely anybody asks"
    assert journal.take_batch("urgent") is not None
    pass_time(redis, 20, unwatched=True)
    assert journal.make_due_ready() == 0, "another owner, another lease"


def test_a_lease_that_ran_out_before_our_eyes_is_given_none(journal, redis):
    write(journal, 1)
    assert journal.take_batch("urgent") is not None
    pass_time(redis, 20, unwatched=False)
    assert journal.make_due_ready() == 1


def test_what_nobody_holds_is_ready_at_its_time_whoever_asked_when(journal, redis):
    write(journal, 3, delay=10)
    pass_time(redis, 20, unwatched=True)
    assert journal.make_due_ready() == 3
    taken = journal.take_batch("urgent")
    assert taken is not None
    journal.return_batch(taken.id, 10)
    pass_time(redis, 20, unwatched=True)
    assert journal.make_due_ready() == 1


def test_more_than_one_bite_is_ready_at_once_and_each_lease_is_given_time(journal, redis):
    write(journal, 25)
    for _ in range(25):
        assert journal.take_batch("urgent") is not None
    pass_time(redis, 20, unwatched=True)
    assert journal.make_due_ready(limit=10) == 0
    pass_time(redis, 20, unwatched=False)
    assert journal.make_due_ready(limit=10) == 25
