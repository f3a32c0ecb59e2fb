"""The lease of the intake: one owner at a time, also where an owner froze, and nothing of one that was replaced."""

import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from producers.events import STREAM
from tests.pooler import pooler
from worker.core.errors import LeaseLost
from worker.database import cursors, postgres
from worker.database.cursors import Cursor
from worker.database.lease import Lease, holder
from worker.database.postgres import Pool, Unavailable, open_pool
from worker.state import keys
from worker.state.leader_hint import LeaderHint
from worker.state.partition import untagged
from worker.state.redis import Redis, connect

Owner = Callable[..., Lease]


@pytest.fixture(params=["direct", "pooler"])
def url(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[str]:
    if request.param == "direct":
        yield postgres_url
    else:
        with pooler(postgres_url) as between:
            yield between


@pytest.fixture
def pool(url: str) -> Iterator[Pool]:
    with open_pool(url, size=4) as made:
        yield made


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def owner(pool: Pool, redis: Redis) -> Owner:
    def make(name: str, ttl: float = 60.0) -> Lease:
        return Lease(pool, LeaderHint(untagged(redis)), owner=name, ttl=ttl)

    return make


def acquired(lease: Lease, seconds: float = 20.0) -> bool:
    """Whether the lease could be had within so many seconds."""
    ends = time.monotonic() + seconds
    while not (done := lease.acquire()) and time.monotonic() < ends:
        time.sleep(0.05)
    return done


def test_one_process_leads_at_a_time_and_hands_over_at_once(owner: Owner, pool: Pool) -> None:
    first, second = owner("a:1"), owner("b:2")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    with pytest.raises(LeaseLost), first.transaction():
        pass
    assert second.acquire()
    with pool.connection() as db:
        leads = holder(db)
    assert leads is not None
    assert (leads.owner, leads.token) == ("b:2", 2)
    assert leads.since <= leads.now < leads.until


def test_nobody_leads_since_the_lease_was_given_up(owner: Owner, pool: Pool) -> None:
    """A worker that restarts is no fault yet; it would be one if nobody had led for ever."""
    leaving = owner("a:1")
    assert leaving.acquire()
    with pool.connection() as db:
        led = holder(db)
    leaving.release()
    with pool.connection() as db:
        left = holder(db)
    assert led is not None and left is not None
    assert led.now <= left.until <= left.now


def test_who_looks_at_redis_does_not_ask_postgres(owner: Owner, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = owner("a:1"), owner("b:2")
    assert first.acquire()
    assert redis.get(keys.LEADER()) == b"a:1 1"
    with monkeypatch.context() as no_pool:
        no_pool.setattr(second, "_pool", None)
        assert not second.acquire()
    redis.delete(keys.LEADER())
    assert not second.acquire(), "the row decides"


def test_a_silent_owner_is_replaced_and_commits_nothing_more(owner: Owner, pool: Pool) -> None:
    silent, other = owner("a:1", 0.2), owner("b:2")
    assert silent.acquire()
    with silent.transaction() as db:
        cursor = cursors.read(db)[STREAM].id
    assert acquired(other)
    with pytest.raises(LeaseLost), silent.transaction() as db:
        cursors.move(db, STREAM, Cursor(cursor), Cursor("1-1"))
    silent.release()
    with other.transaction() as db:
        assert cursors.read(db)[STREAM].id == cursor, "and releases nothing that is not its own"


def test_an_owner_that_has_nothing_to_do_keeps_its_lease(owner: Owner) -> None:
    idle, other = owner("a:1", 0.6), owner("b:2", 0.6)
    assert idle.acquire()
    ends = time.monotonic() + 2
    while time.monotonic() < ends:
        idle.renew()
        assert not other.acquire()
        time.sleep(0.05)


def test_whoever_asks_for_the_time_keeps_the_lease_until_it_is_replaced(owner: Owner, pool: Pool) -> None:
    asking, other = owner("a:1", 0.6), owner("b:2", 0.6)
    assert asking.acquire()
    with pool.connection() as db:
        before = postgres.clock(db)
    ends = time.monotonic() + 1.5
    while time.monotonic() < ends:
        assert before < (before := asking.clock())
        assert not other.acquire()
        time.sleep(0.05)
    assert acquired(other)
    with pytest.raises(LeaseLost):
        asking.clock()


def test_an_owner_that_works_longer_than_its_lease_is_not_replaced_meanwhile(owner: Owner) -> None:
    slow, other = owner("a:1", 0.2), owner("b:2", 0.2)
    assert slow.acquire()
    with slow.transaction() as db:
        cursor = cursors.read(db)[STREAM].id
        time.sleep(0.5)
        assert not other.acquire(), "nor does the other one wait for it"
        cursors.move(db, STREAM, Cursor(cursor), Cursor("1-1"))
    with slow.transaction() as db:
        assert cursors.read(db)[STREAM].id == "1-1"


def test_an_owner_that_froze_inside_its_transaction_is_replaced(owner: Owner) -> None:
    frozen, other = owner("a:1", 0.2), owner("b:2")
    assert frozen.acquire()
    began = time.monotonic()

    def freeze() -> None:
        with frozen.transaction() as db:
            cursors.move(db, STREAM, Cursor(cursors.read(db)[STREAM].id), Cursor("1-1"))
            assert acquired(other)
            assert time.monotonic() - began > 3, "the server ends its transaction, nothing else does"
            db.execute("SELECT 1")

    with pytest.raises(Unavailable):
        freeze()
    with other.transaction() as db:
        assert cursors.read(db)[STREAM].id == "0-0"


def test_a_transaction_leaves_nothing_in_its_session(url: str, redis: Redis) -> None:
    with open_pool(url, size=1) as pool:
        lease = Lease(pool, LeaderHint(untagged(redis)), owner="a:1")
        with pool.connection() as db:
            before = db.execute("SELECT name, setting FROM pg_settings ORDER BY name").fetchall()
        assert lease.acquire()
        for _ in range(7):  # more than what a statement is prepared after
            with lease.transaction():
                pass
        with pool.connection() as db:
            assert db.execute("SELECT name, setting FROM pg_settings ORDER BY name").fetchall() == before


def test_the_cursor_moves_only_from_where_it_is(owner: Owner) -> None:
    lease = owner("a:1")
    assert lease.acquire()
    with lease.transaction() as db:
        cursors.read(db)
        cursors.move(db, STREAM, Cursor("0-0"), Cursor("5-0"))
    with pytest.raises(LeaseLost), lease.transaction() as db:
        cursors.move(db, STREAM, Cursor("0-0"), Cursor("7-0"))
    with lease.transaction() as db:
        assert cursors.read(db)[STREAM].id == "5-0"
        assert cursors.moved_at(db)[STREAM][0] == "5-0"


_OLD_MOVE = (
    "INSERT INTO carillon.intake (stream, cursor) VALUES (%s, %s)"
    " ON CONFLICT (stream) DO UPDATE SET cursor = excluded.cursor"
)


def test_the_cursor_of_the_release_before_is_taken_over_and_that_one_leads_no_more(owner: Owner, pool: Pool) -> None:
    with pool.connection() as db:
        db.execute(_OLD_MOVE, (STREAM, "7-0"))
        db.execute(_OLD_MOVE, (STREAM, "8-0"))
    lease = owner("a:1")
    assert lease.acquire()
    for _ in range(2):
        with lease.transaction() as db:
            assert cursors.read(db)[STREAM].id == "8-0"
    with pool.connection() as db, pytest.raises(psycopg.OperationalError, match="a newer release"):
        db.execute(_OLD_MOVE, (STREAM, "9-0"))
    with pool.connection() as db:
        found = db.execute("SELECT cursor FROM carillon.intake").fetchall()
    assert found == [("taken over",)], "no cursor that the older release could read the stream with"


def test_a_leader_of_the_release_before_that_is_inside_its_transaction_is_waited_for(owner: Owner, pool: Pool) -> None:
    lease = owner("a:1")
    assert lease.acquire()

    def take_over() -> None:
        with lease.transaction() as db:
            db.execute("SET LOCAL lock_timeout = 200")
            cursors.read(db)

    with pool.connection() as old, old.transaction():
        old.execute(_OLD_MOVE, (STREAM, "7-0"))
        with pytest.raises(Unavailable):
            take_over()
    with lease.transaction() as db:
        assert cursors.read(db)[STREAM].id == "7-0"


def test_a_statement_at_once_is_an_owners_alone_and_prolongs_the_lease(owner: Owner, pool: Pool) -> None:
    first, second = owner("a", ttl=60.0), owner("b")
    assert acquired(first)
    with pool.connection() as db:
        db.execute("CREATE TABLE noted AS SELECT 0 AS n WHERE false")
        until = holder(db)
    note = b"noted AS (INSERT INTO noted SELECT %(n)s::int FROM held RETURNING 1) SELECT 1 / count(*) FROM noted"
    first.at_once(note, {"n": 1})
    with pool.connection() as db:
        after = holder(db)
    assert until is not None
    assert after is not None
    assert after.until > until.until
    first.release()
    assert acquired(second)
    with pytest.raises(psycopg.errors.DivisionByZero):
        first.at_once(note, {"n": 2})
    second.at_once(note, {"n": 3})
    with pool.connection() as db:
        assert db.execute("SELECT n FROM noted ORDER BY n").fetchall() == [(1,), (3,)]
