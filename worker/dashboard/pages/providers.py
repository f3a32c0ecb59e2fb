"""Every provider, the worst first."""

from typing import Final

from worker.dashboard import flow
from worker.dashboard.page import Ask, Page, Panel, Values, first_row
from worker.dashboard.pages.overview import range_of
from worker.dashboard.standings import Standing, standings, with_series
from worker.reports import history, watch

#: Rows of a page: each costs 120 rows of the history.
_ROWS: Final = 25
_STATES: Final = (("", "all states"), ("not", "not working"), ("ok", "working"))


def show(ask: Ask) -> Values:
    return {"states": _STATES, "chosen": range_of(ask)}


def rows(ask: Ask) -> Values:
    chosen, first = range_of(ask), first_row(ask)
    with ask.stores.pool.connection() as db:
        every = standings(db, watch.current(ask.stores.fleet).conditions, now=ask.now, app=ask.query.get("app") or None)
        found = [one for one in every if _wanted(one, ask)]
        shown = found[first : first + _ROWS]
        series = history.read(db, chosen, [one.key for one in shown], now=ask.now)
    return {
        "rows": [with_series(one, series[one.key]) for one in shown],
        "last": flow.LAST[chosen],
        "chosen": chosen,
        "first": first + 1,
        "found": len(found),
        "every": len(every),
        "older": first + _ROWS if len(found) > first + _ROWS else None,
    }


def _wanted(one: Standing, ask: Ask) -> bool:
    kind, state = ask.query.get("kind", ""), ask.query.get("state", "")
    return (not kind or one.kind.lower() == kind.strip().lower()) and (not state or one.works == (state == "ok"))


PAGE = Page("providers", "/providers", "Providers", show, [Panel("rows", rows, every=10)], bar="Providers", key="p")
