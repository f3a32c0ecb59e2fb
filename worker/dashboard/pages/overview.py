"""Is it working? What is wrong, since when, whom does it hit, and what is to be done."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from markupsafe import Markup

from worker.dashboard import charts, ended, flow
from worker.dashboard.charts import Lane, Mark, Span
from worker.dashboard.frame import SHAPES
from worker.dashboard.page import Ask, Page, Panel, Values
from worker.dashboard.standings import standings, with_series
from worker.database import incidents
from worker.database.incidents import Incident
from worker.reports import history, watch
from worker.reports.checks import Check
from worker.reports.conditions import Condition
from worker.reports.history import RANGES, Series

ALL: Final = ("", 0)
#: Conditions in one line each, and rows of providers.
_LINES: Final = 5
_ROWS: Final = 8
_LANES: Final = 8
_DAY: Final = 86_400
#: Conditions that hold pushes back, by the beginning of their names.
_PUSHES_STOP: Final = ("provider_", "credential_")


class Card(NamedTuple):
    """Conditions with one cause."""

    first: Condition
    every: Sequence[Condition]


class Part(NamedTuple):
    """A part of the system with its present value, and the shape of its worst condition."""

    name: str
    value: str
    shape: str


def range_of(ask: Ask) -> str:
    """The range that the address names, of `RANGES`."""
    return ask.chosen("range", tuple(RANGES), "1h")


def show(_: Ask) -> Values:
    return {"defs": charts.defs()}


def sentence(ask: Ask) -> Values:
    """The answer. Asks Redis alone, so that it comes while Postgres is away."""
    current = watch.current(ask.stores.fleet)
    critical = [one for one in current.conditions if one.severity == "critical"]
    empty = not critical and not _published(ask)
    return {
        "kind": "crit" if critical else "info" if empty else "ok",
        "sentence": _sentence(critical, empty=empty),
        "lead": None if critical or empty else _proof(current.checks),
    }


def open_(ask: Ask) -> Values:
    """The conditions; for a system that nobody has published to, how to begin. Asks Redis alone too."""
    found = watch.current(ask.stores.fleet).conditions
    critical = [one for one in found if one.severity == "critical"]
    lines = [one for one in found if one.severity != "critical"]
    return {
        "empty": not critical and not _published(ask),
        "critical": cards_of(critical),
        "lines": lines[:_LINES],
        "more": len(lines[_LINES:]),
    }


def flowing(ask: Ask) -> Values:
    """The four charts."""
    chosen = range_of(ask)
    with ask.stores.pool.connection() as db:
        found = history.read(db, chosen, now=ask.now)
        series, recent = found[ALL], history.recent(db, chosen, found, now=ask.now)[ALL]
        marks = marks_of(series, incidents.read(db, since=_utc(series.start)))
    return {
        "chosen": chosen,
        "words": f"{flow.LAST[chosen].capitalize()}, all apps",
        "charts": [
            flow.outcomes(series, recent, marks, chosen),
            flow.accepting(series, recent, marks),
            flow.waiting(series, recent, marks, chosen),
            flow.ages(series, recent, marks, chosen),
        ],
    }


def providers(ask: Ask) -> Values:
    """The worst first."""
    chosen = range_of(ask)
    with ask.stores.pool.connection() as db:
        every = standings(db, watch.current(ask.stores.fleet).conditions, now=ask.now)
        shown = every[:_ROWS]
        series = history.read(db, chosen, [one.key for one in shown], now=ask.now)
    return {
        "rows": [with_series(one, series[one.key]) for one in shown],
        "all": len(every),
        "more": sum(one.works for one in every),
        "last": flow.LAST[chosen],
    }


def finally_(ask: Ask) -> Values:
    """What became of notifications, and why members got none."""
    chosen = range_of(ask)
    with ask.stores.pool.connection() as db:
        series = history.read(db, chosen, now=ask.now)[ALL]
    counts = series.counts()
    return {
        "outcomes": ended.outcomes(counts),
        "skips": ended.skips(counts),
        "candidates": ended.candidates(counts),
        "chosen": chosen,
        "last": flow.LAST[chosen].capitalize(),
        "span": flow.span_of(series),
    }


def parts(ask: Ask) -> Values:
    """Parts of the system, by the last look. Asks Redis alone."""
    current = watch.current(ask.stores.fleet)
    return {"parts": [_part(one, current.conditions) for one in current.checks], "ago": current.ago}


def lasted(ask: Ask) -> Values:
    """What was wrong in the last 24 hours."""
    with ask.stores.pool.connection() as db:
        found = incidents.read(db, since=_utc(ask.now - _DAY))
        day = history.read(db, "24h", now=ask.now)[ALL]
    lanes = lanes_of(found, ask.now)
    gaps = gaps_of(day)
    return {
        "lanes": _drawn([*lanes, *([Lane("no data from workers", gaps)] if gaps else [])], ask.now),
        "any": bool(lanes),
    }


def marks_of(series: Series, found: Sequence[Incident]) -> list[Mark]:
    """When critical incidents began, and when a release began to run."""
    marks = [
        Mark(one.began.timestamp(), f"{one.provider or one.app or one.place} {short(one.name)}".strip())
        for one in found
        if one.severity == "critical"
    ]
    marks += [Mark(at, f"release {name}", "dep") for at, name in history.releases(series)]
    return flow.newest(one for one in marks if one.at >= series.start)


def lanes_of(found: Sequence[Incident], now: float) -> list[Lane]:
    """One lane for each condition and place, the latest first."""
    rows: dict[str, list[tuple[float, float, str]]] = {}
    for one in found:
        place = " / ".join(part for part in (one.app, one.provider, one.place) if part)
        end = now if one.ended is None else one.ended.timestamp()
        rows.setdefault(f"{place} {short(one.name)}".strip(), []).append(
            (one.began.timestamp(), end, SHAPES[one.severity])
        )
    return [Lane(name, spans) for name, spans in rows.items()][:_LANES]


def gaps_of(series: Series) -> list[tuple[float, float, str]]:
    """When nobody took samples, since the first one."""
    first = next((n for n, one in enumerate(series.buckets) if one is not None), len(series.buckets))
    begins = [series.start + n * series.width for n, one in enumerate(series.buckets) if one is None and n > first]
    return [(at, at + series.width, "nd") for at in begins]


def _drawn(lanes: Sequence[Lane], now: float) -> Markup:
    said = "; ".join(f"{lane.name}: {len(lane.spans)} times" for lane in lanes)
    return charts.lanes(lanes, Span(now - _DAY, now), f"Conditions of the last 24 hours: {len(lanes)}. {said}")


def short(name: str) -> str:
    """A condition in a few words: `unreachable`, `backlog old`."""
    return name.removeprefix("provider_").replace("_", " ")


def _published(ask: Ask) -> bool:
    return any(of.redis.exists(of.keys.EVENTS()) for of in ask.stores.keyspace)


def _sentence(critical: Sequence[Condition], *, empty: bool) -> str:
    if empty:
        return "Ready. Nothing was published yet"
    if not critical:
        return "Pushes go out normally"
    whole = next((one for one in critical if one.app is None), None)
    if whole is not None:
        return f"{whole.what[:1].upper()}{whole.what[1:]}"
    apps = sorted({one.app for one in critical if one.app is not None})
    what = "are held back" if all(one.name.startswith(_PUSHES_STOP) for one in critical) else "are not well"
    if len(apps) == 1:
        return f"Pushes of app {apps[0]} {what}"
    if len(apps) <= 3:
        return f"Pushes of apps {', '.join(apps[:-1])} and {apps[-1]} {what}"
    return f"Pushes of {len(apps)} apps {what}"


def _proof(checks: Sequence[Check]) -> str | None:
    """What was looked at, where nothing critical was found."""
    proof = [
        f"{one.part.capitalize()}: {one.value}."
        for one in checks
        if one.part in ("providers", "urgent lane", "bulk lane")
    ]
    return " ".join(proof) or None


def cards_of(conditions: Sequence[Condition]) -> list[Card]:
    """Conditions with one cause are one card."""
    groups: dict[tuple[str, str], list[Condition]] = {}
    for one in conditions:
        groups.setdefault((one.name, one.what), []).append(one)
    return [Card(of[0], of) for of in groups.values()]


def _part(check: Check, conditions: Sequence[Condition]) -> Part:
    severity = next((one.severity for one in conditions if _speaks_of(one, check)), None)
    return Part(check.part, check.value, "ok" if severity is None else SHAPES[severity])


def _speaks_of(one: Condition, check: Check) -> bool:
    """A condition of one lane is none of the other."""
    of_lane = check.part.endswith(" lane") and one.place
    return one.name in check.names and (not of_lane or check.part == f"{one.place} lane")


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


PAGE = Page(
    "overview",
    "/",
    "Overview",
    show,
    [
        Panel("sentence", sentence, every=2),
        Panel("open", open_, every=2),
        Panel("flowing", flowing, every=10),
        Panel("providers", providers, every=10),
        Panel("ended", finally_, every=30),
        Panel("lasted", lasted, every=30),
        Panel("parts", parts, every=5),
    ],
    bar="Overview",
    key="o",
)
