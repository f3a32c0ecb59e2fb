"""Expands what was read elsewhere: banners go from the user's other devices, and all of them show the true number."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from producers.events import ChannelRead
from worker.core.fleet import may_push_to
from worker.core.model import AppSettings, Device
from worker.core.ownership import microseconds
from worker.core.rules import NOT_ALLOWED_HERE, PUSH_OFF, TOO_OLD
from worker.core.taking_back import CLEAR, clear_sending, number_sending
from worker.core.targeted import BADGE_LIFE
from worker.database.audience import Audience
from worker.database.postgres import Pool
from worker.pipeline.apps import Apps
from worker.pipeline.expansion.disclose import hiding
from worker.pipeline.expansion.taking_back import NOTHING_SHOWN, add_jobs, may_be_silent
from worker.pipeline.plan import Plan
from worker.state.journal import DONE, Opened
from worker.state.shown import Reading, Shown, Turn, member


class ReadTarget(NamedTuple):
    """An event, or a second look at one that had to wait."""

    opened: Opened
    event: ChannelRead
    app: AppSettings


class ReadElsewhere:
    """`now` gives UNIX seconds."""

    def __init__(self, pool: Pool, audience: Audience, apps: Apps, shown: Shown, *, now: Callable[[], float]) -> None:
        self._pool, self._audience, self._apps, self._shown, self._now = pool, audience, apps, shown, now

    def plan(self, targets: Sequence[ReadTarget], plan: Plan) -> None:
        if not targets:
            return
        owned = self._audience.reachable({(one.event.app, one.event.user) for one in targets})
        devices = [owned.get(one.event.app, {}).get(one.event.user, []) for one in targets]
        turns = self._shown.read([_reading(one, some) for one, some in zip(targets, devices, strict=True)])
        for target, some, turn in zip(targets, devices, turns, strict=True):
            self._plan(target, some, turn, plan)

    def _plan(self, target: ReadTarget, devices: Sequence[Device], turn: Turn, plan: Plan) -> None:
        opened, event, _ = target
        if (reason := self._refused(target, turn)) is not None:
            plan.refuse(opened, event, reason)
            return
        if turn.wait:
            plan.take_users(opened, event, (), {}, plan.look_again(opened, 0, "clear", turn.wait, [event.user]))
            return
        here = self._apps.token_forms(event.app, event.device)
        others = [one for one in devices if one.token not in here and may_be_silent(self._apps, one)]
        clears = [one for one in others if CLEAR in one.accepts]
        numbers = [one for one in others if CLEAR not in one.accepts and one.id in turn.differing]
        counted = event.unread is not None
        sending = clear_sending(opened.entry, opened.place, event, turn.until, counted=counted)
        hidden = hiding(self._pool, target.app, event.channel.id, {event.user: clears}, self._apps.provider)
        add_jobs(plan, event.app, sending, clears, hidden)
        add_jobs(plan, event.app, number_sending(opened.entry, opened.place, event), numbers, ())
        users = [event.user] if clears or numbers else []
        plan.take(opened, DONE, event, 0, {"considered": len(users), "pushed": users, "skipped": {}})

    def _refused(self, target: ReadTarget, turn: Turn) -> str | None:
        if not may_push_to(target.app, target.event.user):
            return NOT_ALLOWED_HERE
        if not target.app.push_enabled:
            return PUSH_OFF
        if not turn.needed:
            return NOTHING_SHOWN
        return TOO_OLD if self._now() > target.event.at.timestamp() + BADGE_LIFE else None


def _reading(target: ReadTarget, devices: Sequence[Device]) -> Reading:
    event, opened = target.event, target.opened
    until = microseconds(event.until or event.at) // 1000
    unread = "" if event.unread is None else str(event.unread)
    name = member(event.channel.id, event.thread or "", event.user)
    return Reading(event.app, event.user, name, opened.entry, until, unread, [one.id for one in devices])
