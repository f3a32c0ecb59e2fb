"""Pause, resume and probe a provider; in an incident, pause all of an app or everything."""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from worker.core.breaker import Stopped
from worker.core.way import Way
from worker.dashboard.acts.history import by, last
from worker.dashboard.page import Act, Ask, Changed, Confirmation, Missing
from worker.dashboard.text import clock, duration, rate
from worker.process.by_hand import by_hand
from worker.reports import history
from worker.reports.acts import Name
from worker.reports.words import counted
from worker.state.origins import Origins

#: How the reason of a pause of many providers ends: what was paused together is resumed together.
_TOGETHER: Final = "(paused together)"
#: Of the history, what stands for what is sent now: so many of its shortest buckets, and the minutes that they are.
_JUST: Final = 10
_MINUTES: Final = 5


class _One(NamedTuple):
    id: int
    app: str
    name: str


def _all(ask: Ask, app: str | None) -> list[_One]:
    with ask.stores.pool.connection() as db:
        rows = db.execute(
            "SELECT id, app, name FROM carillon.providers WHERE removed_at IS NULL AND (%(app)s::text IS NULL OR app = %(app)s)"
            " ORDER BY app, name",
            {"app": app},
        )
        return [_One(*row) for row in rows]


def _named(ask: Ask) -> _One:
    app, name = ask.path["app"], ask.path["name"]
    found = next((one for one in _all(ask, app) if one.name == name), None)
    if found is None:
        raise Missing(f"App {app} has no provider {name}.")
    return found


def _held_back(ask: Ask, found: Sequence[_One], everything: bool = False) -> str:
    """What a pause of these providers does, in numbers: what they sent just now, and when the first of it would be lost."""
    keys = [] if everything else [(one.app, one.id) for one in found]
    with ask.stores.pool.connection() as db:
        rows = db.execute(
            "SELECT min(max_age) FROM carillon.apps WHERE name = ANY(%s)", ([one.app for one in found],)
        ).fetchall()
        every = history.read(db, history.NOW, keys, now=ask.now)
    # The series of all apps is always there.
    series = [one for key, one in every.items() if everything or key in keys]
    sent = [
        sum(rates)
        for rates in zip(*(one.rates("accepted")[-_JUST:] for one in series), strict=True)
        if None not in rates
    ]
    if not sent:
        much = f"How many notifications that is nobody knows: nothing was counted in the last {_MINUTES} minutes."
    elif not any(sent):
        much = f"Nothing was accepted there in the last {_MINUTES} minutes."
    else:
        much = f"{rate(sum(sent) / len(sent))} notifications a second, as in the last {_MINUTES} minutes, will be held back."
    age = rows[0][0]
    if age is None:
        return much
    return f"{much} The first would be lost at {clock(ask.now + age)} UTC, {duration(age)} after the pause (max_age)."


def _version(stopped: Stopped | None) -> str:
    return "flows" if stopped is None else f"{stopped.manual} {stopped.since}"


def _state(stopped: Stopped | None) -> str:
    if stopped is None:
        return "It flows now."
    how = "paused by hand" if stopped.manual else "stopped by its own answers"
    return f"It is {how} since {clock(stopped.since)} UTC: {stopped.reason}."


def _ask_pause(ask: Ask) -> Confirmation:
    one = _named(ask)
    stopped = ask.stores.breakers(one.app).stopped(one.id)
    consequence = (
        f"{_state(stopped)} Nothing is sent through {one.name} of app {one.app} until somebody resumes it."
        f" {_held_back(ask, [one])}"
    )
    return Confirmation(
        f"Pause provider {one.name} of app {one.app}?",
        consequence + last(ask, one.app, one.name),
        f"Pause {one.name}",
        ask.back(),
        _version(stopped),
    )


def _pause(ask: Ask, note: str) -> str:
    one = _named(ask)
    stores = ask.stores.acting
    with by_hand(stores, by(ask)) as hand:
        hand.record("provider paused", app=one.app, provider=one.name, note=note)
        stores.breakers(one.app).stop(one.id, f"{note} ({ask.user.name})", time.time())
    return f"{one.name} of app {one.app} is paused"


def _ask_resume(ask: Ask) -> Confirmation:
    one = _named(ask)
    stopped = ask.stores.breakers(one.app).stopped(one.id)
    consequence = (
        f"{_state(stopped)} It flows again with all of its origins, and what waits for it is sent, the oldest first."
        " If what stopped it lasts, its answers stop it again."
    )
    return Confirmation(
        f"Resume provider {one.name} of app {one.app}?",
        consequence + last(ask, one.app, one.name),
        f"Resume {one.name}",
        ask.back(),
        _version(stopped),
    )


def _resume(ask: Ask, note: str) -> str:
    one = _named(ask)
    stores = ask.stores.acting
    with by_hand(stores, by(ask)) as hand:
        hand.record("provider resumed", app=one.app, provider=one.name, note=note)
        if not stores.breakers(one.app).resume(one.id):
            raise Changed(f"It flows already.{last(ask, one.app, one.name)}")
    return f"{one.name} of app {one.app} flows again"


def _stopped_ways(ask: Ask, one: _One) -> list[Way]:
    """The ways of a provider that a probe may close: not those that a person paused."""
    breakers = ask.stores.breakers(one.app)
    ways = {way: None for of in breakers.partitions for way in Origins(of).ways([one.id])[one.id]}
    return [way for way, stopped in breakers.stopped_among([*ways]).items() if not stopped.manual]


def _ask_probe(ask: Ask) -> Confirmation:
    one = _named(ask)
    ways = _stopped_ways(ask, one)
    consequence = (
        "One waiting notification is sent at once, to see whether the provider answers. If it does, the others follow."
        if ways
        else "Its circuit breaker is closed: there is nothing to probe."
    )
    return Confirmation(
        f"Probe provider {one.name} of app {one.app} now?",
        consequence,
        f"Probe {one.name}",
        ask.back(),
        " ".join(map(str, ways)),
    )


def _probe(ask: Ask, note: str) -> str:
    one = _named(ask)
    stores = ask.stores.acting
    ways = _stopped_ways(ask, one)
    if not ways:
        raise Changed("Its circuit breaker is closed: there is nothing to probe.")
    with by_hand(stores, by(ask)) as hand:
        hand.record("provider probed", app=one.app, provider=one.name, note=note)
        for way in ways:
            stores.breakers(one.app).look_again(way)
    return f"{one.name} of app {one.app} is probed with the next notification that waits for it"


def _paused(ask: Ask, found: Sequence[_One]) -> dict[Way, Stopped]:
    """Those of the providers that somebody paused."""
    stops: dict[Way, Stopped] = {}
    for of in ask.stores.partitions:  # who stops by hand stops in the home too
        stops |= of.breaker.stopped_among([one.id for one in found if of.partition.is_home(one.app)])
    return {id: stopped for id, stopped in stops.items() if stopped.manual}


def _flowing(ask: Ask, app: str | None) -> list[_One]:
    """What a pause of everything is about: all providers that nobody paused yet."""
    found = _all(ask, app)
    if app is not None and not found:
        raise Missing(f"App {app} has no provider.")
    paused = _paused(ask, found)
    return [one for one in found if one.id not in paused]


def _together(ask: Ask, app: str | None) -> list[_One]:
    """What such a pause has paused."""
    found = _all(ask, app)
    paused = _paused(ask, found)
    return [one for one in found if one.id in paused and paused[one.id].reason.endswith(_TOGETHER)]


def _of(app: str | None) -> str:
    return "everything" if app is None else f"everything of app {app}"


def _ask_pause_all(ask: Ask) -> Confirmation:
    app = ask.path.get("app")
    found = _flowing(ask, app)
    consequence = (
        f"{counted(len(found), 'provider')} that nobody paused yet will be: nobody gets a push through them until somebody"
        f" resumes them. {_held_back(ask, found, everything=app is None)} Those that are paused now stay so when you resume"
        " everything."
    )
    typed = "everything" if app is None else ""
    return Confirmation(f"Pause {_of(app)}?", consequence, f"Pause {_of(app)}", ask.back(), str(len(found)), typed)


def _pause_all(ask: Ask, note: str) -> str:
    app = ask.path.get("app")
    found = _flowing(ask, app)
    _for_all(ask, note, "everything paused", app, found)
    for one in found:
        ask.stores.acting.breakers(one.app).stop(one.id, f"{note} ({ask.user.name}) {_TOGETHER}", time.time())
    return f"Paused {_of(app)}: {counted(len(found), 'provider')}"


def _ask_resume_all(ask: Ask) -> Confirmation:
    app = ask.path.get("app")
    found = _together(ask, app)
    consequence = (
        f"{counted(len(found), 'provider')} that were paused together flow again, and what waits for them is sent. Those that"
        " somebody paused one by one stay paused."
    )
    return Confirmation(f"Resume {_of(app)}?", consequence, f"Resume {_of(app)}", ask.back(), str(len(found)))


def _resume_all(ask: Ask, note: str) -> str:
    app = ask.path.get("app")
    found = _together(ask, app)
    _for_all(ask, note, "everything resumed", app, found)
    for one in found:
        ask.stores.acting.breakers(one.app).resume(one.id)
    return f"Resumed {_of(app)}: {counted(len(found), 'provider')}"


def _for_all(ask: Ask, note: str, name: Name, app: str | None, found: list[_One]) -> None:
    """Recorded before the first is changed: a fault in between leaves a trace."""
    providers = [f"{one.app}/{one.name}" for one in found]
    with by_hand(ask.stores.acting, by(ask)) as hand:
        hand.record(name, app=app, detail={"n": len(found), "providers": providers}, note=note)


_ONE: Final = "/apps/{app}/providers/{name}"
ACTS: Final = (
    Act("pause", f"{_ONE}/pause", "operator", _ask_pause, _pause),
    Act("resume", f"{_ONE}/resume", "operator", _ask_resume, _resume),
    Act("probe", f"{_ONE}/probe", "operator", _ask_probe, _probe),
    Act("pause-app", "/apps/{app}/pause", "operator", _ask_pause_all, _pause_all),
    Act("resume-app", "/apps/{app}/resume", "operator", _ask_resume_all, _resume_all),
    Act("pause-everything", "/pause", "operator", _ask_pause_all, _pause_all),
    Act("resume-everything", "/resume", "operator", _ask_resume_all, _resume_all),
)
