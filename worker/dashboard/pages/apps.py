"""Every app: whether it is switched on, and its providers."""

from collections import defaultdict

from worker.dashboard.page import Ask, Page, Panel, Values


def rows(ask: Ask) -> Values:
    providers: dict[str, list[str]] = defaultdict(list)
    with ask.stores.pool.connection() as db:
        apps = db.execute("SELECT name, push_enabled, max_age FROM carillon.apps ORDER BY name").fetchall()
        for app, name in db.execute(
            "SELECT app, name FROM carillon.providers WHERE removed_at IS NULL ORDER BY app, name"
        ):
            providers[app].append(name)
    return {"apps": [(*app, providers[app[0]]) for app in apps]}


PAGE = Page("apps", "/apps", "Apps", panels=[Panel("rows", rows, every=10)], bar="Apps")
