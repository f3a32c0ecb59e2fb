"""Expands deletions: what may be shown of the message goes, or is replaced, as the app's `retract` says."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from producers.events import MessageDeleted
from worker.core.entry import ms_of
from worker.core.fleet import may_push_to
from worker.core.folding import folds_any
from worker.core.model import AppSettings, Device
from worker.core.rules import refusal
from worker.core.taking_back import CLEAR, REPLACED, replacing_sending, retract_sending
from worker.core.targeted import BADGE_LIFE
from worker.database.accepted import Accepted, accepted
from worker.database.audience import Audience
from worker.facts.base import Sources
from worker.pipeline.apps import Apps
from worker.pipeline.expansion.disclose import hiding
from worker.pipeline.expansion.taking_back import NOTHING_SHOWN, add_jobs, may_be_silent
from worker.pipeline.plan import Plan
from worker.state import presence
from worker.state.journal import DONE, Opened
from worker.state.presence import Markers

#: Seconds after a deletion at which it is known by whom the message was accepted: the ledger is written each second.
AFTER: Final = 3.0
#: Why what is shown stays.
NOT_TAKEN_BACK: Final = "not_taken_back"


class DeletionTarget(NamedTuple):
    opened: Opened
    event: MessageDeleted
    app: AppSettings


class Retraction:
    """`now` gives UNIX seconds."""

    def __init__(self, sources: Sources, audience: Audience, apps: Apps, *, now: Callable[[], float]) -> None:
        self._sources, self._audience, self._apps, self._now = sources, audience, apps, now

    def plan(self, targets: Sequence[DeletionTarget], plan: Plan) -> None:
        for target in targets:
            self._plan(target, plan)

    def _plan(self, target: DeletionTarget, plan: Plan) -> None:
        opened, event, app = target
        shown: list[Accepted] = []
        if (reason := self._refused(target)) is None:
            shown = accepted(self._sources.pool, event.app, event.channel.id, event.message.id, besides=event.id)
            reason = None if shown else NOTHING_SHOWN
        if reason is not None:
            plan.refuse(opened, event, reason)
            return
        devices = self._devices(target, shown)
        by_user: defaultdict[str, list[Device]] = defaultdict(list)
        for one in devices:
            by_user[one.user].append(one)
        secret = hiding(self._sources.pool, app, event.channel.id, by_user, self._apps.provider)
        clears = [one for one in devices if CLEAR in one.accepts and may_be_silent(self._apps, one)]
        retract = retract_sending(opened.entry, opened.place, event)
        add_jobs(plan, event.app, retract, clears, secret)
        cleared = {one.id for one in clears}
        others = self._replaced(target, shown, [one for one in devices if one.id not in cleared])
        replacing = replacing_sending(opened.entry, opened.place, event)
        add_jobs(plan, event.app, replacing, others, secret)
        users = list(dict.fromkeys(one.user for one in (*clears, *others)))
        plan.take(opened, DONE, event, 0, {"considered": len(users), "pushed": users, "skipped": {}})

    def _refused(self, target: DeletionTarget) -> str | None:
        if target.app.push_enabled and target.app.attention.retract == "off":
            return NOT_TAKEN_BACK
        return refusal(target.app, target.event.at.timestamp() + BADGE_LIFE, self._now())

    def _devices(self, target: DeletionTarget, shown: Sequence[Accepted]) -> list[Device]:
        """Those that still belong to whom the message was shown."""
        app = target.event.app
        by = {one.device: one.user for one in shown if may_push_to(target.app, one.user)}
        owned = self._audience.reachable({(app, user) for user in by.values()}).get(app, {})
        return [one for some in owned.values() for one in some if by.get(one.id) == one.user]

    def _replaced(self, target: DeletionTarget, shown: Sequence[Accepted], devices: Sequence[Device]) -> list[Device]:
        """Those that got it just before, and whose users have not read it: a banner that was swiped away comes back.

        A folded notification stands for other messages too, and stays.
        """
        app, event = target.app, target.event
        if app.attention.retract != "replace" or folds_any(app) or not devices:
            return []
        since = (ms_of(target.opened.entry) // 1000 - REPLACED) * 1000
        young = {one.device: one.written for one in shown if one.at >= since}
        users = list(dict.fromkeys(one.user for one in devices))
        [read] = presence.marked(
            self._sources.partition.any_slot, [Markers(presence.marker(event.app, event.channel.id), users)]
        )
        return [one for one in devices if one.id in young and read.get(one.user, 0) < max(1, young[one.id])]
