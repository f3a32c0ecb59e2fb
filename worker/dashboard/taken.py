"""Who takes care of which condition, by the audit log."""

from typing import NamedTuple

from worker.dashboard.page import Ask


class Taken(NamedTuple):
    """Who takes care of it, since when (UNIX seconds), and what they said."""

    who: str
    at: float
    note: str


def taken_since(ask: Ask, since: float) -> dict[str, Taken]:
    """Who takes care of which condition, by its key: the last who said so, of those after `since`, in UNIX seconds."""
    with ask.stores.pool.connection() as db:
        rows = db.execute(
            "SELECT target, who, extract(epoch FROM at)::float, note FROM carillon.audit"
            " WHERE act = 'condition taken' AND at >= to_timestamp(%s) ORDER BY id DESC LIMIT 200",
            (since,),
        ).fetchall()
    return {key: Taken(who, at, note or "") for key, who, at, note in reversed(rows)}
