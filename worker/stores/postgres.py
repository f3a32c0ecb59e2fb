"""The pool of Postgres connections that a process shares. Owns no SQL of the road."""

import select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg_pool import ConnectionPool

Connection = psycopg.Connection[tuple[Any, ...]]


class Unavailable(psycopg.OperationalError):
    """Postgres is away or busy: the same call may work later. Whatever else it refuses is a fault of what was asked."""


#: SQLSTATEs, or their beginnings, that say so: connection lost; shutdown, crash, not yet started; conflict with another
#: transaction; too many connections, disk full; lock timeout; statement timeout; read-only; idle in transaction; I/O error.
_AWAY: Final = ("08", "57P", "40", "53300", "53100", "55P03", "57014", "25006", "25P03", "58030")


def is_away(fault: psycopg.Error) -> bool:
    """Whether the fault is one of the engine, which may be better later."""
    if fault.sqlstate is None:  # libpq's own, or the pool's
        return isinstance(fault, psycopg.OperationalError)
    return fault.sqlstate.startswith(_AWAY)


@contextmanager
def unavailable_as_such() -> Iterator[None]:
    """Raises `Unavailable` in place of psycopg's own exceptions that mean it; others pass."""
    try:
        yield
    except Unavailable:
        raise
    except psycopg.Error as fault:
        if is_away(fault):
            raise Unavailable(str(fault)) from fault
        raise


#: A dead peer is noticed within about 10 s, also while something waits to be acknowledged.
CONNECT_ARGS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
#: The same the other way round: what a host that is gone held, locks above all, is free again within seconds.
SESSION: Final = {
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "idle_in_transaction_session_timeout": 15_000,
}
#: Of sessions of the pool: a statement that hangs is ended, and one that waits for a lock well before a lease runs out.
_POOLED: Final = {"statement_timeout": 20_000, "lock_timeout": 4_000, "random_page_cost": 1.1}


def options(settings: Mapping[str, float]) -> str:
    """Settings of a session as libpq takes them."""
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


class Pool(ConnectionPool[Connection]):
    """Hands out no connection that the server has ended while nobody used it. Raises `Unavailable` where that is what it is.

    A socket tells that for the price of a system call. Otherwise each connection that a restart or failover has ended would
    fail somebody once, one after another; and the pool's own `check` waits longer after each one that it finds.
    """

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[Connection]:
        with unavailable_as_such(), super().connection(timeout) as db:
            yield db

    def getconn(self, timeout: float | None = None) -> Connection:
        while True:
            db = super().getconn(timeout)
            if not _ended(db):
                return db
            db.close()
            self.putconn(db)


def _ended(db: Connection) -> bool:
    events = select.poll()
    try:
        events.register(db.fileno(), select.POLLIN)
    except psycopg.OperationalError:
        return True
    # Nobody asked for anything: what is there to be read is a goodbye.
    return bool(events.poll(0))


def open_pool(url: str, *, size: int) -> Pool:
    """A pool that waits at most 5 s for a connection and hands out none that the server has ended."""
    return Pool(
        url,
        min_size=1,
        max_size=size,
        timeout=5,
        # Attempts to reconnect come ever more rarely until this many seconds have passed; the next caller then begins anew.
        reconnect_timeout=2,
        kwargs={**CONNECT_ARGS, "autocommit": True, "options": options(SESSION | _POOLED)},
        open=True,
        connection_class=Connection,
    )


@contextmanager
def transaction(pool: Pool) -> Iterator[Connection]:
    with pool.connection() as db, db.transaction():
        yield db
