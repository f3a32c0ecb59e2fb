"""When users want no notification: a row a user, or the app's default.

A row counts as it is when a message is expanded, whatever it was at the message's place: what matters is whether the phone would
make a sound now.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import msgspec

from config import zones
from producers import events
from producers.errors import EventError
from worker.core.attention import Attention
from worker.core.quiet import Allow, Hours, Quiet, Window, window
from worker.database import bulk
from worker.database.audience import UserKey
from worker.database.postgres import Connection, Pool
from worker.database.retention import DAY, Forget, older
from worker.facts.base import CandidateFact, Candidates, Origin, Sources

#: The setting `quiet_zone` that stands for the zone of the user's latest registration.
DEVICE: Final = "device"


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a user's row says, as it is stored."""

    zone: str | None = None
    quiet: tuple[events.Window, ...] = ()
    notify: tuple[events.Window, ...] = ()
    #: UNIX seconds; 0: no pause.
    pause_until: float = 0.0
    allow: events.Allow = events.Allow()
    after: Literal["digest", "nothing"] = "digest"
    badge: Literal["after", "silent"] = "after"


class QuietWrite(NamedTuple):
    app: str
    user: str
    at: int
    place: int
    row: Row


class QuietTimes(CandidateFact[QuietWrite]):
    """Of users with a quiet time of their own or of the app, whether or not it is quiet now."""

    changed_by = (events.QuietUpdated,)
    name = "quiet"

    def rows(self, event: events.QuietUpdated, origin: Origin) -> Sequence[QuietWrite]:
        if event.zone is not None:
            check_zone(event.zone)
        row = Row(
            *(event.zone, tuple(event.quiet or ()), tuple(event.notify or ())),
            event.pause_until.timestamp() if event.pause_until is not None else 0.0,
            *(event.allow, event.after, event.badge),
        )
        return [QuietWrite(event.app, event.user, origin.at, origin.place, row)]

    def write(self, db: Connection, rows: Sequence[QuietWrite]) -> None:
        newest: dict[UserKey, QuietWrite] = {}
        for row in rows:
            before = newest.get((row.app, row.user))
            if before is None or row.at >= before.at:
                newest[row.app, row.user] = row
        bulk.write(
            db,
            "INSERT INTO carillon.quiet AS q (app, user_id, at, place, setting, over_on)"
            " SELECT * FROM unnest(%b::text[], %b::text[], %b::bigint[], %b::bigint[], %b::jsonb[], %b::date[])"
            " ON CONFLICT (app, user_id) DO UPDATE SET at = excluded.at, place = excluded.place,"
            " setting = excluded.setting, over_on = excluded.over_on"
            " WHERE (q.at, q.place) < (excluded.at, excluded.place)",
            [
                (*key, one.at, one.place, msgspec.json.encode(one.row).decode(), _over_on(one))
                for key, one in sorted(newest.items())
            ],
        )

    def read(self, sources: Sources, asked: Sequence[Candidates]) -> Mapping[int, Mapping[str, Quiet]]:
        concerned = {n: one for n, one in enumerate(asked) if self.name in one.used or one.app.attention.quiet}
        apps = {one.event.app: one.app.attention for one in concerned.values()}
        users = {(one.event.app, user) for one in concerned.values() for user in one.users}
        found = read(sources.pool, apps, users)
        return {
            n: {user: found[one.event.app, user] for user in one.users if (one.event.app, user) in found}
            for n, one in concerned.items()
        }

    def forgets(self, days: int) -> Sequence[Forget]:
        """Rows that have said nothing for so long, where there is no default for the app that they may be against."""
        no_default = "NOT EXISTS (SELECT FROM carillon.apps a WHERE a.name = quiet.app AND a.attention ? 'quiet')"
        return [older("quiet", "over_on", days, before=DAY, where=f"over_on IS NOT NULL AND {no_default}")]


QUIET: Final = QuietTimes()


def check_zone(name: str, field: str = "zone") -> None:
    """Raises `EventError` if the database of zones has no such one."""
    if name not in zones.names():
        close = get_close_matches(name, zones.names(), 1)
        known = (
            f"did you mean {close[0]!r}?" if close else "known are those of the IANA database, such as Europe/Berlin"
        )
        raise EventError(f"{field}: {name!r} is no time zone; {known}")


def read(pool: Pool, apps: Mapping[str, Attention], users: Collection[UserKey]) -> dict[UserKey, Quiet]:
    """The quiet time of each of these users: their row, or the default of their app. Who has none is left out."""
    found = {
        (app, user): setting_of(setting)
        for app, user, setting in bulk.read(
            pool,
            "SELECT k.app, k.user_id, q.setting::text FROM unnest(%b::text[], %b::text[]) AS k (app, user_id),"
            # A step in the index for each user, whatever the planner knows of the table.
            " LATERAL (SELECT setting FROM carillon.quiet q WHERE q.app = k.app AND q.user_id = k.user_id OFFSET 0) q",
            users,
        )
    }
    others = {(app, user) for app, user in users if apps[app].quiet and (app, user) not in found}
    zones = _zones_of_devices(pool, {(app, user) for app, user in others if apps[app].quiet_zone == DEVICE})
    for app, user in others:
        default = default_of(apps[app], zones.get((app, user)))
        if default is not None:
            found[app, user] = default
    return found


def row_of(pool: Pool, app: str, user: str) -> tuple[float, Row] | None:
    """The user's own row and its time (UNIX seconds)."""
    with pool.connection() as db:
        found = db.execute(
            "SELECT at, setting::text FROM carillon.quiet WHERE app = %s AND user_id = %s", (app, user)
        ).fetchone()
    return None if found is None else (found[0] / 1e6, _decode(found[1]))


@lru_cache(maxsize=4096)
def setting_of(stored: str) -> Quiet:
    row = _decode(stored)
    allow = Allow(row.allow.urgent, *map(frozenset, (row.allow.triggers, row.allow.users, row.allow.channels)))
    windows = tuple(map(window, row.quiet or row.notify))
    return Quiet(
        _hours(row.zone or zones.UTC, windows, notify=bool(row.notify)), row.pause_until, allow, row.after, row.badge
    )


def default_of(attention: Attention, zone_of_device: str | None) -> Quiet | None:
    """The app's default for a user with such a device; None: it has none for them."""
    zone = zone_of_device if attention.quiet_zone == DEVICE else attention.quiet_zone
    return None if zone is None else _default(tuple(map(window, attention.quiet)), zone)


def zones_of(pool: Pool, users: Collection[UserKey]) -> dict[UserKey, str]:
    """The zone of each user's row, else of the device that they registered last. Who has said none is left out."""
    rows = bulk.read(
        pool,
        "SELECT app, user_id, setting ->> 'zone' FROM unnest(%b::text[], %b::text[]) AS k (app, user_id)"
        " JOIN carillon.quiet USING (app, user_id) WHERE setting ? 'zone'",
        users,
    )
    found = {(app, user): zone for app, user, zone in rows}
    return found | _zones_of_devices(pool, {key for key in users if key not in found})


def _zones_of_devices(pool: Pool, users: Collection[UserKey]) -> dict[UserKey, str]:
    """`attributes.zone` of the device that each user registered last."""
    rows = bulk.read(
        pool,
        "SELECT DISTINCT ON (app, user_id) app, user_id, d.attributes ->> 'zone'"
        " FROM unnest(%b::text[], %b::text[]) AS k (app, user_id) JOIN carillon.devices d USING (app, user_id)"
        " WHERE d.active ORDER BY app, user_id, d.registered_at DESC, d.id DESC",
        users,
    )
    return {(app, user): zone for app, user, zone in rows if zone is not None}


@lru_cache(maxsize=4096)
def _default(windows: tuple[Window, ...], zone: str) -> Quiet | None:
    hours = _hours(zone, windows)
    return None if hours is None else Quiet(hours)


def _hours(zone: str, windows: tuple[Window, ...], *, notify: bool = False) -> Hours | None:
    """None: there are no windows, or this release knows no such zone."""
    found = zones.zone(zone)
    return Hours(found, windows, notify) if windows and found is not None else None


def _over_on(one: QuietWrite) -> date | None:
    if one.row.quiet or one.row.notify:
        return None
    return max(datetime.now(UTC), datetime.fromtimestamp(one.row.pause_until, UTC)).date()


_decode: Final[Any] = msgspec.json.Decoder(Row).decode
