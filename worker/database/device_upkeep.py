"""What the tick does for devices: notes which are in use, retires the stale, forgets what is long over. In bounded bites."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final

from worker.database.device_writes import lock
from worker.database.postgres import Connection, Pool, transaction
from worker.database.retention import keep_days
from worker.state.redis import Redis

#: Where the walk over the devices stands: the id of the last one looked at.
_WALK: Final = "carillon:devices:walk"
#: Ids that the memory of one day's use can hold: 32 MB. Devices beyond are written at every push.
_IDS: Final = 1 << 28
#: Days for which the history of a device is kept.
HISTORY_DAYS: Final = 90


class Use:
    """Notes the day of each device's last accepted push, once a day each: a bit a device remembers that it is done."""

    def __init__(self) -> None:
        self._day = date.min
        self._noted = bytearray()

    def note(self, db: Connection, devices: set[int], today: date | None = None) -> int:
        """Writes down the devices not yet noted today (UTC); returns how many."""
        day = today or datetime.now(UTC).date()
        if day != self._day:
            self._day, self._noted = day, bytearray()
        fresh = [id for id in devices if not self._has(id)]
        if fresh:
            db.execute(
                "INSERT INTO carillon.device_use AS u (device, accepted) SELECT unnest(%s::bigint[]), %s"
                " ON CONFLICT (device) DO UPDATE SET accepted = excluded.accepted WHERE u.accepted < excluded.accepted",
                (fresh, day),
            )
            for id in fresh:
                self._add(id)
        return len(fresh)

    def _has(self, id: int) -> bool:
        place = id >> 3
        return place < len(self._noted) and bool(self._noted[place] >> (id & 7) & 1)

    def _add(self, id: int) -> None:
        if id >= _IDS:
            return
        place = id >> 3
        if place >= len(self._noted):
            self._noted.extend(bytes(max(place + 1 - len(self._noted), 4096)))
        self._noted[place] |= 1 << (id & 7)


class Upkeep:
    def __init__(self, pool: Pool, redis: Redis) -> None:
        self._pool, self._redis = pool, redis

    def prune(self, days: int, *, bite: int = 20_000) -> dict[str, int]:
        """Goes over the next `bite` devices: retires those stale by their app's `stale_days`, forgets those that are over.

        Over: inactive, and nothing heard of for `days`. A device that was retired can be restored until then, and a late
        write that is older than an unregistration can still be told. Returns what went, of the history in days.
        """
        after = int(self._redis.get(_WALK) or 0)
        with transaction(self._pool) as db:
            lock(db)
            row = db.execute(
                "SELECT max(id) FROM (SELECT id FROM carillon.devices WHERE id > %s ORDER BY id LIMIT %s) b",
                (after, bite),
            ).fetchone()
            last = row[0] if row else None
            stale = _retire_stale(db, after, last) if last is not None else {}
            gone = _forget(db, after, last, days) if last is not None else {}
        self._redis.set(_WALK, last or 0)
        for app, n in stale.items():
            self._redis.hincrby(f"carillon:counts:{app}", "devices.stale", n)
        for app, ids in gone.items():
            self._forget_badges(app, ids)
        old = keep_days(self._pool, "device_history", HISTORY_DAYS)
        return {"stale": sum(stale.values()), "forgotten": sum(map(len, gone.values())), "history": old}

    def _forget_badges(self, app: str, ids: Sequence[int]) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            for at in range(0, len(ids), 1000):
                for kind in ("badge", "cleared"):
                    pipe.hdel(f"carillon:{kind}:{app}", *map(str, ids[at : at + 1000]))
            pipe.execute()


def _retire_stale(db: Connection, after: int, last: int) -> dict[str, int]:
    rows = db.execute(
        "WITH gone AS (UPDATE carillon.devices d SET active = false, retired_reason = 'stale', retired_at = now(),"
        " changed_at = now() FROM carillon.apps a WHERE d.id > %s AND d.id <= %s AND d.active AND a.name = d.app"
        " AND a.stale_days IS NOT NULL"
        " AND to_timestamp(d.registered_at / 1000.0) < now() - make_interval(days => a.stale_days)"
        " AND NOT EXISTS (SELECT FROM carillon.device_use u WHERE u.device = d.id"
        " AND u.accepted >= current_date - a.stale_days) RETURNING d.id, d.app, d.user_id),"
        " told AS (INSERT INTO carillon.device_history (device, what, user_id) SELECT id, 'stale', user_id FROM gone)"
        " SELECT app, count(*) FROM gone GROUP BY app",
        (after, last),
    ).fetchall()
    return dict(rows)


def _forget(db: Connection, after: int, last: int, days: int) -> dict[str, list[int]]:
    """By app, the ids of the devices that went."""
    rows = db.execute(
        "WITH gone AS (DELETE FROM carillon.devices WHERE id > %s AND id <= %s AND NOT active"
        " AND changed_at < now() - make_interval(days => %s) RETURNING id, app),"
        " use AS (DELETE FROM carillon.device_use WHERE device IN (SELECT id FROM gone))"
        " SELECT app, array_agg(id) FROM gone GROUP BY app",
        (after, last, days),
    ).fetchall()
    return dict(rows)
