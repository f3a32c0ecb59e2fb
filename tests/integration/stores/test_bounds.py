"""What Redis keeps and dead letters are bounded, whatever a producer or a server does for years."""

import logging
import time

import pytest

from worker.database import ledger as ledgers
from worker.database.ledger import DeadLetter, Ledger, Selection, add_dead_letters
from worker.state import keys, presence, recent
from worker.state.bursts import Burst, Bursts, Fold, Pushed, Turn
from worker.state.partition import Keyspace, untagged

DAY = 86_400


@pytest.fixture
def ledger(pool):
    return Ledger(pool)


def letters(pool, number, *, app="demo", days_old=0.0, size=10):
    """So many by one statement."""
    with pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.dead_letters (entry, app, event_id, error, document, size, at)"
            " SELECT %(app)s || %(old)s::text || n, %(app)s, 'e' || n, 'bad', 'x', %(size)s,"
            " now() - %(old)s * interval '1 day' FROM generate_series(1, %(number)s) n",
            {"app": app, "number": number, "old": days_old, "size": size},
        )


def total(pool):
    with pool.connection() as db:
        return dict(db.execute("SELECT app, count(*) FROM carillon.dead_letters GROUP BY app").fetchall())


def test_of_a_document_that_could_be_no_event_only_the_beginning_is_kept(pool, ledger):
    with pool.connection() as db:
        add_dead_letters(db, [DeadLetter("1-0", None, None, "too large", b"y" * (ledgers.LARGEST + 1))])
        add_dead_letters(db, [DeadLetter("2-0", None, None, "bad", b"z" * ledgers.LARGEST)])
    whole, cut = ledger.dead_letters()
    assert (cut.size, cut.whole, cut.letter.document) == (ledgers.LARGEST + 1, False, b"")
    found = ledger.dead_letter(cut.id)
    assert found.letter.document == b"y" * ledgers.BEGINNING
    with pool.connection() as db:
        add_dead_letters(db, [DeadLetter("3-0", None, None, "too large", b"y" * 1024, ledgers.LARGEST + 5)])
    [letter] = ledger.dead_letters(1)
    assert (letter.size, letter.whole) == (ledgers.LARGEST + 5, False)
    assert whole.whole
    assert len(ledger.dead_letter(whole.id).letter.document) == ledgers.LARGEST


def test_an_app_has_so_many_dead_letters_and_the_oldest_go(pool, ledger, caplog):
    letters(pool, ledgers.PER_APP)
    letters(pool, 5, app="other")
    with pool.connection() as db, caplog.at_level(logging.WARNING):
        add_dead_letters(db, [DeadLetter("new-1", "demo", "new", "bad", b"{}")])
    assert total(pool) == {"demo": ledgers.PER_APP * 9 // 10, "other": 5}
    assert ledger.dead_letters(1)[0].letter.event_id == "new"
    assert "e1" not in {stored.letter.event_id for stored in ledger.dead_letters(ledgers.PER_APP, "demo")}
    assert "the oldest dead letters were dropped" in caplog.text


def test_an_app_has_so_many_bytes_of_dead_letters(pool, ledger):
    letters(pool, ledgers.PER_APP_BYTES // ledgers.LARGEST, size=ledgers.LARGEST)
    with pool.connection() as db:
        add_dead_letters(db, [DeadLetter("new-1", "demo", "new", "bad", b"{}")])
    assert total(pool)["demo"] <= ledgers.PER_APP_BYTES * 9 // 10 // ledgers.LARGEST + 1


def test_documents_of_apps_that_do_not_exist_are_bounded_together(pool, ledger, monkeypatch):
    monkeypatch.setattr(ledgers, "IN_ALL", 1_000)
    for number in range(11):
        letters(pool, 100, app=f"app {number}")
    assert ledger.forget_letters(90) == 200
    assert sum(total(pool).values()) == 900


def test_dead_letters_go_after_their_time(pool, ledger):
    for year in range(4):
        letters(pool, 500, app=f"year {year}", days_old=365 * year)
    assert ledger.forget_letters(90, bite=300) == 1500
    assert total(pool) == {"year 0": 500}


def test_many_are_dropped_at_once_by_app_and_by_time(pool, ledger):
    letters(pool, 30, app="a", days_old=10)
    letters(pool, 20, app="a")
    letters(pool, 10, app="b", days_old=10)
    old = time.time() - 5 * DAY
    assert ledger.count(Selection("a", old)) == 30
    assert len(ledger.select(Selection(), 7)) == 7
    assert ledger.drop_letters(Selection("a", old), bite=7) == 30
    assert total(pool) == {"a": 20, "b": 10}
    assert ledger.drop_letters(Selection(before=old)) == 10
    assert ledger.drop_letters(Selection()) == 20


def test_a_server_that_names_ever_new_reasons_makes_no_end_of_counters(journal, redis):
    for start in range(0, 2_000, 100):
        counts = {"demo": {f"dropped.Reason{n}": 2 for n in range(start, start + 100)} | {"accepted": 1}}
        redis.hset("carillon:batch:b", "entries", "")
        journal.finish("b", [], counts, [])
    found = journal.counts("demo")
    assert len(found) <= 257
    assert found["accepted"] == 20
    assert sum(found.values()) == 20 + 2 * 2_000
    assert found["other"] > 3_000


def test_a_window_of_folding_is_a_day_at_most(redis):
    count = Bursts(untagged(redis)).count
    now = 1_800_000_000.0
    burst = Burst("demo", "c", 2**31 - 1, "page", [Pushed("han")])
    assert count([burst], now) == [{"han": Turn(1)}]
    (key,) = redis.keys("carillon:burst:*")
    assert 0 < redis.ttl(key) <= 2 * DAY
    assert count([burst._replace(page="another")], now + 3 * DAY) == [{"han": Turn(1)}]


def test_sounds_and_folds_are_forgotten_after_their_times(redis):
    bursts, now = Bursts(untagged(redis)), 1_800_000_000.0
    burst = Burst("demo", "c", 60, "page", [Pushed("han", budget="plain")], sound_every=600, sound_every_user=60)
    bursts.count([burst], now)
    bursts.show([Fold("demo", "c", 5, ["han"])])
    lives = {key.decode().split(":")[1]: redis.ttl(key) for key in redis.keys("carillon:[sf]o*")}
    assert 0 < lives["sounds"] <= 1200
    assert 0 < lives["folds"] <= 3600


def test_presence_has_an_end_and_no_content(redis):
    for n in range(300):
        redis.set(f"carillon:online:demo:u{n}", 1, ex=60)
    redis.set("carillon:online:demo:for ever", 1)
    redis.set("carillon:online:demo:large", "x" * 100_000, ex=60)
    redis.lpush("carillon:online:demo:list", "x")
    redis.set("carillon:other", "x" * 100_000)
    for _ in range(20):
        presence.sweep(Keyspace(redis), count=50)
    assert 0 < redis.ttl("carillon:online:demo:for ever") <= presence.LONGEST
    assert redis.get("carillon:online:demo:large") == b"1"
    assert 0 < redis.ttl("carillon:online:demo:large") <= 60
    assert not redis.exists("carillon:online:demo:list")
    assert redis.strlen("carillon:other") == 100_000
    assert all(0 < redis.ttl(f"carillon:online:demo:u{n}") <= 60 for n in range(300))


def test_whatever_else_chat_servers_write_about_users_has_an_end_too(redis):
    redis.set(keys.ACTIVE("demo", "han"), "x" * 100)
    redis.set(keys.VIEWING("demo", "han"), "x" * 100)
    redis.set(keys.VIEWING("demo", "luke"), "x" * 100_000)
    redis.zadd(keys.READ("demo", "general"), {"han": 5})
    redis.zadd(keys.READ("demo", "random"), {"han": 5})
    redis.expire(keys.READ("demo", "random"), 60)
    redis.set(keys.READ("demo", "text"), "x")
    for _ in range(20):
        presence.sweep(Keyspace(redis), count=50)
    assert (redis.get(keys.ACTIVE("demo", "han")), redis.strlen(keys.VIEWING("demo", "han"))) == (b"1", 100)
    assert redis.get(keys.VIEWING("demo", "luke")) == b"1"
    assert 0 < redis.ttl(keys.VIEWING("demo", "han")) <= presence.LONGEST
    assert 0 < redis.ttl(keys.READ("demo", "general")) <= presence.MARKED
    assert redis.zscore(keys.READ("demo", "general"), "han") == 5
    assert 0 < redis.ttl(keys.READ("demo", "random")) <= 60
    assert not redis.exists(keys.READ("demo", "text"))


def test_recent_messages_are_bounded_in_number_size_and_time(redis):
    start = 1_800_000_000.0
    for day in range(3):
        now = start + day * DAY
        recent.keep(untagged(redis), (("demo", f"c{n}", b"x" * 10) for n in range(6_000)), now=now)
        recent.keep(untagged(redis), [("demo", "large", b"x" * (recent.LARGEST + 1))], now=now)
    found = redis.keys("carillon:recent:*")
    assert all(redis.hlen(key) <= recent.BUCKETS and 0 < redis.ttl(key) <= 2 * DAY for key in found)
    assert len(recent.documents(untagged(redis), "demo", now=start)) <= recent.BUCKETS
