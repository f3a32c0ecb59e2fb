"""`carillon backlog`."""

from worker.cli._options import Json, OnlyApp
from worker.cli._session import Row, app_named, session, table
from worker.core.way import origin_in, provider_in
from worker.database import cursors
from worker.state.backlog import Waiting, read

EPILOG = "Example: carillon backlog --app demo"


def backlog(app: OnlyApp = None, as_json: Json = False) -> None:
    """How much waits, where, of which app and provider, and since when. It is no fault that something does.

    stream: intake has not taken it; ready: a worker can take it; leased: a worker has it; due: taken later; held: its
    provider is stopped or over a quota; scheduled: a push for later, or a second look at users who are delayed.
    """
    with session() as runtime:
        only = None if app is None else app_named(runtime, app).name
        names = {id: one.name for id, one in runtime.registry.providers().items()}
        with runtime.pool.connection() as db:
            taken = cursors.taken(db)
        found = read(runtime.keyspace, taken)
    rows = [_row(one, names) for one in sorted(found.waiting, key=_order) if only in (None, one.app)]
    if not as_json:
        about = "~" if found.estimated else ""
        rows = [
            {**row, "notifications": f"{about}{row['notifications']:,}", "bytes": f"~{row['bytes']:,}"} for row in rows
        ]
    table(rows, as_json=as_json, empty="nothing waits")


def _order(one: Waiting) -> tuple[str, str, str, str]:
    return one.state, one.app, one.lane, str(one.way)


def _row(one: Waiting, names: dict[int, str]) -> Row:
    return {
        "state": one.state,
        "app": one.app or None,
        "provider": None if one.way is None else names.get(provider_in(one.way), f"removed ({provider_in(one.way)})"),
        "origin": None if one.way is None else origin_in(one.way) or None,
        "lane": one.lane or None,
        "messages": one.messages,
        "batches": one.batches,
        "notifications": one.notifications,
        "bytes": one.octets,
        "oldest": None if one.oldest is None else round(one.oldest, 1),
    }
