"""Reads the ledger by time, for the push log. A statement ends after two seconds."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from worker.core.errors import WorkerError
from worker.database.lookups import MOMENT
from worker.database.postgres import Connection, Pool, Unavailable

#: Milliseconds that a statement may take.
STATEMENT_MS: Final = 2_000
_CANCELLED: Final = "57014"
#: Of an event that was sent in more batches nobody's tries are counted.
_BATCHES: Final = 200


#: `decisions`: of pages and second looks.
Parts = Literal["all", "decisions", "batches"]


class TooMuchError(WorkerError):
    """There is too much to look through in the time that a statement may take."""


class Place(NamedTuple):
    """An entry's place in the order of the log: when it was written, when it was so (UNIX ms, 0: not known), and its key."""

    at: datetime
    moment: int = 0
    app: str = ""
    event: str = ""
    part: str = ""


class Choice(NamedTuple):
    """Which entries are looked at. `needles` are texts that an entry's JSON has, as Postgres writes it."""

    since: datetime
    until: datetime | None = None
    app: str | None = None
    #: None: any, also none.
    providers: Sequence[int] | None = None
    parts: Parts = "all"
    needles: Sequence[str] = ()
    #: Also entries of this user's channels that name nobody: of a message that nobody got, or of members who were only counted.
    member: str | None = None


class LedgerEntry(NamedTuple):
    """`moment` in UNIX seconds, `provider` and `took` as of `worker/core/ledger_entry.py`."""

    place: Place
    moment: float
    provider: int
    took: int
    account: dict[str, Any]


#: The day of a time, as partitions have it.
_DAY: Final = "(%%(%s)s::timestamptz AT TIME ZONE 'utc')::date"
_COLUMNS: Final = f"at, moment, app, event_id, part, {MOMENT}, provider, took, account"


@contextmanager
def bounded(pool: Pool) -> Iterator[Connection]:
    """A transaction that only reads. Raises `TooMuchError` for a statement that takes too long."""
    try:
        with pool.connection() as db, db.transaction():
            db.execute(f"SET LOCAL statement_timeout = {STATEMENT_MS}; SET TRANSACTION READ ONLY".encode())
            yield db
    except Unavailable as fault:
        if fault.sqlstate == _CANCELLED:
            raise TooMuchError("that is too much to look through: name an app, or a shorter time") from fault
        raise


def newest(db: Connection, choice: Choice, before: Place | None, limit: int) -> list[LedgerEntry]:
    """Entries before a place, the newest first."""
    return _read(db, choice, before, "<", limit)


def following(db: Connection, choice: Choice, after: Place, limit: int) -> list[LedgerEntry]:
    """Entries after a place, the oldest first."""
    return _read(db, choice, after, ">", limit)


def clock(db: Connection) -> datetime:
    """The store's time, which dates the entries."""
    [(now,)] = db.execute("SELECT clock_timestamp()").fetchall()
    return now  # type: ignore[no-any-return]


def retried(
    db: Connection, events: Sequence[tuple[str, str]], devices: Sequence[int]
) -> dict[tuple[str, str], dict[int, list[float]]]:
    """Of each (app, event id): when (UNIX seconds) which of the devices was to be tried again.

    Events of many batches are left out.
    """
    rows = db.execute(
        "SELECT w.app, w.event_id, l.since, ARRAY(SELECT (p ->> 1)::bigint FROM jsonb_each(l.account) AS label,"
        " jsonb_array_elements(label.value) AS p WHERE starts_with(label.key, 'retry.') AND (p ->> 1)::bigint = ANY(%s))"
        " FROM unnest(%s::text[], %s::text[]) AS w (app, event_id) CROSS JOIN LATERAL ("
        f"SELECT {MOMENT} AS since, account FROM carillon.ledger e WHERE e.app = w.app AND e.event_id = w.event_id"
        " AND starts_with(part, 'batch:') LIMIT %s) AS l".encode(),
        (list(devices), [app for app, _ in events], [event for _, event in events], _BATCHES + 1),
    ).fetchall()
    batches = Counter((app, event) for app, event, _, _ in rows)
    found: dict[tuple[str, str], dict[int, list[float]]] = {
        event: {} for event, number in batches.items() if number <= _BATCHES
    }
    for app, event, at, again in rows:
        for device in again if (app, event) in found else ():
            found[app, event].setdefault(device, []).append(at)
    return found


class Counted(NamedTuple):
    """How often each label is in the newest entries, by the part of a time (from 0) in which they were written."""

    labels: Sequence[tuple[int, str, int]]
    entries: int
    #: When (UNIX seconds) the oldest of them was written; None: there is none.
    oldest: float | None


def count(
    db: Connection, choice: Choice, who: tuple[str | None, int | None], start: float, width: float, limit: int
) -> Counted:
    """Counts notifications in at most `limit` entries of batches, for a user, a device, or all. Times in UNIX seconds."""
    where, values = _where(choice)
    rows = db.execute(
        f"WITH looked AS MATERIALIZED (SELECT at, account FROM carillon.ledger AS l WHERE {where}"
        " ORDER BY l.at DESC LIMIT %(limit)s), of_all AS (SELECT count(*) AS entries, min(at) AS oldest FROM looked)"
        " SELECT floor((extract(epoch FROM looked.at)::float8 - %(start)s) / %(width)s)::int, label.key, sum(n)::bigint,"
        " (SELECT entries FROM of_all), (SELECT extract(epoch FROM oldest)::float8 FROM of_all)"
        " FROM looked, jsonb_each(account) AS label, LATERAL (SELECT CASE"
        " WHEN %(user)s::text IS NULL AND %(device)s::bigint IS NULL THEN jsonb_array_length(label.value)"
        " ELSE (SELECT count(*) FROM jsonb_array_elements(label.value) AS p WHERE (p ->> 0 = %(user)s) IS NOT FALSE"
        " AND ((p ->> 1)::bigint = %(device)s) IS NOT FALSE) END AS n) AS numbers GROUP BY 1, 2".encode(),
        values | {"user": who[0], "device": who[1], "start": start, "width": width, "limit": limit},
    ).fetchall()
    return Counted([row[:3] for row in rows], *(rows[0][3:] if rows else (0, None)))


def _read(
    db: Connection, choice: Choice, place: Place | None, side: Literal["<", ">"], limit: int
) -> list[LedgerEntry]:
    where, values = _where(choice)
    if place is not None:
        where += f" AND (at, moment, app, event_id, part) {side} (%(p0)s, %(p1)s, %(p2)s, %(p3)s, %(p4)s)"
        values |= {f"p{n}": value for n, value in enumerate(place)}
    order = ", ".join(f"{column} {'DESC' if side == '<' else 'ASC'}" for column in _ORDER)
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM carillon.ledger AS l WHERE {where} ORDER BY {order} LIMIT %(limit)s".encode(),
        values | {"limit": limit},
    ).fetchall()
    return [LedgerEntry(Place(*row[:5]), *row[5:]) for row in rows]


def _where(choice: Choice) -> tuple[str, dict[str, Any]]:
    """The condition for the ledger as `l`, and its values."""
    # A day's table has the entries of the day, so the days say which tables are read.
    where = [f"at >= %(since)s AND day >= {_DAY % 'since'} AND account <> '{{}}'"]
    if choice.until is not None:
        where.append(f"at < %(until)s AND day <= {_DAY % 'until'}")
    if choice.app is not None:
        where.append("app = %(app)s")
    if choice.providers is not None:
        where.append("provider = ANY(%(providers)s)")
    if choice.parts != "all":
        where.append(f"{'NOT ' if choice.parts == 'decisions' else ''}starts_with(part, 'batch:')")
    named = " AND ".join(f"strpos(account::text, %(needle{n})s) > 0" for n in range(len(choice.needles)))
    if choice.member is not None:
        named = f"({named or 'true'} OR {_UNNAMED})"
    if named:
        where.append(named)
    needles = {f"needle{n}": needle for n, needle in enumerate(choice.needles)}
    return " AND ".join(where), choice._asdict() | needles


_ORDER: Final = ("l.at", "l.moment", "l.app", "l.event_id", "l.part")
_UNNAMED: Final = (
    "(account ?| '{message,rest}' AND EXISTS (SELECT FROM carillon.messages m JOIN carillon.members u"
    " ON u.app = m.app AND u.channel = m.channel AND u.user_id = %(member)s AND u.present"
    " WHERE m.app = l.app AND m.event_id = l.event_id))"
)
