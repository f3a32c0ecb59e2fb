"""One app: its settings, what it pushes, its providers, and its templates as they would be sent."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from worker.core.aps_form import APS_FORM
from worker.core.model import ATTENTION, AppSettings, listed
from worker.core.sample_messages import sample
from worker.core.template_form import TemplateError
from worker.core.templates import Template, context_of
from worker.dashboard import charts, flow
from worker.dashboard.page import Ask, Missing, Page, Panel, Values
from worker.dashboard.pages.overview import marks_of, range_of
from worker.dashboard.standings import standings, with_series
from worker.database import audit, device_counts, incidents
from worker.database import history as rows
from worker.database.registry import StoredTemplate
from worker.providers.kinds import kind_stored_as
from worker.reports import history, watch
from worker.reports.words import window

#: Rows of providers, templates that are shown.
_ROWS: Final = 25
_TEMPLATES: Final = 20
_UNITS: Final = {
    "max_age": "seconds",
    "push_rate": "a second",
    "provider_rate": "a second",
    "channel_rate": "a second",
    "device_rate": "a minute",
    "fold_window": "seconds",
    "registration_rate": "a second",
    "stale_days": "days",
    **dict.fromkeys(("online_delay", "digest_spread", "sound_every", "sound_every_user", "fold_every"), "seconds"),
    "remind_after": "seconds",
    "pad": "bytes",
}
#: What it means that a setting has no value, where that is no missing limit.
_NONE: Final = {"only_to": "everybody", "stale_days": "never", "remind_after": "never"}


class Setting(NamedTuple):
    name: str
    value: str
    default: str

    @property
    def changed(self) -> bool:
        return self.value != self.default


class Shown(NamedTuple):
    """A template: for which kind of message and language ('' for all), as it is stored and as a sample is sent by it."""

    provider: str
    kind: str
    locale: str
    stored: str
    preview: str
    fault: str


def show(ask: Ask) -> Values:
    name = ask.path["app"]
    if _settings_of(ask) is None:
        raise Missing(f"There is no app {name}.")
    return {"defs": charts.defs(), "title": f"App {name}"}


def state(ask: Ask) -> Values:
    """What is wrong with the app itself or with its providers."""
    return {"found": [one for one in watch.current(ask.stores.fleet).conditions if one.app == ask.path["app"]]}


def flowing(ask: Ask) -> Values:
    """What became of its notifications, and its providers."""
    chosen, app = range_of(ask), ask.path["app"]
    with ask.stores.pool.connection() as db:
        every = standings(db, watch.current(ask.stores.fleet).conditions, now=ask.now, app=app)
        shown = every[:_ROWS]
        series = history.read(db, chosen, [(app, 0), *(one.key for one in shown)], now=ask.now)
        recent = history.recent(db, chosen, series, now=ask.now)
        since = datetime.fromtimestamp(series["", 0].start, UTC)
        marks = marks_of(series["", 0], incidents.read(db, since=since, app=app))
        devices = device_counts.of_app(db, app)
    whole = history.together([series[one.key] for one in shown], series[app, 0])
    last = history.together([recent[one.key] for one in shown], recent[app, 0])
    return {
        "chosen": chosen,
        "words": flow.LAST[chosen].capitalize(),
        "last": flow.LAST[chosen],
        "charts": [
            flow.outcomes(whole, last, marks, f"{chosen} {app}"),
            flow.waiting(whole, last, marks, f"{chosen} {app}"),
        ],
        "rows": [with_series(one, series[one.key]) for one in shown],
        "devices": {one.name: devices.get(one.id, device_counts.Count(0, 0)) for one in shown},
    }


def settings(ask: Ask) -> Values:
    """Each setting with its default, and who changed what last."""
    found = _settings_of(ask) or AppSettings(ask.path["app"])
    chosen, defaults = listed(found), listed(AppSettings(""))
    changes = audit.newest(ask.stores.pool, audit.Which(app=found.name, act="app "), 1)
    return {
        "settings": [
            Setting(name, _word(name, value), _word(name, defaults[name]))
            for name, value in chosen.items()
            if name != "name"
        ],
        "on": found.push_enabled,
        "change": changes[0] if changes else None,
    }


def templates(ask: Ask) -> Values:
    """What is stored, and what a sample message becomes by it. As text."""
    with ask.stores.pool.connection() as db:
        of = {one.provider: one for one in rows.providers(db, ask.now, ask.path["app"])}
    found = [one for one in ask.stores.registry.templates() if one.provider in of]
    return {
        "templates": [_shown(one, of[one.provider]) for one in found[:_TEMPLATES]],
        "more": len(found[_TEMPLATES:]),
    }


def _shown(one: StoredTemplate, provider: rows.Now) -> Shown:
    preview = fault = ""
    kind = kind_stored_as(provider.form)
    try:
        template = Template.parse(one.document, APS_FORM if kind is None else kind.template, locale=one.locale)
        event = sample(provider.app, one.kind or "regular")
        payload = template.render(context_of(event, "sample-user")).rendered.payload(1)
        preview = msgspec.json.format(payload, indent=2).decode()
    except (TemplateError, msgspec.DecodeError) as found:
        fault = str(found)
    return Shown(provider.name, one.kind, one.locale, one.document, preview, fault)


def _settings_of(ask: Ask) -> AppSettings | None:
    return ask.stores.registry.apps().get(ask.path["app"])


def _word(name: str, value: Any) -> str:
    match value:
        case None:
            return _NONE.get(name, "none" if name in ATTENTION else "no limit")
        case bool():
            return "on" if value else "off"
        case tuple() | list():
            return ", ".join(_word("", one) for one in value) or ("nobody" if name == "only_to" else "none")
        case {"from": _, "to": _}:
            return window(value)
        case Mapping():
            return " ".join(f"{key or 'any'}={_word('', one)}" for key, one in value.items()) or "none"
        case str():
            return value
        case _:
            return f"{value:,} {_UNITS.get(name, '')}".strip()


PAGE = Page(
    "app",
    "/apps/{app}",
    "App",
    show,
    [
        Panel("state", state, every=2),
        Panel("flowing", flowing, every=10),
        Panel("settings", settings, every=30),
        Panel("templates", templates, every=60),
    ],
    under="apps",
)
