"""The pool of Postgres connections that a process shares. Owns no SQL of the pipeline.

The connection may go through a pooler such as PgBouncer, which may give each transaction another server session. So no important
state is kept in a session: locks last for a transaction, there is no LISTEN, and behind a pooler nothing is prepared.
"""

import logging
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg
from psycopg import sql
from psycopg_pool import ConnectionPool, PoolTimeout

from config import credentials
from producers.credentials import CredentialsError
from producers.credentials import ask as ask_credentials
from worker.core.errors import UnfitError

log = logging.getLogger(__name__)

Connection = psycopg.Connection[tuple[Any, ...]]


class Unavailable(psycopg.OperationalError):
    """Postgres is down or busy: the same call may succeed later. Any other refusal is a fault of the call."""


#: The SQLSTATEs, or their beginnings, for this: connection lost; shutdown, crash, not yet started; conflict with another
#: transaction; too many connections, disk full; lock timeout; statement timeout; read-only; a transaction that was idle or took
#: too long; I/O error.
_AWAY: Final = ("08", "57P", "40", "53300", "53100", "55P03", "57014", "25006", "25P03", "25P04", "58030")


#: The errors of a statement that was prepared in another session.
_UNPREPARED: Final = ("26000", "42P05")


def is_away(fault: psycopg.Error) -> bool:
    """Whether the fault is one of the engine, which may end by itself."""
    if fault.sqlstate is None:  # libpq's own, or the pool's
        return isinstance(fault, psycopg.OperationalError)
    return fault.sqlstate.startswith(_AWAY)


@contextmanager
def unavailable_as_such() -> Iterator[None]:
    """Translates psycopg's exceptions that mean `Unavailable`, with their SQLSTATE; others pass."""
    try:
        yield
    except Unavailable:
        raise
    except psycopg.Error as fault:
        if fault.sqlstate in _UNPREPARED:
            _preparing.end()
        elif not is_away(fault):
            raise
        again = Unavailable(str(fault))
        again.sqlstate = fault.sqlstate
        raise again from fault


class _Preparing:
    """Whether this process prepares statements for which that makes sense."""

    def __init__(self) -> None:
        self.on = True
        self._lock = threading.Lock()

    def end(self) -> None:
        with self._lock:
            if self.on:
                log.info("statements are no longer prepared: a pooler gives each transaction another session")
            self.on = False


_preparing = _Preparing()

#: This role may not do it.
Forbidden: Final = psycopg.errors.InsufficientPrivilege
#: The schema is of another release, or this role may not use it: not a fault of the data.
Unready: Final = (
    *(psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName),
    *(psycopg.errors.UndefinedFunction, Forbidden),
)

#: A dead peer is noticed within about 10 s, also while sent data is not acknowledged.
CONNECT_ARGS: dict[str, Any] = {
    # Overrides the values of the role, the database and the environment.
    "client_encoding": "UTF8",
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
#: Settings of a session without a pooler. Locks of a host that died are released within seconds. A statement that hangs is
#: ended; one that waits for a lock is ended well before a lease runs out.
_SESSION: Final = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "idle_in_transaction_session_timeout": "15000",
    "statement_timeout": "20000",
    "lock_timeout": "4000",
    "random_page_cost": "1.1",
    # An idle session waits for the next message. Our statements are written for read committed.
    "idle_session_timeout": "0",
    "default_transaction_isolation": "read committed",
    # The formats in which we read and write values, whatever the role or database prefers.
    "DateStyle": "ISO, YMD",
    "TimeZone": "UTC",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
}
#: The settings that a role should have if its sessions go through a pooler.
_OF_ROLE: Final = ("idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout", "random_page_cost")


#: The oldest supported major version: everything was tried on it.
_OLDEST: Final = 15


def unfit(db: psycopg.Connection[Any]) -> str | None:
    """A sentence why Carillon cannot work with this server or database; None: it can."""
    version = db.info.server_version // 10_000
    if version < _OLDEST:
        full = db.info.parameter_status("server_version") or version
        return f"this is PostgreSQL {full}: Carillon needs {_OLDEST} or later"
    encoding = db.info.parameter_status("server_encoding")
    if encoding not in (None, "UTF8"):
        return (
            f"database {db.info.dbname} is in {encoding}, which cannot hold every name: make another, for example with"
            " CREATE DATABASE carillon ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0"
        )
    return None


def _asked(url: str) -> dict[str, str]:
    """User and password for a new connection, where the operator's function gives them."""
    if (function := credentials.known(url)) is None:
        return {}
    try:
        user, password = ask_credentials(function)
    except CredentialsError as fault:
        raise psycopg.OperationalError(str(fault)) from None
    return {"password": password} | ({"user": user} if user else {})


def connect(url: str, **arguments: Any) -> Connection:
    """As psycopg's, with the user and password that the operator's function gives."""
    return psycopg.connect(url, **arguments | _asked(url))


class _Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection of a pool."""

    @classmethod
    def connect(cls, conninfo: str = "", **arguments: Any) -> Any:
        return super().connect(conninfo, **arguments | _asked(conninfo))


def refuse_unfit(url: str) -> None:
    """Raises `UnfitError` for a server or database that Carillon cannot work with. Does nothing if Postgres is down."""
    try:
        with connect(url, **CONNECT_ARGS | {"connect_timeout": 2}) as db:
            fault = unfit(db)
    except psycopg.OperationalError:
        return
    if fault is not None:
        raise UnfitError(fault)


def ask(url: str, *, timeout: int) -> None:
    """Raises what psycopg does unless the server takes a connection and answers. `timeout`: seconds to connect."""
    with connect(url, **CONNECT_ARGS | {"connect_timeout": timeout}) as db:
        db.execute("SELECT 1")


def clock(db: Connection) -> float:
    """The time by the clock of Postgres, in UNIX seconds."""
    [(now,)] = db.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchall()
    return float(now)


def is_direct(db: Connection) -> bool:
    """Whether the connection goes to the server process itself: a pooler reports another process id than the server."""
    row = db.execute("SELECT pg_backend_pid()").fetchone()
    return row is not None and row[0] == db.info.backend_pid


def _set_up(db: Connection) -> None:
    """Settings of a session without a pooler: behind one, the next client would inherit them."""
    if is_direct(db):
        settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SESSION.items())
        db.execute(f"SELECT {settings}".encode())
    else:
        db.prepare_threshold = None


def missing_role_settings(db: Connection) -> list[str]:
    """`ALTER ROLE` lines for the timeouts that a session behind a pooler lacks; none if the connection is direct."""
    if is_direct(db):
        return []
    rows = db.execute(
        "SELECT name, current_user FROM pg_settings WHERE name = ANY(%s) AND setting = boot_val ORDER BY name",
        (list(_OF_ROLE),),
    )
    line = sql.SQL("ALTER ROLE {} SET {} = {};")
    return [
        line.format(sql.Identifier(role), sql.Identifier(name), sql.Literal(_SESSION[name])).as_string()
        for name, role in rows
    ]


class Pool(ConnectionPool[Connection]):
    """Hands out no connection that the server ended while it was idle. Raises `Unavailable` if Postgres is away.

    Checking the socket costs one system call. Without it, each connection that a restart or failover has ended would fail one
    call; and the pool's own `check` waits longer after each such connection that it finds.
    """

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[Connection]:
        with unavailable_as_such(), super().connection(timeout) as db:
            yield db

    #: Why the server was last unavailable: the pool itself would only say that it waited.
    _refused: str | None = None

    def _connect(self, timeout: float | None = None) -> Connection:
        try:
            db = super()._connect(timeout)
        except psycopg.Error as fault:
            self._refused = str(fault)
            raise
        self._refused = None
        return db

    def getconn(self, timeout: float | None = None) -> Connection:
        while True:
            try:
                db = super().getconn(timeout)
            except PoolTimeout as fault:
                if self._refused is None:
                    raise Unavailable(str(fault)) from fault
                raise Unavailable(self._refused) from None
            if not _ended(db):
                if not _preparing.on:
                    db.prepare_threshold = None
                return db
            db.close()
            self.putconn(db)


_Pool = TypeVar("_Pool", bound=Pool)


def _ended(db: Connection) -> bool:
    events = select.poll()
    try:
        events.register(db.fileno(), select.POLLIN)
    except psycopg.OperationalError:
        return True
    # No statement was sent: if there is anything to read, the server ended the session.
    return bool(events.poll(0))


def open_pool(url: str, *, size: int, timeout: float = 5) -> Pool:
    """A pool that waits at most `timeout` seconds for a connection, and hands out none that the server has ended."""
    return _opened(Pool, url, size, timeout)


class ReadingPool(Pool):
    """Each connection is handed out in a read-only transaction, in which a statement is ended after 2 s."""

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[Connection]:
        with super().connection(timeout) as db:
            db.read_only = True
            with db.transaction():
                db.execute("SET LOCAL statement_timeout = 2000")
                yield db


def open_reading_pool(url: str, *, size: int) -> ReadingPool:
    """A pool for people who look: it changes nothing, and waits at most a second for a connection."""
    return _opened(ReadingPool, url, size, 1)


def _opened(kind: type[_Pool], url: str, size: int, timeout: float) -> _Pool:
    return kind(
        url,
        min_size=1,
        max_size=size,
        timeout=timeout,
        # The pool retries less and less often for this many seconds; then the next caller starts again.
        reconnect_timeout=2,
        kwargs={**CONNECT_ARGS, "autocommit": True},
        configure=_set_up,
        open=True,
        connection_class=_Session,
    )


class Joined:
    """Stands for a pool within a transaction: whoever asks for a connection gets the transaction's."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        yield self._db


@contextmanager
def transaction(pool: Pool) -> Iterator[Connection]:
    with pool.connection() as db, db.transaction():
        yield db
