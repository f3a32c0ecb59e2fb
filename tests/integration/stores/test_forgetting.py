"""What is kept for a time goes, and what is done twice for want of an answer does nothing the second time."""

import pytest

from worker.core.badges import Cleared
from worker.core.ledger_entry import account
from worker.database.ledger import Ledger
from worker.state.journal import DONE


@pytest.mark.parametrize(("kept", "read"), [("abcd", 2), ("abac", 2), ("abcb", 2), ("aab", 1), ("ab", 2), ("a", 1)])
def test_forgetting_twice_takes_nothing_that_was_not_read(journal, redis, kept, read):
    redis.rpush("carillon:accounts", *kept)
    found = journal.accounts(read)
    for _ in range(2):
        journal.forget_accounts(found)
    # Of equal accounts the ledger keeps one: it does not matter which of them goes.
    assert set(kept[read:].encode()) - set(kept[:read].encode()) <= {n for (n,) in journal.accounts(9)}


def test_what_came_while_the_ledger_wrote_stays(journal, redis):
    redis.rpush("carillon:accounts", "a", "b")
    found = journal.accounts(9)
    redis.rpush("carillon:accounts", "c")
    journal.forget_accounts(found)
    assert journal.accounts(9) == [b"c"]


def test_a_flush_whose_forgetting_is_repeated_loses_no_account(pool, journal, redis):
    parts = [account("demo", f"e{n}", "page:0", {"n": n}) for n in range(10)]
    redis.rpush("carillon:accounts", *parts)
    ledger, once = Ledger(pool), journal.forget_accounts

    def twice(documents):
        once(documents)
        once(documents)

    journal.forget_accounts = twice
    while ledger.flush(journal, limit=3):
        pass
    assert [ledger.of_event("demo", f"e{n}") for n in range(10)] == [{"page:0": {"n": n}} for n in range(10)]


def test_a_repeated_clearing_leaves_a_number_that_was_counted_between(journal, redis):
    redis.hset("carillon:badge:demo", mapping={"1": 3, "2": 0})
    clearing = [Cleared("5-0", "demo", [1, 2], place=5)]
    assert journal.clear_badges(clearing) == {"5-0"}
    redis.hset("carillon:badge:demo", "1", 1)
    before = redis.hgetall("carillon:expanding")
    assert journal.clear_badges(clearing) == {"5-0"}
    assert redis.hget("carillon:badge:demo", "1") == b"1"
    assert redis.hgetall("carillon:expanding") == before == {b"5-0": b"demo\n[1]\n5"}
    assert (journal.ready("e", "urgent"), redis.hget("carillon:open", "5-0")) == (1, b"1")


def test_a_clearing_that_is_done_or_had_no_device_to_push_to_is_not_opened_again(journal, redis):
    redis.hset("carillon:badge:demo", "1", 3)
    clearing = [Cleared("5-0", "demo", [1], place=5), Cleared("6-0", "demo", [1], place=6)]
    assert journal.clear_badges(clearing) == {"5-0"}
    [opened] = journal.take_messages("urgent", 9)
    assert journal.expand([opened.step(DONE)], [], {}, []) == (set(), 0)
    assert journal.clear_badges(clearing) == set()
    assert redis.hlen("carillon:open") == 0
