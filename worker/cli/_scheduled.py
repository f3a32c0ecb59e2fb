"""`carillon push scheduled`: targeted pushes that wait for their time."""

from typing import Final

import msgspec

from producers import events
from producers.errors import EventError
from producers.events import PushSend
from worker.cli._moments import rfc3339
from worker.cli._options import Json, Limit, OnlyApp
from worker.cli._session import Row, app_named, session, table
from worker.state.scheduled import Scheduled, soonest

EPILOG: Final = "Example: carillon push scheduled --app chat"


def scheduled(app: OnlyApp = None, limit: Limit = 100, as_json: Json = False) -> None:
    """List the pushes that wait for their time, the soonest first. Shows no text."""
    with session() as runtime:
        only = None if app is None else app_named(runtime, app).name
        asked = runtime.partitions if only is None else [runtime.of_app(only)]
        found = [
            (one, of.journal.document(one.entry)) for of in asked for one in soonest(of.partition, limit, app=only)
        ]
    found = sorted(found)[:limit]
    rows = [row for one, document in found if (row := _row(one, document)) is not None]
    table(rows, as_json=as_json, empty="no push waits for its time")


def _row(one: Scheduled, document: bytes) -> Row | None:
    """None for one that began meanwhile."""
    try:
        event = events.decode(document)
    except EventError:
        return None
    if not isinstance(event, PushSend):
        return None
    where = msgspec.json.encode(event.where).decode()
    return {"id": event.id, "app": one.app, "at": rfc3339(one.at), "type": event.push_type, "where": where}
