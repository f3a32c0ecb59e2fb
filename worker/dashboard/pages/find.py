"""The search: an event's or message's id, a user, or a device's number."""

from typing import Any, Final
from urllib.parse import quote, urlencode

from worker.dashboard.page import Ask, Elsewhere, Missing, Page, Values
from worker.database import lookups
from worker.reports.words import counted

#: Hits of each kind that are listed.
SHOWN: Final = 50
#: Digits of the largest device's number.
_DIGITS: Final = 18


def show(ask: Ask) -> Values:
    wanted = ask.query.get("q", "").strip()
    if not wanted:
        return {"wanted": "", "events": (), "users": (), "device": None}
    with ask.stores.pool.connection() as db:
        apps = [app for (app,) in db.execute("SELECT name FROM carillon.apps ORDER BY name").fetchall()]
        events = lookups.events_named(db, apps, wanted, SHOWN)
        users = lookups.users_named(db, apps, wanted)[:SHOWN]
        number = wanted.isascii() and wanted.isdigit() and len(wanted) <= _DIGITS
        device = lookups.device(db, int(wanted)) if number else None
    addresses = [_why(one.app, one.event) for one in events] + [_user(app, wanted) for app, _ in users]
    if device is not None and device.user is not None:
        addresses.append(_user(device.app, device.user))
    if len(addresses) == 1:
        raise Elsewhere(addresses[0])
    if not addresses:
        days = ask.stores.settings.message_retention_days
        raise Missing(
            f"Nothing is known of ‘{wanted}’. Ids are exact. Looked in: events and messages of the last {days} days,"
            f" users and devices of {'all ' if len(apps) > 1 else ''}{counted(len(apps), 'app')}."
        )
    found: dict[str, Any] = {"wanted": wanted, "events": events, "users": users, "device": device}
    return found


def _why(app: str, event: str) -> str:
    return f"/why?{urlencode({'app': app, 'event': event})}"


def _user(app: str, user: str) -> str:
    return f"/apps/{quote(app, safe='')}/user?{urlencode({'user': user})}"


PAGE = Page("find", "/find", "Search", show, under="log")
