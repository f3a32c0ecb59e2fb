"""Expands push to talk: who speaks now, to the phones that have joined the channel.

Whoever has joined wants to hear it, so presence, preferences and quiet times have no say.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from producers.events import PttSpeaking
from worker.core.fleet import may_push_to
from worker.core.model import AppSettings, Device
from worker.core.ownership import microseconds
from worker.core.privacy import FULL
from worker.core.ptt import LIFE, expiration, ptt_sending
from worker.core.purposes import PTT
from worker.core.rules import NOT_ALLOWED_HERE, refusal
from worker.database.audience import Audience
from worker.facts import used
from worker.facts.base import Sources
from worker.pipeline.apps import Apps
from worker.pipeline.expansion.disclose import asked_now, disclose
from worker.pipeline.plan import Plan
from worker.state.journal import Opened
from worker.state.speakers import Speakers

SUPERSEDED: Final = "superseded"
#: Phones of a channel at most. The system makes no larger ones.
MOST: Final = 1_000


class PttTarget(NamedTuple):
    """A beginning of speech, or a second look at one that came too soon after another."""

    opened: Opened
    event: PttSpeaking
    app: AppSettings


class PttExpansion:
    """`now` gives UNIX seconds."""

    def __init__(
        self, sources: Sources, audience: Audience, apps: Apps, state: Speakers, *, now: Callable[[], float]
    ) -> None:
        self._sources, self._audience, self._apps, self._state, self._now = sources, audience, apps, state, now

    def plan(self, found: Sequence[PttTarget], plan: Plan) -> None:
        for target in found:
            self._plan(target, plan)

    def _plan(self, target: PttTarget, plan: Plan) -> None:
        opened, event, app = target
        key = (app.name, event.channel.id)
        ends = expiration(opened.entry, event) + (LIFE if opened.look else 0)
        reason = refusal(app, ends, self._now())
        if reason is None and not self._state.note(*key, microseconds(event.at)):
            reason = SUPERSEDED
        if reason is None and not self._state.may_send(*key, event.id):
            if not opened.look:
                # The newest of those who begin meanwhile is sent when the seconds are over.
                plan.look_again(opened, 0, "ptt", LIFE, [event.speaker.id])
                plan.take_users(opened, event, (), {})
                return
            reason = SUPERSEDED
        if reason is not None:
            plan.refuse(opened, event, reason)
            return
        self._send(target, ends, plan)

    def _send(self, target: PttTarget, ends: int, plan: Plan) -> None:
        opened, event, app = target
        devices = self._devices(app.name, event)
        theirs: defaultdict[str, list[Device]] = defaultdict(list)
        for one in devices:
            theirs[one.user].append(one)
        elsewhere = [user for user in theirs if not may_push_to(app, user)]
        for user in elsewhere:
            del theirs[user]
        pushed = list(theirs)
        of_app = used.of_app(self._sources.pool, app.name)
        asked = asked_now(self._sources.pool, app, of_app, event.channel.id, pushed)
        disclosures = disclose(asked, theirs, self._apps.provider, sealed_only=False).disclosures
        for named in (True, False):
            some = [
                one
                for user in pushed
                for one in theirs[user]
                if (disclosures.get(one.id, FULL).form in ("full", "sender")) is named
            ]
            plan.counts[app.name]["jobs"] += len(some)
            plan.add_jobs(app.name, "urgent", ptt_sending(opened.entry, opened.place, event, ends, named=named), some)
        plan.take_users(opened, event, pushed, {NOT_ALLOWED_HERE: elsewhere} if elsewhere else {})

    def _devices(self, app: str, event: PttSpeaking) -> list[Device]:
        if event.recipients is None:
            found = self._audience.of_members(app, event.channel.id, PTT, MOST)
        else:
            of_app = self._audience.for_purposes({(app, user) for user in event.recipients}, [PTT]).get(app, {})
            found = [one for some in of_app.values() for one in some][:MOST]
        return [
            one for one in found if one.user != event.speaker.id and self._apps.provider(one.provider_id) is not None
        ]
