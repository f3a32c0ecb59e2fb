"""What the ledger keeps of an entry, whichever of two releases wrote it."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from worker.core.ledger_entry import account
from worker.database.ledger import Ledger

PUBLISHED = '["demo","e0","batch:0",{"accepted":[["han",7]]}]'


class EntryBefore(msgspec.Struct, frozen=True, array_like=True):
    """As 0.4 reads an entry."""

    app: str
    event_id: str
    part: str
    account: msgspec.Raw


def test_an_entry_keeps_when_it_was_so_and_by_which_provider(pool, journal, redis):
    redis.rpush(
        "carillon:accounts", PUBLISHED, account("demo", "e1", "batch:1", {"accepted": []}, 1_795_880_095_500, 3, 21)
    )
    Ledger(pool).flush(journal)
    with pool.connection() as db:
        rows = db.execute("SELECT moment, provider, took FROM carillon.ledger ORDER BY event_id").fetchall()
    assert rows == [(0, 0, 0), (1_795_880_095_500, 3, 21)]


def test_the_release_before_reads_an_entry_of_this_one():
    entry = msgspec.json.decode(account("demo", "e1", "page:0", {"n": 1}, 1_795_880_095_500, 3, 21), type=EntryBefore)
    assert (entry.app, entry.event_id, entry.part, bytes(entry.account)) == ("demo", "e1", "page:0", b'{"n":1}')


@pytest.mark.parametrize("text", ["ø ünï → 🛎", 'a "quote" and a \\', "tab\tand line\n", "\\N", "\\."])
def test_whatever_is_in_a_text_is_in_the_ledger(pool, journal, redis, text):
    redis.rpush("carillon:accounts", account(text, text, "page:0", {"pushed": [text]}))
    Ledger(pool).flush(journal)
    assert Ledger(pool).of_event(text, text) == {"page:0": {"pushed": [text]}}


def test_an_entry_has_the_time_and_the_day_of_its_writing(pool, journal, redis):
    with pool.connection() as db:
        [(before,)] = db.execute("SELECT clock_timestamp()").fetchall()
        redis.rpush("carillon:accounts", PUBLISHED)
        Ledger(pool).flush(journal)
        [(after,)] = db.execute("SELECT clock_timestamp()").fetchall()
        [(at, day)] = db.execute("SELECT at, day FROM carillon.ledger").fetchall()
    assert before <= at <= after
    assert day == at.astimezone(UTC).date()


def test_of_what_is_written_again_only_the_rest_is_new(pool, journal, redis):
    """As after a crash between the commit and the forgetting, or a failover that has brought accounts back."""
    entries = [account("demo", f"e{n}", "page:0", {"n": n}, 5, 3, 21) for n in range(5)]
    redis.rpush("carillon:accounts", *entries[:2])
    Ledger(pool).flush(journal)
    redis.rpush("carillon:accounts", account("demo", "e1", "page:0", {"n": "another"}), *entries)
    Ledger(pool).flush(journal)
    with pool.connection() as db:
        found = db.execute(
            "SELECT event_id, account ->> 'n', moment, provider, took, now() - at, day FROM carillon.ledger ORDER BY 1"
        ).fetchall()
    assert [row[:5] for row in found] == [(f"e{n}", str(n), 5, 3, 21) for n in range(5)]
    assert all(timedelta() <= since < timedelta(minutes=1) for *_, since, _ in found)
    assert {day for *_, day in found} <= {datetime.now(UTC).date(), (datetime.now(UTC) - timedelta(minutes=1)).date()}


def test_an_account_that_is_there_twice_counts_once(pool, journal, redis):
    redis.rpush("carillon:accounts", PUBLISHED, PUBLISHED)
    assert Ledger(pool).flush(journal) == 2
    assert len(Ledger(pool).of_event("demo", "e0")) == 1
    assert journal.accounts(9) == []
