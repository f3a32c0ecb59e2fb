"""Fifth stage: who has had their pushes of the day gets none, and the message counts for a digest."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Final

from msgspec.structs import replace

from config import zones
from worker.core.days import APART, Day, day_of
from worker.core.quiet import Quiet, Silence, Silent
from worker.core.rules import OVER_DAILY_CAP, Push, Skip
from worker.database.postgres import Pool
from worker.facts import quiet
from worker.pipeline.expansion.decide import Decided
from worker.state.days import DayPage, Days

_SETTING: Final = Quiet()


def keep_to_days(pool: Pool, days: Days, decided: Sequence[Decided], now: float) -> list[Decided]:
    """The same without those who are over their app's `daily_cap`. `now` in UNIX seconds."""
    capped = {
        n: [push for push in one.decision.pushes if _takes_a_place(one, push)]
        for n, one in enumerate(decided)
        if one.page.message.app.attention.daily_cap is not None
    }
    wanted = {(decided[n].page.message.event.app, push.user) for n, pushes in capped.items() for push in pushes}
    if not wanted:
        return [*decided]
    names = quiet.zones_of(pool, wanted)
    of_zone = {name: day_of(zones.zone(name) or UTC, now) for name in {*names.values(), zones.UTC}}
    day_of_user = {key: of_zone[names.get(key, zones.UTC)] for key in wanted}
    pages = {n: _page(decided[n], pushes, day_of_user) for n, pushes in capped.items() if pushes}
    found = [*decided]
    for n, within in zip(pages, days.count([*pages.values()]), strict=True):
        over = {push.user for push in capped[n]} - within
        if over:
            found[n] = _without(decided[n], over, day_of_user)
    return found


def _takes_a_place(decided: Decided, push: Push) -> bool:
    return push.why not in APART and decided.page.message.event.message.urgency != "urgent"


def _page(decided: Decided, pushes: Sequence[Push], days: Mapping[tuple[str, str], Day]) -> DayPage:
    message = decided.page.message
    app = message.event.app
    return DayPage(
        app,
        message.app.attention.daily_cap or 0,
        message.opened.entry,
        [(push.user, days[app, push.user].name) for push in pushes],
    )


def _without(decided: Decided, over: set[str], days: Mapping[tuple[str, str], Day]) -> Decided:
    app = decided.page.message.event.app
    pushes, skips = decided.decision.pushes, decided.decision.skips
    silences = {
        push.user: Silence(OVER_DAILY_CAP, days[app, push.user].morning, _SETTING, push.verdict.on)
        for push in pushes
        if push.user in over
    }
    decision = replace(
        decided.decision,
        pushes=[push for push in pushes if push.user not in over],
        skips=[*skips, *(Skip(user, OVER_DAILY_CAP) for user in silences)],
    )
    silent = Silent({**decided.silent.refused, OVER_DAILY_CAP: silences}, decided.silent.passed)
    return replace(decided, decision=decision, silent=silent)
