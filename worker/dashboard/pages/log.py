"""The push log: what happened to each notification."""

from typing import Final

from worker.dashboard.page import Ask, Invalid, Page, Panel, Values
from worker.database import lookups
from worker.reports import push_log
from worker.reports.push_log import OUTCOMES, Filter, TooMuchError, UnknownPlaceError

#: The choices of the time, in seconds.
TIMES: Final = {"15m": 900, "1h": 3_600, "24h": 86_400, "7d": 604_800}
ROWS: Final = 50


def show(ask: Ask) -> Values:
    if (given := ask.query.get("after")) is not None:
        try:
            push_log.check_place(given)
        except UnknownPlaceError:
            raise Invalid("This page of the log is unknown. Start from the first one.") from None
    with ask.stores.pool.connection() as db:
        names = lookups.provider_names(db)
    only = ask.query.get("app", "")
    return {
        "chosen": {name: ask.query.get(name) for name in ("app", "provider", "outcome", "reason", "user", "also")},
        "times": [("15m", "last 15 min"), ("1h", "last hour"), ("24h", "last 24 hours"), ("7d", "last 7 days")],
        "apps": [(app, app) for app in sorted({app for app, _, _ in names.values()})],
        "providers": [(name, name) for name in sorted({name for app, name, _ in names.values() if only in ("", app)})],
        "outcomes": [(name, words) for name, words in OUTCOMES.items() if name not in ("pushed", "skipped")],
        "time": ask.chosen("time", [*TIMES], "1h"),
    }


def rows(ask: Ask) -> Values:
    def given(name: str) -> str | None:
        return ask.query.get(name) or None

    since = ask.now - TIMES[ask.chosen("time", [*TIMES], "1h")]
    outcome = ask.chosen("outcome", [*OUTCOMES], "") or None
    decisions = ask.query.get("also") == "1" or outcome in push_log.DECISIONS
    chosen = Filter(
        *(since, None, given("app"), given("user"), None, given("provider"), outcome, given("reason"), decisions)
    )
    try:
        page = push_log.read(ask.stores.pool, chosen, given("after"), limit=ROWS)
    except TooMuchError:
        return {"lines": (), "older": None, "too_much": True}
    return {
        "lines": [(line, push_log.reason_in_words(line)) for line in page.lines],
        "older": page.following,
        "too_much": False,
    }


PAGE = Page("log", "/log", "Push log", show, panels=[Panel("rows", rows)], bar="Push log")
