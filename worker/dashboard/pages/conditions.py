"""What needs somebody, and what to do; what ended; and everything that is watched."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from worker.dashboard import charts
from worker.dashboard.page import Ask, Page, Panel, Values
from worker.dashboard.pages import overview
from worker.dashboard.taken import taken_since
from worker.database import incidents, postgres
from worker.reports import watch
from worker.reports.conditions import Condition

_DAY: Final = 86_400
_ENDED: Final = 100


def show(_: Ask) -> Values:
    return {"defs": charts.defs()}


def sentence(ask: Ask) -> Values:
    """The answer. Asks Redis alone, as `open_` does, so that it comes while Postgres is away."""
    found = watch.current(ask.stores.fleet).conditions
    return {"sentence": _sentence(found), "worst": found[0].severity if found else None}


def open_(ask: Ask) -> Values:
    current = watch.current(ask.stores.fleet)
    since = min((one.since or ask.now for one in current.conditions), default=ask.now)
    try:
        taken = taken_since(ask, since) if current.conditions else {}
    except postgres.Unavailable:  # what needs somebody is shown nevertheless
        taken = {}
    return {
        "taken": taken,
        "open": overview.cards_of(current.conditions),
        "checks": len(current.checks),
        "ago": current.ago,
        "unknown": current.unknown,
    }


def ended(ask: Ask) -> Values:
    """What ended in the last 24 hours, the latest first."""
    since = datetime.fromtimestamp(ask.now - _DAY, UTC)
    with ask.stores.pool.connection() as db:
        found = incidents.read(db, since=since, limit=_ENDED)
    over = [(one, one.ended - one.began) for one in found if one.ended is not None]
    return {"over": [(one, lasted.total_seconds()) for one, lasted in over]}


def _sentence(found: Sequence[Condition]) -> str:
    if not found:
        return "Nothing is wrong"
    return "1 condition is open" if len(found) == 1 else f"{len(found)} conditions are open"


PAGE = Page(
    "conditions",
    "/conditions",
    "Conditions",
    show,
    [
        Panel("sentence", sentence, every=2),
        Panel("open", open_, every=2),
        Panel("ended", ended, every=10),
        Panel("lasted", overview.lasted, every=30),
        Panel("parts", overview.parts, every=5),
    ],
    bar="Conditions",
    key="c",
)
