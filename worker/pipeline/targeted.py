"""Expands pushes to devices rather than to a channel: pushes to a query, page by page, and badge updates.

Of the rules for chat messages only the app's switch and the expiry apply, not presence, mutes or channels.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from producers.events import BadgeCleared, PushSend
from worker.core.batch import Sending
from worker.core.fleet import may_push_to
from worker.core.model import AppSettings, Device
from worker.core.rules import NOT_ALLOWED_HERE, PUSH_OFF, TOO_OLD
from worker.core.targeted import badge_sending, expiration, purposes_of, push_sending
from worker.database.audience import Audience, PageTooSlowError
from worker.pipeline.plan import Plan
from worker.state.journal import DONE, Opened

log = logging.getLogger(__name__)

#: The cursor of a push that has not begun.
BEGINNING: Final = "[0,0]"
#: Devices that are looked at for a page, where no index finds those that match.
SPAN: Final = 50_000
_LEAST_SPAN: Final = 90


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

    def __init__(self, audience: Audience, *, page: int, now: Callable[[], float]) -> None:
        self._audience, self._page, self._now = audience, page, now

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
        if (reason := self._refused(target.app, expiration(event, target.app.max_age))) is not None:
            plan.counts[event.app][f"skipped_message.{reason}"] += 1
            plan.take(target.opened, DONE, event, page, {"message": reason})
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
        self._send(target, sending, found.devices, plan)
        plan.take(target.opened, following, event, page, _account(target.app, found.devices))

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
        if (reason := self._refused(target.app, sending.expires_at)) is not None:
            plan.counts[event.app][f"skipped_message.{reason}"] += 1
            plan.take(target.opened, DONE, event, 0, {"message": reason})
            return
        plan.counts[event.app]["badges_told"] += len(devices)
        self._send(target, sending, devices, plan)
        plan.take(target.opened, DONE, event, 0, _account(target.app, devices))

    def _refused(self, app: AppSettings, expires_at: int) -> str | None:
        if app.only_to == ():
            return NOT_ALLOWED_HERE
        if not app.push_enabled:
            return PUSH_OFF
        return TOO_OLD if self._now() > expires_at else None

    def _send(self, target: Target, sending: Sending, devices: Sequence[Device], plan: Plan) -> None:
        devices = [device for device in devices if may_push_to(target.app, device.user)]
        plan.counts[target.event.app]["jobs"] += len(devices)
        plan.add_jobs(target.event.app, "bulk", sending, devices)


def _text(cursor: _Cursor) -> str:
    return msgspec.json.encode(cursor).decode()


def _account(app: AppSettings, devices: Sequence[Device]) -> dict[str, Any]:
    users = list(dict.fromkeys(device.user for device in devices))
    pushed = [user for user in users if may_push_to(app, user)]
    elsewhere = [user for user in users if not may_push_to(app, user)]
    return {
        "considered": len(users),
        "pushed": pushed,
        "skipped": {NOT_ALLOWED_HERE: elsewhere} if elsewhere else {},
    }
