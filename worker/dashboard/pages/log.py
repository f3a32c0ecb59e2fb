"""The push log: what happened to each notification."""

from datetime import UTC, datetime
from typing import Final

from worker.dashboard.page import Ask, Invalid, Page, Panel, Values
from worker.database import lookups
from worker.reports import push_log
from worker.reports.push_log import OUTCOMES, Filter, TooMuchError, UnknownPlaceError

#: The choices of the time, in seconds.
TIMES: Final = {"15m": 900, "1h": 3_600, "24h": 86_400, "7d": 604_800}
ROWS: Final = 50
#: New lines are counted up to this number.
_NEW: Final = 1_000
_DAY: Final = 86_400


def show(ask: Ask) -> Values:
    place(ask, "after")
    with ask.stores.pool.connection() as db:
        names = lookups.provider_names(db)
    only = ask.query.get("app", "")
    return {
        "chosen": {name: ask.query.get(name) for name in ("app", "provider", "outcome", "reason", "user", "also")},
        "times": [("15m", "last 15 min"), ("1h", "last hour"), ("24h", "last 24 hours"), ("7d", "last 7 days")],
        "apps": [(app, app) for app in sorted({app for app, _, _ in names.values()})],
        "providers": [(name, name) for name in sorted({name for app, name, _ in names.values() if only in ("", app)})],
        "outcomes": [(name, words) for name, words in OUTCOMES.items() if name not in push_log.DECISIONS],
        "time": ask.chosen("time", [*TIMES], "1h"),
    }


def rows(ask: Ask) -> Values:
    """A page of the list. It stays as it is; `new` says what came since."""
    chosen, after = filter_of(ask), place(ask, "after")
    try:
        page = push_log.read(ask.stores.pool, chosen, after, limit=ROWS)
    except TooMuchError:
        return {"too_much": True}
    return {
        "lines": [(line, push_log.reason_in_words(line)) for line in page.lines],
        "older": page.following,
        "newest": page.newest if after is None else None,
        "kept": _kept(ask, chosen.since) if page.following is None else None,
        "too_much": False,
    }


def new(ask: Ask) -> Values:
    """How many lines came since the list was shown; None: more than can be looked through."""
    than = place(ask, "newer")
    if than is None:
        return {"number": 0, "most": _NEW}
    try:
        return {"number": push_log.newer(ask.stores.pool, filter_of(ask), than, most=_NEW), "most": _NEW}
    except TooMuchError:
        return {"number": None, "most": _NEW}


def filter_of(ask: Ask) -> Filter:
    """What the query chooses."""

    def given(name: str) -> str | None:
        return ask.query.get(name) or None

    since = ask.now - TIMES[ask.chosen("time", [*TIMES], "1h")]
    outcome = ask.chosen("outcome", [*OUTCOMES], "") or None
    decisions = ask.query.get("also") == "1" or outcome in push_log.DECISIONS
    return Filter(
        *(since, None, given("app"), given("user"), None, given("provider"), outcome, given("reason"), decisions)
    )


def place(ask: Ask, name: str) -> str | None:
    """A place of the log that a field of the query names."""
    given = ask.query.get(name)
    if given is not None:
        try:
            push_log.place_of(given)
        except UnknownPlaceError:
            raise Invalid("This page of the log is unknown. Start from the first one.") from None
    return given


def _kept(ask: Ask, since: float) -> str | None:
    """The day from which on the log is kept, if `since` (UNIX seconds) is before it."""
    with ask.stores.pool.connection() as db:
        began = lookups.kept_since(db)
    kept = max(began, ask.now - ask.stores.settings.message_retention_days * _DAY)
    day = datetime.fromtimestamp(kept, UTC)
    return f"{day.day} {day:%B}" if since < kept else None


PAGE = Page("log", "/log", "Push log", show, [Panel("rows", rows, every=0), Panel("new", new)], bar="Push log")
