"""The pool of Postgres connections that a process shares. Owns no SQL of the road."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool

Connection = psycopg.Connection[tuple[Any, ...]]
Pool = ConnectionPool[Connection]

#: What stands for "Postgres is away or busy; the same call may work later".
Unavailable = psycopg.OperationalError

#: A dead peer is noticed within about 10 s; a statement that hangs is ended.
CONNECT_ARGS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}


def open_pool(url: str, *, size: int) -> Pool:
    """A pool that waits at most 5 s for a connection and checks each one before handing it out again."""
    return ConnectionPool(
        url,
        min_size=1,
        max_size=size,
        timeout=5,
        # Attempts to reconnect come ever more rarely until this many seconds have passed; the next caller then begins anew.
        reconnect_timeout=2,
        kwargs={**CONNECT_ARGS, "autocommit": True, "options": "-c statement_timeout=20000 -c random_page_cost=1.1"},
        open=True,
        connection_class=Connection,
    )


@contextmanager
def transaction(pool: Pool) -> Iterator[Connection]:
    with pool.connection() as db, db.transaction():
        yield db
