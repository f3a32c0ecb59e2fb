"""Sixth stage: decisions become jobs, counts, a part of the ledger entry, and the cursor of the channel."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from worker.core.batch import Lane
from worker.core.model import Device
from worker.core.names import clean_name
from worker.core.privacy import FULL, is_unsealed
from worker.core.quiet import NOBODY as QUIET_FOR_NOBODY
from worker.core.reminder import name_of
from worker.core.rules import NOT_IN_THREAD, OVER_CAP, SENDER, THREAD_FULL, Why, counted
from worker.core.templates import Templates
from worker.core.triggers import groups_of
from worker.pipeline.expansion.admit import Cursor, Expanding
from worker.pipeline.expansion.decide import Decided, Quieted
from worker.pipeline.expansion.missed import missed
from worker.pipeline.expansion.read import CandidatePage
from worker.pipeline.plan import OriginsOf, Plan
from worker.pipeline.rendering import Message, Variant, sendings
from worker.state.journal import DONE

#: A message with more jobs than this leaves the urgent lane to the smaller ones.
URGENT_JOBS: Final = 250

_NOBODY: Final[Mapping[str, int]] = {}
_AS_IT_IS: Final = Quieted()


class Continuation(NamedTuple):
    """What becomes of the members behind a page."""

    #: The cursor of the next page, or `DONE`.
    following: str
    #: Reason -> how many are skipped without a look at each.
    skipped: Mapping[str, int] = _NOBODY


#: Most channels are one page.
_ENDS: Final = Continuation(DONE)


def continuation(decided: Decided, count_after: Callable[[Expanding, str], int]) -> Continuation:
    """`count_after` counts a channel's members behind a user."""
    page, message = decided.page, decided.page.message
    if not page.more:
        return _ENDS
    pushed = message.cursor.pushed + counted((*decided.decision.pushes, *decided.decision.delayed))
    if page.narrow:
        reason = THREAD_FULL if page.thread_full else NOT_IN_THREAD
    elif message.cap is not None and pushed >= message.cap:
        reason = OVER_CAP
    else:
        return Continuation(
            msgspec.json.encode(Cursor(page.last, message.cursor.page + 1, pushed, page.chosen)).decode()
        )
    return Continuation(DONE, {reason: count_after(message, page.last) - _ahead(page)})


def _ahead(page: CandidatePage) -> int:
    """Members behind the page who were considered ahead of their turn."""
    return sum(1 for user in page.first if user > page.last and user in (page.members or ()))


class MessagePlan(Plan):
    """What messages add to a plan."""

    def __init__(
        self,
        new_id: Callable[[], str],
        batch: int,
        origins: Callable[[int, str], OriginsOf | None],
        now: float,
        templates_of: Callable[[str], Mapping[int, Templates]],
        alive: Callable[[], object],
    ) -> None:
        super().__init__(new_id, batch, origins, now)
        self._templates_of, self._alive = templates_of, alive
        self._templates: dict[str, Mapping[int, Templates]] = {}

    def skip(self, message: Expanding, reason: str) -> None:
        """The whole message is skipped, or what is left of it."""
        if message.app.attention.remind_after is not None:
            self._note_answer(message)
        count = self.counts[message.event.app]
        account: dict[str, Any] = {"message": reason}
        count["messages"] += message.begins
        if message.look is None or not message.opened.look:
            count[f"skipped_message.{reason}"] += 1
        else:
            considered = 0 if message.is_queued_anew else len(message.look.users)
            account = {"considered": considered, "pushed": [], "skipped": {reason: message.look.users}}
            count["considered"] += considered
            count[f"skipped.{reason}"] += considered
        self.take(message.opened, DONE, message.event, message.cursor.page, account)

    def add(self, decided: Decided, continuation: Continuation) -> None:
        message, decision = decided.page.message, decided.decision
        pushes, skips, delayed = decision.pushes, decision.skips, decision.delayed
        if message.app.attention.remind_after is not None:
            self._note_answer(message)
        following, unseen = continuation
        skipped: dict[str, list[str]] = {}
        by: dict[str, str] = {}
        for skip in skips:
            skipped.setdefault(skip.reason, []).append(skip.user)
            if skip.by:
                by[skip.user] = skip.by
        behind = sum(unseen.values()) if unseen else 0
        considered = 0 if message.is_queued_anew else len(pushes) + len(skips) + behind
        count = self.counts[message.event.app]
        count["messages"] += message.begins
        if pushes:
            count["jobs"] += self._add_jobs(decided, continuation)
        if considered:
            count["considered"] += considered
            count["pushed"] += len(pushes)
            for reason, users in skipped.items():
                count[f"skipped.{reason}"] += len(users)
        account: dict[str, Any] = {
            "considered": considered,
            "pushed": [push.user for push in pushes],
            "skipped": skipped,
        }
        if by:
            account["by"] = by
        if delayed or unseen or decided.silent is not QUIET_FOR_NOBODY:
            account |= self._not_now(decided, unseen)
        self.take(message.opened, following, message.event, message.cursor.page, account)

    def _not_now(self, decided: Decided, unseen: Mapping[str, int]) -> dict[str, Any]:
        """Those for whom it is quiet, who are decided later, or who were only counted. Returns what the account says."""
        decision, (refused, through) = decided.decision, decided.silent
        count = self.counts[decided.page.message.event.app]
        account: dict[str, Any] = {}
        if refused:
            self.missed += missed(decided, self._moment / 1000)
        if through:
            account["passed"] = {push.user: through[push.user] for push in decision.pushes if push.user in through}
        if decision.delayed:
            account |= self._delay(decided)
            count["delayed"] += len(decision.delayed)
        if unseen:
            account["rest"] = unseen
            for reason, number in unseen.items():
                count[f"skipped.{reason}"] += number
        return account

    def _note_answer(self, message: Expanding) -> None:
        """Whoever writes in a conversation has read it, and is reminded of it no more."""
        if message.begins:
            thread = message.event.message.parent_id or ""
            self.answered.append(name_of(*message.key, thread, message.event.sender.id))

    def _delay(self, decided: Decided) -> dict[str, Any]:
        """Second looks at those who are present, and at those who get one for several. Returns what the account says."""
        message, quieted, moment = decided.page.message, decided.quieted, self._moment / 1000
        said, present = message.app.attention, []
        folds: defaultdict[tuple[float, int], list[str]] = defaultdict(list)
        for push in decided.decision.delayed:
            one = quieted.get(push.user, _AS_IT_IS)
            if one.due:
                folds[one.due, one.stands_for].append(push.user)
            else:
                present.append(push)
        account: dict[str, Any] = {"delayed": [push.user for push in decided.decision.delayed]}
        if present:
            delay = said.online_delay or 0
            here = [push.user for push in present if "here" in push.verdict.on]
            users = [push.user for push in present]
            self.look_again(message.opened, message.cursor.page, "online", delay, users, here or None)
            account |= {"until": int(moment) + delay, "present": said.present}
        for (due, stands_for), users in folds.items():
            self.look_again(message.opened, message.cursor.page, "fold", max(0.0, due - moment), users, stands_for)
        if folds:
            account["folding"] = {user: int(due) for (due, _), users in folds.items() for user in users}
        return account

    def _add_jobs(self, decided: Decided, continuation: Continuation) -> int:
        """Returns how many they are."""
        message = decided.page.message
        app, small = message.event.app, not message.cursor.page and continuation.following == DONE
        is_whole = small and message.begins
        wanted = _by_variant(decided)
        jobs = sum(map(len, wanted.values()))
        lane: Lane = "urgent" if small and jobs <= URGENT_JOBS else "bulk"
        if decided.quieted or decided.disclosures:
            self._count_variants(app, wanted)
        # By their places, which costs half as much as by name.
        source = Message(
            message.opened.entry,
            message.event,
            message.channel,
            message.expires_at,
            message.place,
            message.came,
            _is_alone(decided, continuation) if is_whole and decided.quieted else False,
            _members(decided.page) if is_whole else 0,
            _reminds(decided.page) if message.reminds else 0,
            message.app.attention,
            message.written,
        )
        rendered = sendings(source, wanted, self._templates_for(app), alive=self._alive)
        for sending, devices, why in rendered.groups:
            self.add_jobs(app, lane, sending, devices, why)
        if rendered.failed:
            self.counts[app]["template_failed"] += rendered.failed
        return jobs

    def _count_variants(self, app: str, wanted: Mapping[Variant, Sequence[Device]]) -> None:
        for variant, devices in wanted.items():
            if variant.stands_for:
                self.counts[app]["folded"] += len(devices)
            if is_unsealed(variant.disclosure):
                self.counts[app]["unsealed"] += len(devices)

    def _templates_for(self, app: str) -> Mapping[int, Templates]:
        templates = self._templates.get(app)
        if templates is None:
            templates = self._templates[app] = self._templates_of(app)
        return templates


def _reminds(page: CandidatePage) -> int:
    """Seconds after which users are reminded of it; 0: never."""
    message, limit = page.message, page.message.app.attention.remind_members
    is_large = message.begins and limit is not None and (page.more or _members(page) > limit)
    return 0 if is_large else message.reminds


def _members(page: CandidatePage) -> int:
    """How many the channel has, of its only page."""
    return len(page.candidates if page.members is None else page.members)


@cache
def _for(why: Why) -> Variant:
    return Variant(why)


def _by_variant(decided: Decided) -> Mapping[Variant, Sequence[Device]]:
    """The devices that get the message now, by what differs between their users."""
    pushes, quieted, disclosures = decided.decision.pushes, decided.quieted, decided.disclosures
    message = decided.page.message.event.message
    groups, badges = groups_of(message) if message.mentions.groups else {}, message.badges
    if not (quieted or groups or disclosures or badges):
        found: dict[Variant, list[Device]] = {}
        verdict = None
        for push in pushes:
            # Most users of a message have the same one.
            if push.verdict is not verdict:
                verdict = push.verdict
                devices = found.setdefault(_for(verdict.on[0]), [])
            devices += push.devices
        return found
    wanted: defaultdict[Variant, list[Device]] = defaultdict(list)
    for push in pushes:
        sound, stands_for, _ = quieted.get(push.user, _AS_IT_IS)
        group = clean_name(groups[push.user].name) or groups[push.user].id if push.why == "group" else ""
        variant = Variant(push.why, sound, stands_for, group, badge=badges.get(push.user))
        if not disclosures:
            wanted[variant] += push.devices
            continue
        for device in push.devices:
            wanted[replace(variant, disclosure=disclosures.get(device.id, FULL))].append(device)
    return wanted


def _is_alone(decided: Decided, continuation: Continuation) -> bool:
    """Whether the channel has one member beside the sender."""
    decision = decided.decision
    others = sum(continuation.skipped.values()) + sum(skip.reason != SENDER for skip in decision.skips)
    return len(decision.pushes) + len(decision.delayed) + others == 1
