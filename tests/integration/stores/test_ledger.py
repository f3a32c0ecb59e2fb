"""What the ledger keeps of an entry, whichever of two releases wrote it."""

import msgspec

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
