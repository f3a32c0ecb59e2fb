"""Who did what, when, from where, and why."""

from typing import Final, get_args

from worker.dashboard.page import Ask, Page, Panel, Values, after_id, keyset
from worker.database.audit import Which, newest
from worker.reports import acts

_ROWS: Final = 50
_ACTS: Final[tuple[str, ...]] = get_args(acts.Name)


def filters(ask: Ask) -> Values:
    after_id(ask)
    return {"acts": [("", "any act"), *((name, name) for name in _ACTS)]}


def rows(ask: Ask) -> Values:
    app, act, who = (ask.query.get(name) or None for name in ("app", "act", "who"))
    found = newest(ask.stores.pool, Which(app=app, act=act, who=who, before=after_id(ask)), _ROWS + 1)
    shown = keyset(found, _ROWS, lambda entry: [entry.id])
    return {
        "entries": [(entry, acts.in_words(entry.detail)) for entry in shown.rows],
        "older": shown.older,
        "given": {"app": app, "act": act, "who": who},
    }


PAGE = Page("audit", "/audit", "Audit", show=filters, panels=[Panel("rows", rows, every=10)], bar="Audit", key="u")
