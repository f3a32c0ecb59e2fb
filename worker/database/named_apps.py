"""Where the sides of apps are kept; `worker/core/named_apps.py` has their meaning."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec
import psycopg
from psycopg.types.json import set_json_loads

from worker.core.named_apps import Side, Totals, looked, named
from worker.database import locks, tallies
from worker.database.postgres import Connection

log = logging.getLogger(__name__)

#: Apps that one look moves to each side.
_MOVES: Final = 50
_encode: Final = msgspec.json.Encoder().encode


class Counted(NamedTuple):
    """Of one moment: the counters of every app, and the sides of those that have one. App '': of documents that name none."""

    totals: Mapping[str, Totals]
    sides: Mapping[str, Side]


def read(db: Connection) -> Counted:
    """`db` is in autocommit."""
    set_json_loads(msgspec.json.decode, db)
    with db.transaction():
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return Counted(_totals(db), _sides(db))


def try_choose(db: Connection, limit: int, now: float) -> None:
    """As `choose`, but if Postgres takes no writes, or not those of this role, nothing happens."""
    try:
        choose(db, limit, now)
    except psycopg.Error as fault:
        log.warning("apps keep the names that they have in the metrics", extra={"fault": type(fault).__name__})


def choose(db: Connection, limit: int, now: float) -> None:
    """Gives the `limit` busiest apps their names, and takes those of others. `db` is in autocommit; `now` in UNIX seconds.

    Does nothing if another process does it. Raises what psycopg does, for example if Postgres takes no writes.
    """
    with db.transaction():
        if not locks.try_acquire(db, locks.NAMED_APPS):
            return
        before, totals = _sides(db), _totals(db)
        sides = looked(before, totals, limit, now)
        _write(db, {app: side for app, side in sides.items() if side != before.get(app)})
        db.execute("DELETE FROM carillon.named_apps WHERE app = ANY(%s)", (list(before.keys() - sides.keys()),))
    busiest = named(sides, limit, now)
    leaving = [app for app, side in sides.items() if side.named and app not in busiest]
    coming = [app for app in busiest if not sides[app].named]
    for app in (*leaving[:_MOVES], *coming[:_MOVES]):
        _move(db, app, named=app in busiest)


def _move(db: Connection, app: str, *, named: bool) -> None:
    """Moves one app to the other side; if somebody counts something of it for long, the next look does."""
    with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected), db.transaction():
        db.execute("SET LOCAL lock_timeout = '300ms'")
        if not locks.try_acquire(db, locks.NAMED_APPS):
            return
        # Nothing may be counted between reading the totals and dividing them.
        db.execute("SELECT FROM carillon.tallies WHERE app = %s ORDER BY provider, source FOR UPDATE", (app,))
        side = _sides(db).get(app)
        if side is not None and side.named != named:
            _write(db, {app: side.moved(_totals(db, app)[app])})


def _totals(db: Connection, app: str | None = None) -> dict[str, dict[int, Mapping[str, float]]]:
    totals: dict[str, dict[int, Mapping[str, float]]] = {}
    for name, provider, of in tallies.read(db, app):
        totals.setdefault(name, {})[provider] = of
    return totals


def _sides(db: Connection) -> dict[str, Side]:
    rows: list[Any] = db.execute("SELECT app, named, seen, recent, looked_at, rest FROM carillon.named_apps").fetchall()
    return {
        app: Side(named, seen, recent, looked_at, {int(provider): of for provider, of in rest.items()})
        for app, named, seen, recent, looked_at, rest in rows
    }


def _write(db: Connection, sides: Mapping[str, Side]) -> None:
    if not sides:
        return
    rows = [
        (app, one.named, one.seen, one.recent, one.looked_at, _encode(one.rest).decode()) for app, one in sides.items()
    ]
    db.execute(
        "INSERT INTO carillon.named_apps (app, named, seen, recent, looked_at, rest)"
        " SELECT app, named, seen, recent, looked_at, rest::jsonb"
        " FROM unnest(%s::text[], %s::bool[], %s::float8[], %s::float8[], %s::float8[], %s::text[])"
        " AS w (app, named, seen, recent, looked_at, rest)"
        " ON CONFLICT (app) DO UPDATE SET named = excluded.named, seen = excluded.seen, recent = excluded.recent,"
        " looked_at = excluded.looked_at, rest = excluded.rest",
        [list(column) for column in zip(*rows, strict=True)],
    )
