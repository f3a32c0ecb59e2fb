"""The pool of Postgres connections after the server has ended them all."""

import psycopg

from worker.stores.postgres import open_pool


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
