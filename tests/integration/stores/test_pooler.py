"""Postgres behind a pooler that gives each transaction another session: nothing of ours is kept in one."""

from collections.abc import Iterator

import pytest

from tests.pooler import pooler
from worker.core.ledger_entry import account
from worker.database import postgres
from worker.database.ledger import Ledger
from worker.database.outbox import Outbox
from worker.database.postgres import Unavailable, is_direct, missing_role_settings, open_pool
from worker.state.journal import Journal
from worker.state.redis import Redis


@pytest.fixture
def between(postgres_url: str) -> Iterator[str]:
    with pooler(postgres_url, sessions=3) as made:
        yield made


def test_a_direct_session_has_our_timeouts_and_one_behind_a_pooler_those_of_its_role(
    between: str, postgres_url: str
) -> None:
    timeouts = "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')"
    with open_pool(postgres_url, size=1) as pool, pool.connection() as db:
        assert is_direct(db)
        assert db.execute(timeouts.encode()).fetchone() == ("20s", "15s")
        assert missing_role_settings(db) == []
    with open_pool(between, size=1) as pool, pool.connection() as db:
        assert not is_direct(db)
        assert {db.execute(timeouts.encode()).fetchone() for _ in range(6)} == {("0", "0")}
        lines = missing_role_settings(db)
        role = db.info.user
    assert f"""ALTER ROLE "{role}" SET "statement_timeout" = '20000';""" in lines
    assert len(lines) == 3, "the tests' Postgres has the fourth, random_page_cost, for itself"


def test_statements_are_not_prepared_behind_a_pooler(between: str) -> None:
    with open_pool(between, size=2) as pool:
        for n in range(40):
            with pool.connection() as db:
                assert db.execute("SELECT %s::int", (n,)).fetchone() == (n,)
        with pool.connection() as db:
            assert db.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


def test_a_pooler_that_hides_is_found_by_what_it_breaks(
    between: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(postgres, "is_direct", lambda _: True)
    monkeypatch.setattr(postgres, "_preparing", postgres._Preparing())
    caplog.set_level("INFO", "worker.database.postgres")
    failed: list[str | None] = []
    with open_pool(between, size=2) as pool:
        for n in range(40):
            try:
                with pool.connection() as db:
                    assert db.execute("SELECT %s::int", (n,)).fetchone() == (n,)
            except Unavailable as fault:
                failed.append(fault.sqlstate)
    assert failed in (["26000"], ["42P05"]), "the same call works from then on"
    assert [record.levelname for record in caplog.records if record.name == "worker.database.postgres"] == ["INFO"]


def test_the_ledger_is_written_by_one_process_at_a_time_and_its_lock_stays_nowhere(
    between: str, journal: Journal, redis: Redis
) -> None:
    with open_pool(between, size=2) as pool, open_pool(between, size=2) as other:
        ledgers = [Ledger(pool), Ledger(other)]
        for n in range(12):
            redis.rpush("carillon:accounts", account("demo", f"e{n}", "page:0", {"n": n}))
            assert ledgers[n % 2].flush(journal) == 1
        with pool.connection() as db:
            assert db.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() == (0,)
            assert db.execute("SELECT count(*) FROM carillon.ledger").fetchone() == (12,)


def test_the_outbox_is_listened_to_only_where_the_session_is_ours(between: str, postgres_url: str) -> None:
    listens = "SELECT count(*) FROM pg_listening_channels()"
    for url, channels in ((postgres_url, 1), (between, 0)):
        outbox = Outbox(url)
        assert not outbox.wait(0.01)
        assert outbox._session().execute(listens.encode()).fetchone() == (channels,)
        outbox.close()
