"""The devices of a user, and what they got and missed."""

from typing import Final

from worker.dashboard.page import Ask, Invalid, Page, Panel, Values
from worker.database import lookups
from worker.database.people import People
from worker.facts import preferences
from worker.reports import got_and_missed
from worker.reports.push_log import TooMuchError

TIMES: Final = {"1h": 3_600, "24h": 86_400, "7d": 604_800}
#: Devices, lines of history, mutes and messages that are shown.
SHOWN: Final = 50


def show(ask: Ask) -> Values:
    user = ask.query.get("user", "")
    if not user:
        raise Invalid("Of which user? Look for the id in the box above.")
    return {"app": ask.path["app"], "who": user, "range": ask.chosen("range", [*TIMES], "1h")}


def devices(ask: Ask) -> Values:
    app, user, ended = ask.path["app"], ask.query.get("user", ""), ask.query.get("ended") == "1"
    with ask.stores.pool.connection() as db:
        found = lookups.devices_of(db, app, user, SHOWN, ended=ended)
        history = lookups.history(db, [one.id for one in found], SHOWN)
    muted = People(ask.stores.pool).mutes(app, SHOWN, user=user)
    return {
        "app": app,
        "who": user,
        "devices": found,
        "history": history,
        "muted": muted,
        "preferences": preferences.rows_of(ask.stores.pool, app, user, SHOWN),
        "ended": ended,
        "may_change": ask.stores.may_change,
    }


def got(ask: Ask) -> Values:
    app, user, span = ask.path["app"], ask.query.get("user", ""), ask.chosen("range", [*TIMES], "1h")
    here = {"app": app, "who": user, "range": span}
    try:
        history = got_and_missed.of_user(
            *(ask.stores.keyspace, ask.stores.pool, app, [user], ask.now - TIMES[span]),
            secrets=False,
        )
    except TooMuchError:
        return here | {"too_much": True, "happened": (), "more": False, "unexpanded": 0}
    happened = [
        (
            one,
            got_and_missed.reason_of(one),
            [(id, state, got_and_missed.line_of(history, one, id)) for id, state in got_and_missed.states(one).items()],
        )
        for one in history.happened[:SHOWN]
    ]
    return here | {
        "too_much": False,
        "happened": happened,
        "more": history.more or len(history.happened) > SHOWN,
        "unexpanded": history.unexpanded,
    }


PAGE = Page(
    "user",
    "/apps/{app}/user",
    "Devices",
    show,
    panels=[Panel("devices", devices, every=10), Panel("got", got, every=10)],
    under="apps",
)
