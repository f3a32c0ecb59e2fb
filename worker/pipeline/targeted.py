"""Expands pushes to devices rather than to a channel: pushes to a query, page by page, and badge updates.

Of the rules for chat messages only the app's switch, the expiry and quiet time apply, not presence, mutes or channels.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from producers.events import BadgeCleared, PushSend
from worker.core.batch import Sending
from worker.core.fleet import may_push_to
from worker.core.model import AppSettings, Device
from worker.core.quiet import silence
from worker.core.rules import NOT_ALLOWED_HERE, PAUSED, QUIET, refusal
from worker.core.targeted import badge_sending, expiration, purposes_of, push_sending
from worker.database.audience import Audience, PageTooSlowError
from worker.database.postgres import Pool
from worker.facts import quiet, used
from worker.pipeline.plan import Plan
from worker.state.journal import DONE, Opened

log = logging.getLogger(__name__)

#: The cursor of a push that has not begun.
BEGINNING: Final = "[0,0]"
#: Devices that are looked at for a page, where no index finds those that match.
SPAN: Final = 50_000
_LEAST_SPAN: Final = 90

_NOBODY: Final[Mapping[str, str]] = {}


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a push stands."""

    page: int
    #: The last device considered; the page begins after it.
    after: int
    #: See `Audience.page`.
    span: int = 0


class Target(NamedTuple):
    """An event to expand from its cursor on. That of a cleared badge has the ids of the devices to tell."""

    opened: Opened
    event: BadgeCleared | PushSend
    app: AppSettings


class Targeted:
    """`now` gives UNIX seconds."""

    def __init__(self, pool: Pool, audience: Audience, *, page: int, now: Callable[[], float]) -> None:
        self._pool, self._audience, self._page, self._now = pool, audience, page, now

    def plan(self, targets: Sequence[Target], plan: Plan) -> None:
        """Takes each event one page further."""
        if not targets:
            return
        cleared = {(t.event.app, t.event.user) for t in targets if isinstance(t.event, BadgeCleared)}
        owned = self._audience.reachable(cleared)
        for target in targets:
            if isinstance(target.event, PushSend):
                self._push(target, target.event, plan)
            else:
                self._badge(target, target.event, owned.get(target.event.app, {}).get(target.event.user, ()), plan)

    def _push(self, target: Target, event: PushSend, plan: Plan) -> None:
        cursor = msgspec.json.decode(target.opened.cursor, type=_Cursor)
        page = cursor.page
        if (reason := refusal(target.app, expiration(event, target.app.max_age), self._now())) is not None:
            plan.refuse(target.opened, event, reason, page)
            return
        try:
            purposes = purposes_of(event)
            found = self._audience.page(
                event.app, event.where, cursor.after, self._page, span=cursor.span, purposes=purposes
            )
        except PageTooSlowError:
            self._narrow(target, cursor, plan)
            return
        following = DONE if found.end is None else _text(_Cursor(page + 1, found.end, cursor.span))
        plan.counts[event.app]["targeted"] += page == 0
        sending = push_sending(target.opened.entry, target.opened.place, event, target.app.max_age)
        silent = self._silent(event, target.app, found.devices) if _respects_quiet(event) else _NOBODY
        self._send(target, sending, [device for device in found.devices if device.user not in silent], plan)
        account = _account(target.app, found.devices, silent)
        for reason in {PAUSED, QUIET} & account["skipped"].keys():
            plan.counts[event.app][f"skipped.{reason}"] += len(account["skipped"][reason])
        plan.take(target.opened, following, event, page, account)

    def _silent(self, event: PushSend, app: AppSettings, devices: Sequence[Device]) -> Mapping[str, str]:
        """For whom of the devices' users it is quiet, and why."""
        if not app.attention.quiet and quiet.QUIET.name not in used.of_app(self._pool, app.name):
            return _NOBODY
        found = quiet.read(self._pool, {app.name: app.attention}, {(app.name, device.user) for device in devices})
        now = self._now()
        silences = ((user, silence(setting, now)) for (_, user), setting in found.items())
        return {user: one.reason for user, one in silences if one is not None}

    def _narrow(self, target: Target, cursor: _Cursor, plan: Plan) -> None:
        """The same page is looked for among fewer devices, the next time that it is the push's turn."""
        span = cursor.span // 8 or SPAN
        if cursor.span and span < _LEAST_SPAN:
            raise PageTooSlowError
        log.info("audience takes long, it is walked in parts", extra={"app": target.event.app, "span": span})
        plan.steps.append(target.opened.step(_text(_Cursor(cursor.page, cursor.after, span))))
        plan.unfinished += 1

    def _badge(self, target: Target, event: BadgeCleared, owned: Sequence[Device], plan: Plan) -> None:
        shown = set(msgspec.json.decode(target.opened.cursor, type=list[int]))
        sending = badge_sending(target.opened.entry, target.opened.place, event)
        devices = [device for device in owned if device.id in shown]
        if (reason := refusal(target.app, sending.expires_at, self._now())) is not None:
            plan.refuse(target.opened, event, reason)
            return
        plan.counts[event.app]["badges_told"] += len(devices)
        self._send(target, sending, devices, plan)
        plan.take(target.opened, DONE, event, 0, _account(target.app, devices))

    def _send(self, target: Target, sending: Sending, devices: Sequence[Device], plan: Plan) -> None:
        devices = [device for device in devices if may_push_to(target.app, device.user)]
        plan.counts[target.event.app]["jobs"] += len(devices)
        plan.add_jobs(target.event.app, "bulk", sending, devices)


def _text(cursor: _Cursor) -> str:
    return msgspec.json.encode(cursor).decode()


def _respects_quiet(event: PushSend) -> bool:
    """Unless it says otherwise, only a notification does: pushes of other types make no sound, or are calls."""
    return event.push_type == "alert" if event.respect_quiet is None else event.respect_quiet


def _account(app: AppSettings, devices: Sequence[Device], silent: Mapping[str, str] = _NOBODY) -> dict[str, Any]:
    """`silent`: why users are left out."""
    pushed: list[str] = []
    skipped: dict[str, list[str]] = {}
    users = dict.fromkeys(device.user for device in devices)
    for user in users:
        reason = silent.get(user) if may_push_to(app, user) else NOT_ALLOWED_HERE
        (pushed if reason is None else skipped.setdefault(reason, [])).append(user)
    return {"considered": len(users), "pushed": pushed, "skipped": skipped}
