"""`carillon audit`: what people did."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from worker.cli._moments import moment, rfc3339
from worker.cli._options import LARGEST_ID, Json, Limit, OnlyApp
from worker.cli._session import Row, app_named, session, table
from worker.database.audit import Entry, Which, newest
from worker.reports.acts import in_words

EPILOG = "Example: carillon audit --since 7d --app chat --act provider"


def audit(
    since: Annotated[
        str | None, typer.Option(help="Only what was done since: 30m, 2h, 7d ago, or a time as 2026-11-21T20:00Z.")
    ] = None,
    app: OnlyApp = None,
    act: Annotated[str | None, typer.Option(help="Only acts that begin so: provider, or 'provider paused'.")] = None,
    who: Annotated[str | None, typer.Option(help="Only what this user did.")] = None,
    before: Annotated[
        int | None, typer.Option(metavar="ID", min=1, max=LARGEST_ID, help="The page that follows this id.")
    ] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """Show what people did by commands and on the dashboard, the newest first: who, from which host, what, and why.

    Kept for a year, and of each act the last 10,000. No secret and no text of a message is in it.
    """
    at = None if since is None else moment(since, datetime.now(UTC), "--since")
    with session() as runtime:
        found = newest(runtime.pool, Which(at, app, act, who, before), limit)
        if app is not None and not found:  # of an app that is gone there may be acts
            app_named(runtime, app)
    rows = [_row(one) if as_json else _shown(one) for one in found]
    table(rows, as_json=as_json, empty="nothing was done by hand that this selects")


def _row(entry: Entry) -> Row:
    """The entry as JSON has it."""
    return entry._asdict() | {"at": rfc3339(entry.at)}


def _shown(entry: Entry) -> Row:
    return {
        "id": entry.id,
        "at": rfc3339(entry.at),
        "who": f"{entry.who}@{entry.host}",
        "act": entry.act,
        "app": entry.app,
        "target": entry.target,
        "what": in_words(entry.detail) or None,
        "note": entry.note,
    }
