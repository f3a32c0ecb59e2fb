"""`carillon incidents`: what needed somebody, and when."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from worker.cli._moments import moment, rfc3339
from worker.cli._options import Json, Limit, OnlyApp
from worker.cli._session import Row, app_named, session, table
from worker.database.incidents import Incident, read
from worker.reports.words import lasting

EPILOG = "Example: carillon incidents --since 7d --app chat"


def incidents(
    since: Annotated[
        str, typer.Option(help="Those that lasted since: 30m, 24h, 7d ago, or a time as 2026-11-21T20:00Z.")
    ] = "24h",
    app: OnlyApp = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """Show the conditions that lasted in the last hours: those that still do, then those that ended, the latest first.

    Kept for 35 days. `carillon health` shows what is wrong now, and what to do.
    """
    now = datetime.now(UTC)
    at = moment(since, now, "--since")
    with session() as runtime:
        only = None if app is None else app_named(runtime, app).name
        with runtime.pool.connection() as db:
            found = read(db, since=at, app=only, limit=limit)
    rows = [_row(one) if as_json else _shown(one, now) for one in found]
    table(rows, as_json=as_json, empty=f"nothing needed somebody since {rfc3339(at)}")


def _row(one: Incident) -> Row:
    """The incident as JSON has it: `null` for what it is not about."""
    fields = {name: value or None for name, value in one._asdict().items()}
    times = {"began": rfc3339(one.began), "ended": None if one.ended is None else rfc3339(one.ended)}
    return fields | times | {"waited": one.waited, "lost": one.lost}


def _shown(one: Incident, now: datetime) -> Row:
    where = f"{one.app}/{one.provider}" if one.provider else one.app or one.place
    return {
        "began": rfc3339(one.began),
        "lasted": lasting(((one.ended or now) - one.began).total_seconds()) + ("" if one.ended else ", lasts"),
        "severity": one.severity,
        "name": one.name,
        "where": f"{where}, {one.origin}" if one.origin else where,
        "what": one.what,
        "waited": one.waited or None,
        "lost": one.lost or None,
        "ended by": one.ended_by,
    }
