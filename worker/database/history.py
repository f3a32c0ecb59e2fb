"""What happened over time: samples of the shared counters, rolled up and dropped as they get older.

Samples of 30 s are kept for 2 h, of 3 min for 48 h, of 15 min for 35 days: 4,600 moments, of each the row of all apps and the
rows of the 200 busiest. With two providers each that is at most 2.8 million rows.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec

from worker.core.history import BUSIEST, KEPT, STEPS, Sample, merged, sampled, seconds_since
from worker.database import locks
from worker.database.postgres import Connection, Pool

#: Groups of samples that one call rolls up, and rows that it deletes, at most.
_GROUPS: Final = 6
_BITE: Final = 5_000

Key = tuple[str, int]
#: Seconds after which the newest sample is not that of now.
_RECENT: Final = 120
_encode: Final = msgspec.json.Encoder().encode


def sample(pool: Pool, at: int, gauges: Mapping[Key, Mapping[str, float]]) -> int:
    """Writes what was counted since the last sample as that of the `STEPS[0]` seconds from `at`; returns how many rows.

    `gauges`: what is highest now, by app and provider. If another process is sampling, nothing happens. A moment that has samples
    already, because a clock was set back, gets both.
    """
    with pool.connection() as db, db.transaction():
        if not locks.try_acquire(db, locks.HISTORY):
            return 0
        before = db.execute(
            "SELECT max(at) FROM carillon.history WHERE app = '' AND provider = 0 AND at < %s AND step = %s",
            (at, STEPS[0]),
        ).fetchone()
        seconds = seconds_since(None if before is None else before[0], at)
        counted = {(app, provider): grown for app, provider, grown in db.execute(_GROWN).fetchall()}
        rows = sampled(at, seconds, counted, gauges)
        there = _read(db, STEPS[0], at, at + STEPS[0])
        _write(db, merged([*there, *rows], STEPS[0]))
    return len(rows)


def roll_up(pool: Pool, now: float) -> int:
    """Rolls up samples that are old enough, the oldest first, and drops the oldest of all; returns how many rows are gone."""
    gone = 0
    for _ in range(_GROUPS):
        went = sum(_roll_up(pool, step, into, now) for step, into in pairwise(STEPS))
        if not went:
            break
        gone += went
    return gone + _drop(pool, now)


def read(db: Connection, keys: Sequence[Key], start: float, end: float) -> list[Sample]:
    """The samples of these apps and providers that begin between two moments, in order of time."""
    apps, providers = [app for app, _ in keys], [provider for _, provider in keys]
    rows = db.execute(
        "SELECT h.step, h.at, h.app, h.provider, h.seconds, h.counts, h.peaks"
        " FROM unnest(%s::text[], %s::int[]) AS k (app, provider)"
        " JOIN carillon.history h ON h.app = k.app AND h.provider = k.provider AND h.at >= %s AND h.at < %s ORDER BY h.at",
        (apps, providers, start, end),
    ).fetchall()
    return [Sample(*row) for row in rows]


def latest(db: Connection, start: float, end: float) -> list[Sample]:
    """The shortest samples of all apps and providers that begin between two moments."""
    return _read(db, STEPS[0], start, end)


class Now(NamedTuple):
    """A provider with its newest sample: notifications a second, what waits, and the age of the oldest in seconds."""

    provider: int
    app: str
    name: str
    #: Of its settings: `worker/providers/kinds.py`.
    form: str
    #: None, as the others: there is no sample of the last minutes, or it is none of the busiest apps'.
    rate: float | None
    waiting: float | None
    oldest: float | None


def providers(db: Connection, now: float, app: str | None = None) -> list[Now]:
    """Every provider that was not removed, of one app or of all, by app and name."""
    newest = db.execute(
        "SELECT at, seconds, (SELECT count(*) FROM (SELECT FROM carillon.apps LIMIT %(busiest)s + 1) AS counted)"
        " FROM carillon.history WHERE app = '' AND provider = 0 AND step = %(step)s"
        " AND at > %(now)s::float8 - %(recent)s AND at <= %(now)s::float8 ORDER BY at DESC LIMIT 1",
        {"now": now, "recent": _RECENT, "step": STEPS[0], "busiest": BUSIEST},
    ).fetchone()
    at, seconds, apps = newest or (None, 1, 0)
    found = db.execute(
        "SELECT p.id, p.app, p.name, p.kind, h.counts -> 'accepted', h.peaks FROM carillon.providers p"
        " LEFT JOIN (SELECT app, provider, counts, peaks FROM carillon.history WHERE step = %(step)s AND at = %(at)s) AS h"
        " ON h.app = p.app AND h.provider = p.id"
        " WHERE p.removed_at IS NULL AND (%(app)s::text IS NULL OR p.app = %(app)s) ORDER BY p.app, p.name",
        {"step": STEPS[0], "at": at, "app": app},
    ).fetchall()
    # Where all apps have samples, a provider without one has nothing to say.
    complete = at is not None and apps <= BUSIEST
    made = []
    for id, of_app, name, form, accepted, peaks in found:
        if peaks is None and not complete:
            made.append(Now(id, of_app, name, form, None, None, None))
            continue
        levels = peaks or {}
        waits = sum(n for level, n in levels.items() if level in ("waiting.ready", "waiting.due", "waiting.held"))
        oldest = max((n for level, n in levels.items() if level.startswith("oldest.")), default=None)
        made.append(Now(id, of_app, name, form, (accepted or 0) / seconds, waits, oldest))
    return made


def _roll_up(pool: Pool, step: int, into: int, now: float) -> int:
    """The oldest group of samples of a step, if it is old enough. Returns how many rows were there."""
    with pool.connection() as db, db.transaction():
        if not locks.try_acquire(db, locks.HISTORY):
            return 0
        oldest = db.execute("SELECT min(at) FROM carillon.history WHERE step = %s", (step,)).fetchone()
        if oldest is None or oldest[0] is None:
            return 0
        begins = oldest[0] - oldest[0] % into
        if begins + into > now - KEPT[step]:
            return 0
        old = _read(db, step, begins, begins + into)
        _write(db, merged([*_read(db, into, begins, begins + into), *old], into))
        db.execute(
            "DELETE FROM carillon.history WHERE step = %s AND at >= %s AND at < %s", (step, begins, begins + into)
        )
        return len(old)


def _drop(pool: Pool, now: float) -> int:
    with pool.connection() as db:
        dropped = db.execute(
            "DELETE FROM carillon.history WHERE ctid = ANY(ARRAY(SELECT ctid FROM carillon.history"
            " WHERE step = %s AND at < %s ORDER BY at LIMIT %s))",
            (STEPS[-1], now - KEPT[STEPS[-1]], _BITE),
        ).rowcount
        db.execute(
            "DELETE FROM carillon.sampled s WHERE NOT EXISTS (SELECT FROM carillon.tallies t"
            " WHERE t.app = s.app AND t.provider = s.provider AND t.source = s.source)"
        )
    return dropped


def _read(db: Connection, step: int, start: float, end: float) -> list[Sample]:
    rows = db.execute(
        "SELECT step, at, app, provider, seconds, counts, peaks FROM carillon.history"
        " WHERE step = %s AND at >= %s AND at < %s",
        (step, start, end),
    ).fetchall()
    return [Sample(*row) for row in rows]


def _write(db: Connection, rows: Sequence[Sample]) -> None:
    columns: list[list[Any]] = [list(column) for column in zip(*(row[:5] for row in rows), strict=True)]
    db.execute(
        "INSERT INTO carillon.history (step, at, app, provider, seconds, counts, peaks)"
        " SELECT step, at, app, provider, seconds, counts::jsonb, peaks::jsonb"
        " FROM unnest(%s::int[], %s::bigint[], %s::text[], %s::int[], %s::int[], %s::text[], %s::text[])"
        " AS w (step, at, app, provider, seconds, counts, peaks)"
        " ON CONFLICT (app, provider, at, step)"
        " DO UPDATE SET seconds = excluded.seconds, counts = excluded.counts, peaks = excluded.peaks",
        [*columns, [_encode(row.counts).decode() for row in rows], [_encode(row.peaks).decode() for row in rows]],
    )


#: What each counter grew by since the last sample, by app and provider; from now on the history has it. A counter that is less
#: than it was has begun anew.
_GROWN: Final = """
WITH changed AS (
    SELECT t.app, t.provider, t.source, t.totals, coalesce(s.totals, '{}') AS sampled
    FROM carillon.tallies t LEFT JOIN carillon.sampled s USING (app, provider, source)
    WHERE s.totals IS DISTINCT FROM t.totals
), kept AS (
    INSERT INTO carillon.sampled (app, provider, source, totals) SELECT app, provider, source, totals FROM changed
    ON CONFLICT (app, provider, source) DO UPDATE SET totals = excluded.totals
), grown AS (
    SELECT app, provider, key, CASE WHEN n < before THEN n ELSE n - before END AS n
    FROM changed, jsonb_each_text(totals) AS of (key, total),
        LATERAL (SELECT total::numeric AS n, coalesce((sampled ->> key)::numeric, 0) AS before) AS numbers
)
SELECT app, provider, jsonb_object_agg(key, n) FROM grown WHERE n <> 0 GROUP BY app, provider
"""
