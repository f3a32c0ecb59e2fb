"""The pool of Postgres connections after the server has ended them all."""

from collections.abc import Iterator

import psycopg
import pytest

from worker.database import postgres
from worker.database.postgres import Pool, Unavailable, open_pool


@pytest.fixture
def pool(postgres_url: str) -> Iterator[Pool]:
    with open_pool(postgres_url, size=1) as made:
        yield made


def end_all(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


def test_connections_that_the_server_has_ended_are_not_handed_out(postgres_url):
    pool = open_pool(postgres_url, size=4)
    try:
        with pool.connection(), pool.connection(), pool.connection(), pool.connection():
            pass
        end_all(postgres_url)
        for _ in range(4):
            with pool.connection() as db:
                assert db.execute("SELECT 1").fetchone() == (1,)
    finally:
        pool.close()


def test_a_healthy_connection_is_handed_out_again(postgres_url):
    pool = open_pool(postgres_url, size=1)
    try:
        pids = set()
        for _ in range(3):
            with pool.connection() as db:
                pids.add(db.info.backend_pid)
        assert len(pids) == 1
    finally:
        pool.close()


AWAY = [
    "08006",
    "57P01",
    "57P03",
    "53300",
    "53100",
    "55P03",
    "57014",
    "40001",
    "40P01",
    "25006",
    "25P03",
    "25P04",
    "58030",
    "26000",
    "42P05",
]
NOT_AWAY = ["54000", "54001", "53200", "22001", "22021", "23505", "42P01", "42501", "0A000"]


def test_only_a_fault_of_the_engine_counts_as_being_away(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its SQLSTATE: psycopg calls an index row that is too large (54000) an OperationalError too."""
    monkeypatch.setattr(postgres, "_preparing", postgres._Preparing())

    def fail(state: str) -> None:
        with pool.connection() as db:
            db.execute(f"DO $$ BEGIN RAISE EXCEPTION 'tried' USING ERRCODE = '{state}'; END $$".encode())

    found: dict[str, bool] = {}
    for state in (*AWAY, *NOT_AWAY):
        with pytest.raises(psycopg.Error) as caught:
            fail(state)
        assert caught.value.sqlstate == state
        found[state] = isinstance(caught.value, Unavailable)
    assert found == dict.fromkeys(AWAY, True) | dict.fromkeys(NOT_AWAY, False)


def test_a_server_that_is_not_there_is_away_and_the_error_has_its_own_words() -> None:
    with (
        open_pool("postgresql://127.0.0.1:1/x", size=1) as nowhere,
        pytest.raises(Unavailable, match=r"connection failed.*port 1 failed"),
        nowhere.connection(0.5),
    ):
        pass
