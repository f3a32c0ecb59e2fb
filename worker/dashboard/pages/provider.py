"""One provider: since when, whom does it hit, and how long has it been like this before."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from worker.core.way import Way
from worker.dashboard import charts, ended, flow
from worker.dashboard.page import Ask, Missing, Page, Panel, Values
from worker.dashboard.pages.overview import marks_of, range_of
from worker.dashboard.standings import standings
from worker.database import audit, device_counts, incidents
from worker.providers.kinds import kind_of
from worker.reports import history, watch
from worker.reports.conditions import Condition

_DAYS: Final = 30
_DAY: Final = 86_400


def show(ask: Ask) -> Values:
    provider = ask.stores.registry.named(ask.path["app"], ask.path["name"])
    if provider is None:
        raise Missing(f"App {ask.path['app']} has no provider {ask.path['name']}.")
    environment = kind_of(provider).environment(provider)
    about = ", ".join(part for part in (kind_of(provider).words.title, environment) if part)
    return {"defs": charts.defs(), "title": f"{provider.name} of {provider.app}", "about": about}


def state(ask: Ask) -> Values:
    """Its conditions."""
    found = [one for one in watch.current(ask.stores.fleet).conditions if _is_about(one, ask)]
    paused = any(one.name == "provider_paused" for one in found)
    stopped = any(one.name.startswith("provider_") and one.severity == "critical" for one in found)
    return {"found": found, "paused": paused, "stopped": stopped and not paused}


def flowing(ask: Ask) -> Values:
    """What it did with notifications, and how long it took to answer."""
    chosen, app, name = range_of(ask), ask.path["app"], ask.path["name"]
    with ask.stores.pool.connection() as db:
        standing = next((one for one in standings(db, (), now=ask.now, app=app) if one.name == name), None)
        if standing is None:
            raise Missing(f"App {app} has no provider {name}.")
        series = history.read(db, chosen, [standing.key], now=ask.now)
        recent = history.recent(db, chosen, series, now=ask.now)[standing.key]
        since = datetime.fromtimestamp(series[standing.key].start, UTC)
        marks = marks_of(series["", 0], incidents.of_provider(db, app, name, since=since))
    of = series[standing.key]
    return {
        "chosen": chosen,
        "words": flow.LAST[chosen].capitalize(),
        "charts": [
            flow.outcomes(of, recent, marks, f"{chosen} {standing.id}"),
            flow.answering(of, recent, marks),
        ],
        "outcomes": ended.outcomes(of.counts()),
    }


def before(ask: Ask) -> Values:
    """What was wrong with it in the last 30 days."""
    since = datetime.fromtimestamp(ask.now - _DAYS * _DAY, UTC)
    with ask.stores.pool.connection() as db:
        return {"incidents": incidents.of_provider(db, ask.path["app"], ask.path["name"], since=since)}


def settings(ask: Ask) -> Values:
    """Everything in its settings that is no secret; who stored it; its breaker; its devices."""
    app, name = ask.path["app"], ask.path["name"]
    provider = ask.stores.registry.named(app, name)
    if provider is None:
        raise Missing(f"App {app} has no provider {name}.")
    of_app = ask.stores.registry.apps()[app]
    with ask.stores.pool.connection() as db:
        devices = device_counts.of_provider(db, app, provider.id)
    stored = next(
        (
            one
            for one in audit.newest(ask.stores.pool, audit.Which(app=app, act="provider stored"), 200)
            if one.target == name
        ),
        None,
    )
    return {
        "settings": {words(field): value for field, value in kind_of(provider).describe(provider).items() if value},
        "ends": _ends(ask, provider.id),
        "stored": stored,
        "rate": of_app.provider_rate,
        "breaker": _breaker(ask, provider.id),
        "devices": devices,
    }


def words(field: str) -> str:
    """The name of a setting, as people read it."""
    return field.replace("_", " ").capitalize().replace(" id", " ID")


def _is_about(one: Condition, ask: Ask) -> bool:
    return (one.app, one.provider) == (ask.path["app"], ask.path["name"])


def _ends(ask: Ask, provider: int) -> float | None:
    fleet = ask.stores.fleet
    noted: Any = fleet.redis.hget(fleet.keys.CERTIFICATES(), str(provider))
    return None if noted is None else float(noted)


def _breaker(ask: Ask, way: Way) -> Mapping[str, Any]:
    breaker = ask.stores.breakers(ask.path["app"])
    stopped = breaker.stopped(way)
    if stopped is None:
        return {"stopped": None}
    left = min((int(of.redis.pttl(of.keys.PROBE(way))) for of in breaker.partitions), default=0)
    return {
        "stopped": stopped,
        "probes": breaker.probes(way),
        "next": None if stopped.manual else max(0, left) / 1000,
    }


PAGE = Page(
    "provider",
    "/apps/{app}/providers/{name}",
    "Provider",
    show,
    [
        Panel("state", state, every=2),
        Panel("flowing", flowing, every=10),
        Panel("before", before, every=10),
        Panel("settings", settings, every=5),
    ],
    under="providers",
)
