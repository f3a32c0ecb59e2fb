"""The push log: what happened to each notification."""

from datetime import UTC, datetime
from typing import Any, Final

from worker.dashboard import charts, flow
from worker.dashboard.page import Ask, Invalid, Page, Panel, Values
from worker.dashboard.pages.overview import marks_of
from worker.database import incidents, lookups
from worker.reports import push_log, volume
from worker.reports.push_log import OUTCOMES, Filter, TooMuchError, UnknownPlaceError

#: The choices of the time, in seconds.
TIMES: Final = {"15m": 900, "1h": 3_600, "24h": 86_400, "7d": 604_800}
_WORDS: Final = {"15m": "15 min", "1h": "1 h", "24h": "24 h", "7d": "7 d"}
#: Filters, in the order in which one is left out where nothing matches.
_FILTERS: Final = ("user", "reason", "outcome", "provider", "app")
ROWS: Final = 50
#: New lines are counted up to this number.
_NEW: Final = 1_000
_DAY: Final = 86_400


def show(ask: Ask) -> Values:
    place(ask, "after")
    time_of(ask)
    with ask.stores.pool.connection() as db:
        names = lookups.provider_names(db)
    only = ask.query.get("app", "")
    return {
        "chosen": {name: ask.query.get(name) for name in (*_FILTERS, "also", "from", "to")},
        "times": _WORDS,
        "defs": charts.defs(),
        "apps": [(app, app) for app in sorted({app for app, _, _ in names.values()})],
        "providers": [(name, name) for name in sorted({name for app, name, _ in names.values() if only in ("", app)})],
        "outcomes": [(name, words) for name, words in OUTCOMES.items() if name not in push_log.DECISIONS],
        "time": ask.chosen("time", [*TIMES], "1h"),
    }


def strip(ask: Ask) -> Values:
    """What is chosen over the time, by outcome; None: nothing, decisions, or too much to count."""
    chosen = filter_of(ask)
    if chosen.outcome in push_log.DECISIONS:
        return {"chart": None}
    # What is not kept any more needs no room.
    chosen = chosen._replace(since=max(chosen.since, ask.now - ask.stores.settings.message_retention_days * _DAY))
    try:
        found = volume.read(ask.stores.pool, chosen, ask.now)
    except TooMuchError:
        return {"chart": None}
    if not found.total:
        return {"chart": None}
    with ask.stores.pool.connection() as db:
        wrong = incidents.read(db, since=datetime.fromtimestamp(found.series.start, UTC), app=chosen.app)
    wrong = [one for one in wrong if chosen.provider in (None, one.provider)]
    return {"chart": flow.volume(found, marks_of(found.series, wrong))}


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
        "without": None if page.lines or after is not None else _without(ask, chosen),
        "kept": _kept(ask, chosen.since) if page.following is None else None,
        "too_much": False,
    }


def new(ask: Ask) -> Values:
    """How many lines came since the list was shown; None: more than can be looked through.

    What was counted is not looked through again: the next question has it as `seen`.
    """
    than, seen = place(ask, "newer"), ask.query.get("seen", "0")
    number = min(int(seen), _NEW) if seen.isdecimal() and len(seen) < 6 else 0
    if than is None or number == _NEW:
        return {"number": number, "next": than, "most": _NEW}
    try:
        found, following = push_log.newer(ask.stores.pool, filter_of(ask), than, most=_NEW - number)
    except TooMuchError:
        return {"number": None, "next": than, "most": _NEW}
    return {"number": min(number + found, _NEW), "next": following, "most": _NEW}


def filter_of(ask: Ask) -> Filter:
    """What the query chooses."""

    def given(name: str) -> str | None:
        return ask.query.get(name) or None

    since, until = time_of(ask)
    outcome = ask.chosen("outcome", [*OUTCOMES], "") or None
    decisions = ask.query.get("also") == "1" or outcome in push_log.DECISIONS
    return Filter(
        *(since, until, given("app"), given("user"), None, given("provider"), outcome, given("reason"), decisions)
    )


def time_of(ask: Ask) -> tuple[float, float | None]:
    """From when to when (UNIX seconds), None: until now. The fields `from` and `to` go before the choice of a time."""
    first, last = _moment(ask, "from"), _moment(ask, "to")
    if first is None:
        first = (ask.now if last is None else last) - TIMES[ask.chosen("time", [*TIMES], "1h")]
    if last is not None and last <= first:
        raise Invalid("The time ends before it begins.")
    return first, last


def _moment(ask: Ask, name: str) -> float | None:
    given = ask.query.get(name)
    if not given:
        return None
    try:
        at = datetime.fromisoformat(given)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Invalid("A time is written as 2026-11-29T14:02, in UTC.") from None


def place(ask: Ask, name: str) -> str | None:
    """A place of the log that a field of the query names."""
    given = ask.query.get(name)
    if given is not None:
        try:
            push_log.place_of(given)
        except UnknownPlaceError:
            raise Invalid("This page of the log is unknown. Start from the first one.") from None
    return given


def _without(ask: Ask, chosen: Filter) -> Values | None:
    """A filter that may be why nothing matches, and how many notifications there are without it, None: not known."""
    name = next((name for name in _FILTERS if getattr(chosen, name)), None)
    if name is None:
        return None
    others: dict[str, Any] = {name: None}
    of_decisions = chosen.outcome in push_log.DECISIONS and name != "outcome"
    try:
        found = None if of_decisions else volume.read(ask.stores.pool, chosen._replace(**others), ask.now)
    except TooMuchError:
        found = None
    return {"name": name, "found": found}


def _kept(ask: Ask, since: float) -> str | None:
    """The day from which on the log is kept, if `since` (UNIX seconds) is before it."""
    with ask.stores.pool.connection() as db:
        began = lookups.kept_since(db)
    kept = max(began, ask.now - ask.stores.settings.message_retention_days * _DAY)
    day = datetime.fromtimestamp(kept, UTC)
    return f"{day.day} {day:%B}" if since < kept else None


PAGE = Page(
    "log",
    "/log",
    "Push log",
    show,
    [Panel("strip", strip, every=60), Panel("rows", rows, every=0), Panel("new", new)],
    bar="Push log",
    key="l",
)
