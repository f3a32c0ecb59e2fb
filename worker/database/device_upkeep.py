"""Retires stale devices, and deletes those that were retired long ago, a bounded number at a time."""

import json
from typing import Final, NamedTuple

from worker.core.purposes import LASTS
from worker.database import locks
from worker.database.postgres import Connection, Pool, transaction
from worker.database.retention import keep_days

#: Days for which a device's history is kept.
HISTORY_DAYS: Final = 90


class Upkept(NamedTuple):
    """`last`: the id of the last device that was checked; None after the last of all."""

    last: int | None
    #: Devices that were retired, by app.
    stale: dict[str, int]
    #: Ids of the deleted devices, by app.
    forgotten: dict[str, list[int]]


def upkeep(pool: Pool, after: int, days: int, bite: int) -> Upkept:
    """Checks the next `bite` devices behind the id `after`: see `worker/pipeline/device_upkeep.py`."""
    with transaction(pool) as db:
        locks.acquire(db, locks.DEVICES)
        row = db.execute(
            "SELECT max(id) FROM (SELECT id FROM carillon.devices WHERE id > %s ORDER BY id LIMIT %s) b",
            (after, bite),
        ).fetchone()
        last = row[0] if row else None
        if last is None:
            return Upkept(None, {}, {})
        return Upkept(last, _retire_stale(db, after, last), _forget(db, after, last, days))


def prune_history(pool: Pool) -> int:
    """Deletes old days of the devices' history; returns how many."""
    return keep_days(pool, "device_history", HISTORY_DAYS)


def _retire_stale(db: Connection, after: int, last: int) -> dict[str, int]:
    """Also tokens of a purpose that cannot work for longer, whatever the app says."""
    rows = db.execute(
        "WITH gone AS (UPDATE carillon.devices d SET active = false, retired_reason = 'stale', retired_at = now(),"
        " changed_at = now() FROM carillon.apps a WHERE d.id > %s AND d.id <= %s AND d.active AND a.name = d.app"
        " AND (a.stale_days IS NOT NULL"
        " AND to_timestamp(d.registered_at / 1000.0) < now() - make_interval(days => a.stale_days)"
        " AND NOT EXISTS (SELECT FROM carillon.device_use u WHERE u.device = d.id"
        " AND u.accepted >= current_date - a.stale_days)"
        " OR to_timestamp(d.registered_at / 1000.0) < now() - make_interval(hours => (%s::jsonb ->> d.purpose)::int))"
        " RETURNING d.id, d.app, d.user_id),"
        " noted AS (INSERT INTO carillon.device_history (device, what, user_id) SELECT id, 'stale', user_id FROM gone)"
        " SELECT app, count(*) FROM gone GROUP BY app",
        (after, last, json.dumps(LASTS)),
    ).fetchall()
    return dict(rows)


def _forget(db: Connection, after: int, last: int, days: int) -> dict[str, list[int]]:
    """The ids of the deleted devices, by app."""
    rows = db.execute(
        "WITH gone AS (DELETE FROM carillon.devices WHERE id > %s AND id <= %s AND NOT active"
        " AND changed_at < now() - make_interval(days => %s) RETURNING id, app),"
        " use AS (DELETE FROM carillon.device_use WHERE device IN (SELECT id FROM gone))"
        " SELECT app, array_agg(id) FROM gone GROUP BY app",
        (after, last, days),
    ).fetchall()
    return dict(rows)
