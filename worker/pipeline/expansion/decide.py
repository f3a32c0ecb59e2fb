"""Third stage: facts and devices of the candidates are read for all messages, and the rules decide about each."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec

from producers.events import MessageNew
from worker.core.keywords import called_by
from worker.core.model import Device
from worker.core.preferences import PLAIN, Verdicts, common_rows, judge_all
from worker.core.privacy import Disclosure, strictest
from worker.core.quiet import NOBODY, Quiet, Silent, silent
from worker.core.rules import RULES, Case, Decision, Rule, Rules, decide_page
from worker.core.second_look import SecondLook
from worker.core.taking_back import EDIT
from worker.core.triggers import PLAIN as PLAIN_TRIGGERS
from worker.core.triggers import Triggers, triggers
from worker.database.audience import Audience, UserKey
from worker.facts import FACTS, preferences
from worker.facts.base import CandidateFact, CandidateFacts, Candidates, Fact, Sources
from worker.facts.preferences import Said
from worker.facts.quiet import QUIET
from worker.pipeline.apps import Apps
from worker.pipeline.expansion.disclose import Asked, Disclosed, asks, disclose
from worker.pipeline.expansion.read import CandidatePage

_NO_FACTS: Final[Mapping[str, Collection[str]]] = {}
_NOTHING_SAID: Final[Mapping[str, Said]] = {}
_NO_DEVICES: Final[Mapping[str, Sequence[Device]]] = {}
_ALL: Final[Mapping[int, Disclosure]] = {}


class Quieted(NamedTuple):
    """How a push is quieter than it would be."""

    sound: bool = True
    #: How many messages of its channel it stands for, where it is folded; 0: it is not.
    stands_for: int = 0
    #: UNIX seconds at which it is shown with others; 0: at once.
    due: float = 0.0


_NOT_QUIETED: Final[Mapping[str, Quieted]] = {}


class Decided(msgspec.Struct, frozen=True):
    """A page of candidates, and what the rules say of each."""

    page: CandidatePage
    decision: Decision
    #: By user who is notified, where their app quietens some.
    quieted: Mapping[str, Quieted] = _NOT_QUIETED
    silent: Silent = NOBODY
    #: Active devices of each candidate that has any.
    devices: Mapping[str, Sequence[Device]] = _NO_DEVICES
    #: By device, how much of the message may be read on its way; all of it for one that is missing.
    disclosures: Mapping[int, Disclosure] = _ALL


class ReadEarly(NamedTuple):
    """Users (app, id) whose active devices were read before it was known who is notified, and these, by app and user."""

    users: Collection[UserKey] = ()
    devices: Mapping[str, Mapping[str, Sequence[Device]]] = {}


class _OfApp(msgspec.Struct, frozen=True):
    """What is known of an app's candidates."""

    #: By user.
    devices: Mapping[str, Sequence[Device]]
    #: Users all of whose devices have lost their provider.
    unreachable: Collection[str]
    #: Whether a device asks for a mode of its own.
    asking: bool


_NOT_READ: Final = ReadEarly()
_NOBODY: Final = _OfApp(_NO_DEVICES, (), asking=False)


class Decider:
    def __init__(
        self,
        sources: Sources,
        devices: Audience,
        apps: Apps,
        *,
        facts: Sequence[Fact[Any]] = FACTS,
        rules: Sequence[Rule] = RULES,
    ) -> None:
        self._sources, self._devices, self._apps, self._rules = sources, devices, apps, Rules(rules)
        self._facts = [fact for fact in facts if isinstance(fact, CandidateFact)]
        self._several = [fact for fact in facts if isinstance(fact, CandidateFacts)]

    def decide(self, pages: Sequence[CandidatePage], now: float, early: ReadEarly = _NOT_READ) -> list[Decided]:
        """`now` in UNIX seconds."""
        said = self._said(pages)
        keyword = {n: _called_by(pages[n], users) for n, users in said.items()}
        called = [_triggers(page, keyword.get(n, ())) for n, page in enumerate(pages)]
        asked = [
            Candidates(one.event, one.app, one.seen_from, page.eligible(of), one.again, one.used, one.sender_muted)
            for page, of in zip(pages, called, strict=True)
            for one in (page.message,)
        ]
        facts, devices = self._read(pages, asked, early)
        of_apps = self._of_apps(devices)
        decided = []
        for n, page in enumerate(pages):
            message, known = page.message, facts.get(n, _NO_FACTS)
            if message.event.message.mentions.here:
                called[n] = _triggers(page, keyword.get(n, ()), known.get("online", ()))
            of_app, of_page = of_apps.get(message.event.app, _NOBODY), said.get(n, _NOTHING_SAID)
            verdicts = _verdicts(page, called[n], of_page, now)
            own = of_app.devices if message.look is None else _looked_for(message.look, of_app.devices)
            disclosed = self._disclosed(page, asked[n], of_page, own, asking=of_app.asking)
            case = Case(
                message.event,
                message.app,
                page.members,
                verdicts,
                page.thread_full,
                known,
                disclosed.devices,
                of_app.unreachable,
                _silent(message.event, known, verdicts, now) if known else NOBODY,
                disclosed.keyless,
            )
            cap = message.cap
            cap_left = None if cap is None else cap - message.cursor.pushed
            decision = decide_page(page.candidates, case, cap_left=cap_left, rules=self._rules)
            # By their places: a page is decided for each small message.
            decided.append(Decided(page, decision, _NOT_QUIETED, case.silent, disclosed.devices, disclosed.disclosures))
        return decided

    def _read(
        self, pages: Sequence[CandidatePage], asked: Sequence[Candidates], early: ReadEarly
    ) -> tuple[Mapping[int, Mapping[str, Collection[str]]], Mapping[str, Mapping[str, Sequence[Device]]]]:
        """The facts about each page's candidates, by its index and their names; and the devices by app and user."""
        facts: dict[int, dict[str, Collection[str]]] = {}
        users: defaultdict[str, set[str]] = defaultdict(set)
        for one in asked:
            users[one.event.app].update(one.users)
        wanted = [(app, user) for app, of_app in users.items() for user in of_app if (app, user) not in early.users]
        devices: Mapping[str, Mapping[str, Sequence[Device]]] = self._devices.active(wanted)
        if early.users:
            devices = {app: {**early.devices.get(app, _NO_DEVICES), **devices.get(app, _NO_DEVICES)} for app in users}
        for fact in self._facts:
            for n, those in fact.read(self._sources, asked).items():
                facts.setdefault(n, {})[fact.name] = those
        for several in self._several:
            for n, found in several.read_all(self._sources, asked).items():
                facts.setdefault(n, {}).update(found)
        for n, page in enumerate(pages):
            message = page.message
            if message.look is not None and message.look.kind == "online" and message.look.extra:
                # A call of those who are here is for those who were when it came.
                facts.setdefault(n, {})["online"] = message.look.extra
            if message.named_later:
                facts.setdefault(n, {})["named_later"] = message.named_later
        return facts, devices

    def _of_apps(self, devices: Mapping[str, Mapping[str, Sequence[Device]]]) -> dict[str, _OfApp]:
        removed = self._removed(devices)
        found = {}
        for app, of_app in devices.items():
            kept = _without(of_app, removed) if removed else of_app
            found[app] = _OfApp(kept, [user for user in kept if not kept[user]] if removed else (), asks(kept))
        return found

    def _disclosed(
        self,
        page: CandidatePage,
        asked: Candidates,
        said: Mapping[str, Said],
        devices: Mapping[str, Sequence[Device]],
        *,
        asking: bool,
    ) -> Disclosed:
        """`asking`: whether a device of the app asks for a mode of its own."""
        attention, channel = asked.app.attention, page.message.channel
        users = {user: one.privacy for user, one in said.items() if one.privacy is not None} if said else {}
        of_channel = None if channel is None else channel.privacy
        if attention.privacy == "full" and of_channel in (None, "full") and not asking and not users:
            return Disclosed(devices)
        of_all = strictest(attention.privacy, of_channel)
        own = {user: devices[user] for user in asked.users if user in devices}
        return disclose(Asked(of_all, users), own, self._apps.provider, sealed_only=attention.sealed_only)

    def _said(self, pages: Sequence[CandidatePage]) -> Mapping[int, Mapping[str, Said]]:
        """What the candidates said, by the page's index."""
        asked = {
            n: (page.message.event, page.candidates)
            for n, page in enumerate(pages)
            if "preferences" in page.message.used
        }
        return preferences.read(self._sources.pool, asked) if asked else {}

    def _removed(self, devices: Mapping[str, Mapping[str, Sequence[Device]]]) -> set[int]:
        """Providers that are no more: their devices stay registered, and are notified again when the provider is back."""
        used = {device.provider_id for of_app in devices.values() for some in of_app.values() for device in some}
        return {id for id in used if self._apps.provider(id) is None}


def _called_by(page: CandidatePage, said: Mapping[str, Said]) -> list[str]:
    """Whose stored keywords are in the text."""
    keywords = {user: one.keywords for user, one in said.items() if one.keywords}
    return called_by(page.message.event.message.text, keywords) if keywords else []


def _triggers(page: CandidatePage, keyword: Collection[str], online: Collection[str] = ()) -> Triggers:
    message, kind = page.message, page.message.event.channel.kind
    return triggers(message.event, kind=kind, thread=page.thread, online=online, keyword=keyword, wide=message.wide)


def _verdicts(page: CandidatePage, called: Triggers, said: Mapping[str, Said], now: float) -> Verdicts:
    channel, attention = page.message.channel, page.message.app.attention
    nothing_set = attention.level == "all" and not attention.triggers and (channel is None or channel.level is None)
    if called is PLAIN_TRIGGERS and nothing_set and not said:
        return PLAIN
    common = common_rows(channel and channel.level, attention.level, attention.triggers)
    own = {user: one.rows for user, one in said.items()} if said else {}
    return judge_all(called, common, own, now)


def _silent(event: MessageNew, facts: Mapping[str, Collection[str]], verdicts: Verdicts, now: float) -> Silent:
    if QUIET.name not in facts:
        return NOBODY
    return silent(cast("Mapping[str, Quiet]", facts[QUIET.name]), event, lambda user: verdicts.of(user).on, now)


def _looked_for(look: SecondLook, devices: Mapping[str, Sequence[Device]]) -> Mapping[str, Sequence[Device]]:
    """An edit of what was queued goes to the devices that did not get that, and one of what is shown to those that take it."""
    if look.kind not in ("edited", "replaced"):
        return devices
    wanted, shown = set(look.extra), look.kind == "replaced"
    found = {
        user: [one for one in devices.get(user, ()) if one.id in wanted and (not shown or EDIT in one.accepts)]
        for user in look.users
    }
    return {user: some for user, some in found.items() if some}


def _without(devices: Mapping[str, Sequence[Device]], providers: Collection[int]) -> dict[str, list[Device]]:
    return {user: [device for device in some if device.provider_id not in providers] for user, some in devices.items()}
