"""Every app: whether it is switched on, how its providers stand, and what it pushes. The worst first."""

from typing import Final

from worker.dashboard.page import Ask, Page, Panel, Values, first_row
from worker.dashboard.standings import Standing, by_app, standings
from worker.reports import history, watch

_DAY: Final = "24h"
#: Rows of a page: each costs 120 rows of the history.
_ROWS: Final = 25


def rows(ask: Ask) -> Values:
    first = first_row(ask)
    with ask.stores.pool.connection() as db:
        apps = db.execute("SELECT name, push_enabled FROM carillon.apps ORDER BY name").fetchall()
        of = by_app(standings(db, watch.current(ask.stores.fleet).conditions, now=ask.now))
        found = sorted(
            ((name, on, of.get(name, [])) for name, on in apps if ask.query.get("app", "") in name),
            key=lambda row: (_rank(row[2], on=row[1]), -_sum(row[2], "waiting"), -_sum(row[2], "rate"), row[0]),
        )
        shown = found[first : first + _ROWS]
        keys = [one.key for _, _, providers in shown for one in providers]
        series = history.read(db, _DAY, keys, now=ask.now)
    accepted = {key: history.count(one.counts(), "accepted") for key, one in series.items()}
    return {
        "rows": [
            {
                "name": name,
                "on": on,
                "states": _states(providers),
                "accepted": sum(accepted[one.key] for one in providers),
                "waiting": _sum(providers, "waiting"),
            }
            for name, on, providers in shown
        ],
        "first": first + 1,
        "found": len(found),
        "every": len(apps),
        "older": first + _ROWS if len(found) > first + _ROWS else None,
    }


def _states(providers: list[Standing]) -> list[tuple[str, str]]:
    """The shape and the words of each provider, the worst first."""
    return [(one.shape, one.name if one.works else f"{one.name} {one.state}") for one in providers]


def _rank(providers: list[Standing], *, on: bool) -> int:
    """Apps with something wrong come before those that are switched off, those before the others."""
    if any(one.shape in ("crit", "warn") for one in providers):
        return 0
    return 1 if not on or not providers else 2


def _sum(providers: list[Standing], of: str) -> float:
    return sum(getattr(one, of) or 0.0 for one in providers)


PAGE = Page("apps", "/apps", "Apps", panels=[Panel("rows", rows, every=10)], bar="Apps", key="a")
