"""Expands updates of Live Activities: to the tokens of the activity, or to those that start one."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from producers.events import ActivityUpdated
from worker.core import second_look
from worker.core.activities import LOOKS, activity_sending, expiration, purpose_of, wants_urgent
from worker.core.broadcast import recipient, stand_in
from worker.core.fleet import may_push_to
from worker.core.model import AppSettings, Device
from worker.core.ownership import microseconds
from worker.core.refusal import Refused
from worker.core.rules import NOT_ALLOWED_HERE, refusal
from worker.database.audience import Audience
from worker.pipeline.apps import Apps
from worker.pipeline.plan import Plan
from worker.pipeline.provider_choice import choose_broadcaster
from worker.state.activities import Activities
from worker.state.journal import Opened

# Reasons of users.
NO_DEVICE: Final = "no_device"
SUPERSEDED: Final = "superseded"
BUDGET: Final = "budget"
# Reason of an update.
NO_PROVIDER: Final = "no_provider"


class ActivityTarget(NamedTuple):
    """An update, or a second look at one whose activity had no token yet."""

    opened: Opened
    event: ActivityUpdated
    app: AppSettings


class ActivityExpansion:
    """`now` gives UNIX seconds."""

    def __init__(self, audience: Audience, apps: Apps, state: Activities, *, now: Callable[[], float]) -> None:
        self._audience, self._apps, self._state, self._now = audience, apps, state, now

    def plan(self, found: Sequence[ActivityTarget], plan: Plan) -> None:
        for target in found:
            self._plan(target, plan)

    def _plan(self, target: ActivityTarget, plan: Plan) -> None:
        opened, event, app = target
        if (reason := refusal(app, expiration(event), self._now())) is not None:
            plan.refuse(opened, event, reason)
            return
        if event.channel is not None:
            self._broadcast(target, event.channel, plan)
            return
        users = second_look.decode(opened.cursor).users if opened.look else _users(event)
        reasons = {user: NOT_ALLOWED_HERE for user in users if not may_push_to(app, user)}
        if event.event != "start":
            left = [user for user in users if user not in reasons]
            newer = self._state.note(app.name, event.activity, left, microseconds(event.at))
            reasons |= dict.fromkeys(newer, SUPERSEDED)
        devices = self._devices(target, [user for user in users if user not in reasons])
        without = [user for user in users if user not in devices and user not in reasons]
        delayed = self._look_again(target, without, plan)
        if not delayed:
            reasons |= dict.fromkeys(without, NO_DEVICE)
        if event.event == "start":
            over = self._state.over_budget(app.name, devices, event.id, self._now())
            reasons |= dict.fromkeys(over, BUDGET)
        pushed = [user for user in users if user in devices and user not in reasons]
        self._send(target, [device for user in pushed for device in devices[user]], plan)
        skipped: defaultdict[str, list[str]] = defaultdict(list)
        for user, reason in reasons.items():
            skipped[reason].append(user)
        plan.take_users(opened, event, pushed, skipped, delayed)

    def _broadcast(self, target: ActivityTarget, channel: str, plan: Plan) -> None:
        """One request for all phones whose app subscribed to the channel."""
        opened, event, app = target
        if app.only_to is not None:  # nobody knows whom a channel reaches
            plan.refuse(opened, event, NOT_ALLOWED_HERE)
            return
        try:
            provider = choose_broadcaster(event, self._apps.providers_of(app.name))
        except Refused:  # removed since intake took it
            plan.refuse(opened, event, NO_PROVIDER)
            return
        whom = recipient(channel)
        newer = self._state.note(app.name, event.activity, [whom], microseconds(event.at))
        pushed = [] if newer else [whom]
        self._send(target, [stand_in(provider, channel)] if pushed else [], plan)
        plan.take_users(opened, event, pushed, {SUPERSEDED: list(newer)} if newer else {})

    def _devices(self, target: ActivityTarget, users: Sequence[str]) -> dict[str, list[Device]]:
        event, app = target.event, target.app.name
        activity = None if event.event == "start" else event.activity
        found = self._audience.for_purposes({(app, user) for user in users}, [purpose_of(event)], activity)
        devices = {
            user: [one for one in some if self._apps.provider(one.provider_id) is not None]
            for user, some in found.get(app, {}).items()
        }
        return {user: some for user, some in devices.items() if some}

    def _look_again(self, target: ActivityTarget, users: Sequence[str], plan: Plan) -> Mapping[str, Any]:
        """The app may be about to register the activity's token. Returns what the account says of whom it is looked for."""
        opened = target.opened
        looks: int = second_look.decode(opened.cursor).extra if opened.look else 0
        if not users or target.event.event == "start" or looks == len(LOOKS):
            return {}
        return plan.look_again(opened, 0, "activity", LOOKS[looks], users, looks + 1)

    def _send(self, target: ActivityTarget, devices: Sequence[Device], plan: Plan) -> None:
        opened, event, app = target
        if not devices:
            return
        urgent = wants_urgent(event) and self._state.may_be_urgent(app.name, event.activity, event.id)
        plan.counts[app.name]["jobs"] += len(devices)
        sending = activity_sending(opened.entry, opened.place, event, urgent=urgent)
        plan.add_jobs(app.name, "urgent", sending, devices)


def _users(event: ActivityUpdated) -> list[str]:
    if event.user is None:
        return []
    return [event.user] if isinstance(event.user, str) else list(dict.fromkeys(event.user.any_of))
