"""Expands calls: who is called, on which devices, what they show when it has ended, and who has missed it.

A call asks the rules for people, but not presence, bursts or caps. Nothing of it is older than the call: what cannot be sent in
time is dropped.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, cast

from producers.events import CallEnded, CallName, CallStarted
from producers.fields import Privacy
from worker.core import calls, second_look
from worker.core.batch import Sending
from worker.core.calls import (
    CALL,
    ENDED,
    MISSED,
    Call,
    Kind,
    Targets,
    alert_sending,
    as_message,
    expiration,
    targets,
    voip_sending,
)
from worker.core.missed import missed_call
from worker.core.model import AppSettings, Device
from worker.core.preferences import judge_calls
from worker.core.privacy import FULL, Disclosure
from worker.core.purposes import ALERT, VOIP
from worker.core.quiet import Quiet, Silent, silent
from worker.core.rules import (
    CALL_RULES,
    Case,
    Decision,
    Skip,
    decide_page,
    refusal,
)
from worker.database.audience import Audience
from worker.facts import preferences, used
from worker.facts.base import Candidates, Sources
from worker.facts.mutes import MUTES
from worker.facts.preferences import Said
from worker.facts.quiet import QUIET
from worker.pipeline.apps import Apps
from worker.pipeline.expansion.disclose import asked_now, disclose
from worker.pipeline.plan import Plan
from worker.state.calls import CallKey, Calls, End, Known
from worker.state.journal import Opened

# Why a whole event makes no push.
ALREADY_STARTED: Final = "call_already_started"
ALREADY_ENDED: Final = "call_already_ended"
NOT_STARTED: Final = "call_not_started"
#: Seconds after its end at which a call that nobody ended is missed: an end that was published in time is known by then.
_GRACE: Final = 1.0
#: Seconds after the end of a call for which it is worth telling.
_WORTH: Final = 600


class CallTarget(NamedTuple):
    """An event of a call, or a second look at one that began."""

    opened: Opened
    event: CallStarted | CallEnded
    app: AppSettings


class _Found(NamedTuple):
    """The devices of each user, and what may be read on the way to those for which that is not all."""

    devices: Mapping[str, Sequence[Device]]
    disclosures: Mapping[int, Disclosure]
    silent: Silent

    def of(self, device: Device) -> Disclosure:
        return self.disclosures.get(device.id, FULL)

    def targets(self, user: str) -> Targets:
        """What is sealed goes to the token for alerts, whose extension opens it."""
        return targets(one for one in self.devices[user] if one.purpose == ALERT or self.of(one).mode != "sealed")


class CallExpansion:
    """`now` gives UNIX seconds."""

    def __init__(
        self,
        sources: Sources,
        audience: Audience,
        apps: Apps,
        state: Calls,
        *,
        now: Callable[[], float],
    ) -> None:
        self._sources, self._audience, self._apps, self._state, self._now = sources, audience, apps, state, now

    def plan(self, found: Sequence[CallTarget], plan: Plan) -> None:
        for target in found:
            if isinstance(target.event, CallEnded):
                self._end(target, target.event, plan)
            elif target.opened.look:
                self._miss(target, target.event, plan)
            else:
                self._begin(target, target.event, plan)

    def _begin(self, target: CallTarget, event: CallStarted, plan: Plan) -> None:
        opened, app = target.opened, target.app
        if (reason := refusal(app, expiration(event), self._now())) is not None:
            plan.refuse(opened, target.event, reason)
            return
        call = Call(opened.entry, opened.place, event)
        known = self._state.begin(_key(event), event.id, calls.encode(call))
        if known.by != event.id:
            plan.refuse(opened, target.event, ALREADY_STARTED)
            return
        decision, found = self._decide(call, app, event.recipients, known)
        for push in decision.pushes:
            of = found.targets(push.user)
            _add(plan, target, [*_alerts(target, call, CALL, of.alert, found), *_voips(call, of.voip, found)])
        if app.attention.missed and decision.pushes:
            delay = max(0.0, call.expires_at + _GRACE - self._now())
            plan.look_again(opened, 0, "missed_call", delay, [push.user for push in decision.pushes])
        spread = app.attention.digest_spread
        plan.missed += missed_call(as_message(event), call.place, decision.skips, found.silent, spread)
        _take(target, decision, plan)

    def _end(self, target: CallTarget, event: CallEnded, plan: Plan) -> None:
        opened, app = target.opened, target.app
        known = self._state.end(_key(event), event.user or "", End(event.reason, event.id))
        if not known.document:
            plan.refuse(opened, target.event, NOT_STARTED)
        elif known.ended[event.user or ""].by != event.id:
            plan.refuse(opened, target.event, ALREADY_ENDED)
        elif (reason := refusal(app, event.at.timestamp() + _WORTH, self._now())) is not None:
            plan.refuse(opened, target.event, reason)
        else:
            call = calls.decode(known.document)._replace(entry=opened.entry, place=opened.place)
            self._tell(target, call, event, known, plan)

    def _miss(self, target: CallTarget, event: CallStarted, plan: Plan) -> None:
        """Nobody ended the call in time."""
        opened = target.opened
        known = self._state.end(_key(event), "", End("missed", f"{event.id}/{opened.look}"))
        ended = CallEnded(id=event.id, app=event.app, at=event.at, call=CallName(id=event.call.id), reason="missed")
        call = Call(opened.entry, opened.place, event)
        if (reason := refusal(target.app, call.expires_at + _WORTH, self._now())) is not None:
            plan.refuse(opened, target.event, reason)
        elif known.ended[""].by.partition("/")[0] != event.id:
            plan.refuse(opened, target.event, ALREADY_ENDED)
        else:
            self._tell(target, call, ended, known, plan)

    def _tell(self, target: CallTarget, call: Call, ended: CallEnded, known: Known, plan: Plan) -> None:
        """What the end of a call is on the screens that showed it. Who answered on this phone knows."""
        app = target.app
        users = second_look.decode(target.opened.cursor).users if target.opened.look else call.event.recipients
        over = {user for user, end in known.ended.items() if end.by.partition("/")[0] != ended.id}
        asked = [user for user in users if user not in over and ended.user in (None, user)]
        kind = calls.outcome(ended.reason, tells_missed=app.attention.missed)
        decision, found = self._decide(call, app, asked, Known())
        forms = self._apps.token_forms(ended.app, ended.device)
        for push in decision.pushes:
            of, here = found.targets(push.user), _phone(found.devices[push.user], forms)
            alert = [*of.alert, *of.siblings] if kind == MISSED and ended.reason == "missed" else of.alert
            _add(plan, target, _alerts(target, call, kind, (one for one in alert if one.id not in here), found, ended))
            if app.attention.cancel_by_voip:
                _add(plan, target, _voips(call, (one for one in of.voip if one.id not in here), found, ended))
        _take(target, decision, plan)

    def _decide(self, call: Call, app: AppSettings, users: Sequence[str], known: Known) -> tuple[Decision, _Found]:
        """Who of these gets a push, and on which devices."""
        message = as_message(call.event)
        candidates = list(dict.fromkeys(users))
        over = [user for user in candidates if known.ended_for(user) is not None]
        of_app = used.of_app(self._sources.pool, app.name)
        some = [user for user in candidates if user not in over]
        asked = [Candidates(message, app, call.place, some, used=of_app)]
        facts = {fact.name: fact.read(self._sources, asked).get(0, {}) for fact in (MUTES, QUIET)}
        devices = {
            user: [one for one in theirs if self._apps.provider(one.provider_id) is not None]
            for user, theirs in self._audience.for_purposes({(app.name, user) for user in some}, (ALERT, VOIP))
            .get(app.name, {})
            .items()
        }
        privacy = asked_now(self._sources.pool, app, of_app, message.channel.id, some)
        disclosed = disclose(privacy, devices, self._apps.provider, sealed_only=app.attention.sealed_only)
        said: Mapping[str, Said] = {}
        if "preferences" in of_app:
            said = preferences.read(self._sources.pool, {0: (message, some)}).get(0, {})
        case = Case(
            *(message, app),
            verdicts=judge_calls({user: one.rows for user, one in said.items()}, self._now()),
            facts=facts,
            devices=disclosed.devices,
            unreachable=[user for user, theirs in devices.items() if not theirs],
            silent=silent(cast("Mapping[str, Quiet]", facts[QUIET.name]), message, lambda _: (CALL,), self._now()),
            keyless=disclosed.keyless,
        )
        decision = decide_page(some, case, cap_left=None, rules=CALL_RULES)
        skips = [*decision.skips, *(Skip(user, ENDED) for user in over)]
        return Decision(decision.pushes, skips), _Found(disclosed.devices, disclosed.disclosures, case.silent)


def _key(event: CallStarted | CallEnded) -> CallKey:
    return event.app, event.call.id.lower()


def _alerts(
    target: CallTarget,
    call: Call,
    kind: Kind,
    devices: Iterable[Device],
    found: "_Found",
    ended: CallEnded | None = None,
) -> Iterator[tuple[Sending, Sequence[Device]]]:
    groups: defaultdict[tuple[str | None, Disclosure], list[Device]] = defaultdict(list)
    for device in devices:
        groups[device.locale, found.of(device)].append(device)
    for (locale, disclosure), some in groups.items():
        yield alert_sending(call, kind, locale, disclosure, ended, pad=target.app.attention.pad), some


def _voips(
    call: Call, devices: Iterable[Device], found: "_Found", ended: CallEnded | None = None
) -> Iterator[tuple[Sending, Sequence[Device]]]:
    groups: defaultdict[Privacy, list[Device]] = defaultdict(list)
    for device in devices:
        groups[found.of(device).form].append(device)
    for form, some in groups.items():
        yield voip_sending(call, form, ended), some


def _phone(devices: Sequence[Device], tokens: Collection[str]) -> set[int]:
    """The devices with one of these tokens, and those of the same phone."""
    named = [one for one in devices if one.token in tokens]
    phones = {one.installation for one in named} - {""}
    return {one.id for one in devices if one in named or one.installation in phones}


def _add(plan: Plan, target: CallTarget, found: Iterable[tuple[Sending, Sequence[Device]]]) -> None:
    for sending, devices in found:
        plan.counts[target.app.name]["jobs"] += len(devices)
        plan.add_jobs(target.app.name, "urgent", sending, devices, CALL)


def _take(target: CallTarget, decision: Decision, plan: Plan) -> None:
    skipped: defaultdict[str, list[str]] = defaultdict(list)
    for skip in decision.skips:
        skipped[skip.reason].append(skip.user)
    plan.take_users(target.opened, target.event, [push.user for push in decision.pushes], skipped)
