"""What was last done to something, for the page that stands before an act."""

from worker.dashboard.page import Ask
from worker.dashboard.text import duration
from worker.reports.acts import By


def by(ask: Ask) -> By:
    """Who acts, as the audit log has it."""
    return By(ask.user.name, f"dashboard, {ask.address}")


def last(ask: Ask, app: str, target: str) -> str:
    """` The last act here: provider resumed by jo, 4.0 s ago.`, or nothing."""
    with ask.stores.pool.connection() as db:
        row = db.execute(
            "SELECT act, who, extract(epoch FROM clock_timestamp() - at)::float FROM carillon.audit"
            " WHERE app = %s AND target = %s ORDER BY id DESC LIMIT 1",
            (app, target),
        ).fetchone()
    return "" if row is None else f" The last act here: {row[0]} by {row[1]}, {duration(row[2])} ago."
