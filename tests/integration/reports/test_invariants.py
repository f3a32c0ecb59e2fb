"""What must hold is found broken where it is, and whole on a system at work."""

from collections.abc import Iterator

import pytest

from worker.core.batch import Batch, Job, Sending
from worker.database import cursors
from worker.database.postgres import Connection, open_pool
from worker.reports.invariants import check_invariants
from worker.state import invariants, keys
from worker.state.journal import DONE, Journal, QueuedBatch, Recorded
from worker.state.partition import Keyspace, untagged
from worker.state.redis import Redis, connect


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def db(postgres_url: str) -> Iterator[Connection]:
    pool = open_pool(postgres_url, size=1)
    with pool.connection() as connection:
        connection.execute("INSERT INTO carillon.cursors (stream, cursor) VALUES (%s, '9-9')", (keys.EVENTS(),))
        yield connection
    pool.close()


@pytest.fixture
def at_work(redis: Redis) -> Redis:
    """A message is ready, a batch is taken, a second one waits for its device, and a third has its time."""
    journal = Journal(untagged(redis), lease=8.0)
    for n in (1, 2, 3, 4):
        entry = f"{n}-1"
        redis.xadd(keys.EVENTS(), {"event": "{}"}, id=entry)
        journal.open([Recorded(entry, "demo", n, "general")], token=0)
        if n == 4:
            break
        [message] = journal.take_messages("urgent", 1)
        sending = Sending(entry, f"e{n}", "{", "}", 2_000_000_000, "c1", channel="general", place=n)
        batch = Batch("demo", 1, "urgent", [sending], [Job(0, 7, "han", "aa", 0)])
        delay = 30.0 if n == 3 else 0.0
        journal.expand([message.step(DONE)], [QueuedBatch(f"b{n}", batch, delay)], {}, [])
    assert journal.take_batch("urgent") is not None
    assert journal.take_batch("urgent") is None, "it waits"
    return redis


def test_a_system_at_work_keeps_them(at_work: Redis, db: Connection) -> None:
    now = invariants.look(untagged(at_work))
    assert (len(now.open), len(now.batches), sum(one.claimed for one in now.batches.values())) == (4, 3, 2)
    assert check_invariants(Keyspace(at_work), db, looks=1) == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param(("HSET", keys.OPEN(), "1-1", 2), "entry 1-1 has 2 open units, and 1 are there", id="units"),
        pytest.param(("SADD", keys.SCHEDULED(), "8-8"), "entry 8-8 is scheduled and not open", id="scheduled"),
        pytest.param(("ZADD", keys.DUE(), 1, "e:4-1"), "the message 4-1 stands in 2 places", id="message"),
        pytest.param(("ZREM", keys.DUE(), "b:b1"), "batch b1 is leased and not due", id="lease"),
        pytest.param(("ZADD", keys.LINE("urgent", 1), 1, "b3"), "batch b3 stands in 1 lines and is due", id="batch"),
        pytest.param(("ZADD", keys.DUE(), 1, "b:b9"), "b:b9 is due and not there", id="due"),
        pytest.param(("HDEL", keys.SENDING(1), "7"), "batch b1 was taken, and its device 7 is free", id="device"),
        pytest.param(
            ("HSET", keys.SENDING(1), "8", "b9"),
            "device 8 of way 1 is held by batch b9, which is done",
            id="holder",
        ),
        pytest.param(
            ("ZADD", keys.LATER(1), 0, "7/00/1/2/b9"),
            "what is put off on way 1 is of batch b9, which is done",
            id="put off",
        ),
        pytest.param(
            ("DEL", keys.FOLLOWERS("b1")),
            "batch b2 waits for b1, and does not stand among its followers",
            id="followers",
        ),
        pytest.param(("HSET", keys.EXPANDING_GROUPS(), "5@demo", 1), "group 5@demo has only a task", id="group"),
        pytest.param(("DEL", keys.READY("urgent")), "app demo has 0 turns for messages of the urgent lane", id="app"),
        pytest.param(("ZADD", keys.LINE("bulk", 2), 1, "b9"), "way 2 has 0 turns in the bulk lane", id="way"),
        pytest.param(
            ("ZADD", keys.LINE("urgent", "1@a.example"), 1, "b3"),
            "batch b3 does not stand in the line of its way 1",
            id="line of another way",
        ),
        pytest.param(
            ("HSET", keys.EXPANDING_CHANNELS(), "aa@demo", "9-1"),
            "channel aa@demo waits for entry 9-1, which is expanded",
            id="channel",
        ),
    ],
)
def test_what_is_broken_is_found(at_work: Redis, db: Connection, command: tuple[str, ...], said: str) -> None:
    at_work.execute_command(*command)
    assert said in check_invariants(Keyspace(at_work), db, looks=1)


def test_what_is_open_was_read(at_work: Redis, db: Connection) -> None:
    db.execute("UPDATE carillon.cursors SET cursor = '3-1'")
    assert cursors.moved_at(db)[keys.EVENTS()][0] == "3-1"
    assert check_invariants(Keyspace(at_work), db, looks=1) == ["entry 4-1 is open, and intake has not come to it"]


def test_only_what_lasts_is_reported(at_work: Redis, db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's step is seen half done, and is done by the next look."""
    at_work.hset(keys.OPEN(), "1-1", 2)
    monkeypatch.setattr("time.sleep", lambda _: at_work.hset(keys.OPEN(), "1-1", 1))
    assert check_invariants(Keyspace(at_work), db) == []


def test_more_than_one_look_compares_is_refused(
    at_work: Redis, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invariants, "MOST", 3)
    with pytest.raises(invariants.TooLargeError, match="4 in carillon:open"):
        check_invariants(Keyspace(at_work), db)
