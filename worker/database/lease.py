"""A lease: a row in Postgres with one owner at a time, and a fencing number, the token, that grows with every owner.

The token makes it safe: `Lease.transaction` first locks the row with the owner's token, so nobody else becomes the owner before
it ends, and a replaced owner commits nothing. `until` only decides when another may take the lease.
Each statement is a transaction of its own or part of a short one. Nothing is kept in a session, so a pooler does no harm.

Other processes check a hint that the owner keeps alive, and ask Postgres only if it is missing.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from psycopg import sql

from worker.core.errors import LeaseLost
from worker.database.postgres import Connection, Pool, Unavailable

#: The lease of the process that takes events off the streams.
INTAKE: Final = "intake"
#: Seconds after which a silent owner may be replaced.
TTL: Final = 5.0

# Milliseconds. An owner that froze in a transaction holds the row until the server ends the transaction: after a statement of
# up to 8 s and 4 s of silence. With the other processes' check each second that is less than 15 s.
_BEGIN: Final = sql.SQL(
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = 4000;"
    " SET LOCAL lock_timeout = 4000; SET LOCAL statement_timeout = 8000;"
    " UPDATE carillon.lease SET until = clock_timestamp() + {ttl} * interval '1 s' WHERE name = {name} AND token = {token}"
)
_HELD: Final = (
    b"WITH held AS (UPDATE carillon.lease SET until = clock_timestamp() + %(lease_ttl)s * interval '1 s'"
    b" WHERE name = %(lease_name)s AND token = %(lease_token)s RETURNING 1), "
)
_PROLONG: Final = (
    "UPDATE carillon.lease SET until = clock_timestamp() + %s * interval '1 s' WHERE name = %s AND token = %s"
    " RETURNING extract(epoch FROM clock_timestamp())::float8"
)
# Skips a locked row instead of waiting for it.
_TAKE: Final = (
    "UPDATE carillon.lease SET owner = %s, token = token + 1, since = clock_timestamp(),"
    " until = clock_timestamp() + %s * interval '1 s' WHERE name ="
    " (SELECT name FROM carillon.lease WHERE name = %s AND (until < clock_timestamp() OR token = %s) FOR UPDATE SKIP LOCKED)"
    " RETURNING token"
)


def lease_of(partition: int, *, tagged: bool) -> str:
    """The lease of the process that takes events off the streams of this partition."""
    return f"{INTAKE}:{partition}" if tagged else INTAKE


class Holder(NamedTuple):
    """Who has a lease: `owner` as it calls itself (host:pid), since when, and until when; UNIX seconds by Postgres' clock."""

    owner: str
    token: int
    since: float
    until: float
    #: Postgres' clock at the time of asking. `until` before it: nobody leads.
    now: float


def holder(db: Connection, name: str = INTAKE) -> Holder | None:
    """The owner of the lease, or the last one; None: nobody ever had it."""
    row = db.execute(
        "SELECT owner, token, extract(epoch FROM since)::float8, extract(epoch FROM until)::float8,"
        " extract(epoch FROM clock_timestamp())::float8 FROM carillon.lease WHERE name = %s AND owner IS NOT NULL",
        (name,),
    ).fetchone()
    return None if row is None else Holder(*row)


class Hint(Protocol):
    """A cheap hint of the leader, `<owner> <token>`. It may be missing, late or wrong: the row decides."""

    def read(self) -> str | None: ...

    def write(self, hint: str, seconds: float) -> None: ...

    def withdraw(self, hint: str) -> None: ...


class Lease:
    """One process's use of the lease `name`, by one thread at a time. `owner` is shown to people; `ttl` in seconds."""

    def __init__(self, pool: Pool, hint: Hint, *, owner: str, name: str = INTAKE, ttl: float = TTL) -> None:
        self._pool, self._hint = pool, hint
        self._name, self._owner, self._ttl = name, owner, ttl
        self._token, self._begin = 0, b""
        self._prolonged_at = self._hinted_at = 0.0

    @property
    def token(self) -> int:
        """The fencing number of this process as the owner: higher than that of every earlier owner. 0: it is not the owner."""
        return self._token

    def acquire(self) -> bool:
        """Tries to take the lease; whether this process has it now. If it had it already, it gets a new token.

        Raises the `Unavailable` of Postgres or of the hint's store if that is down.
        """
        hint = self._hint.read()
        if hint is not None and hint != self._own_hint():
            return False
        with self._pool.connection() as db:
            row = db.execute(_TAKE, (self._owner, self._ttl, self._name, self._token or None)).fetchone()
        if row is None:
            return False
        self._token = row[0]
        values = {"ttl": sql.Literal(self._ttl), "name": sql.Literal(self._name), "token": sql.Literal(self._token)}
        self._begin = _BEGIN.format(**values).as_bytes()
        self._prolonged_at, self._hinted_at = time.monotonic(), 0.0
        self.tell()
        return True

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that prolongs the lease and commits only while this process has it; otherwise raises `LeaseLost`.

        Postgres ends it after 4 s without a statement, and ends a statement after 8 s.
        """
        with self._pool.connection() as db:
            cursor = db.execute(self._begin, prepare=False)
            while cursor.nextset():
                pass
            if cursor.rowcount != 1:
                raise LeaseLost(self._name)
            began = time.monotonic()
            yield db
        self._prolonged_at = began

    def at_once(self, statement: bytes, given: Mapping[str, Any]) -> None:
        """Runs a statement that goes on behind `WITH held AS (…)`, in one round trip, and prolongs the lease.

        `held` has a row while this process has the lease, else none: the statement must fail then. Nothing waits for this process
        before the statement has ended, so one that freezes holds no row.
        """
        began = time.monotonic()
        values = {"lease_ttl": self._ttl, "lease_name": self._name, "lease_token": self._token}
        with self._pool.connection() as db:
            db.execute(_HELD + statement, {**values, **given}, prepare=True)
        self._prolonged_at = began

    def clock(self) -> float:
        """The time by Postgres' clock, in UNIX seconds. Prolongs the lease, in one round trip. Raises `LeaseLost`."""
        began = time.monotonic()
        with self._pool.connection() as db:
            row = db.execute(_PROLONG, (self._ttl, self._name, self._token)).fetchone()
        if row is None:
            raise LeaseLost(self._name)
        self._prolonged_at = began
        return float(row[0])

    def renew(self) -> None:
        """Keeps the lease and its hint; call it every second. Asks Postgres once a third of the lease has passed.

        Raises `LeaseLost`.
        """
        if time.monotonic() - self._prolonged_at > self._ttl / 3:
            self.clock()
        self._give_hint(self._ttl / 2)

    def tell(self) -> None:
        """Keeps the hint. Call it every second when there is nothing else to do, so that `renew` need not."""
        self._give_hint(self._ttl / 5)

    def release(self) -> None:
        """Lets another process take the lease at once. If an engine is down, the lease runs out."""
        token, hint = self._token, self._own_hint()
        self._token, self._begin = 0, b""
        if token == 0:
            return
        with contextlib.suppress(Unavailable):
            with self._pool.connection() as db:
                # From now on nobody leads: it is no fault before it lasts.
                db.execute(
                    "UPDATE carillon.lease SET until = clock_timestamp() WHERE name = %s AND token = %s",
                    (self._name, token),
                )
            self._hint.withdraw(hint)

    def _own_hint(self) -> str:
        return f"{self._owner} {self._token}"

    def _give_hint(self, oldest: float) -> None:
        now = time.monotonic()
        if now - self._hinted_at < oldest:
            return
        self._hinted_at = now
        self._hint.write(self._own_hint(), self._ttl)
