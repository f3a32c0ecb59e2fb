"""Expands messages into batches of jobs. What it writes, it writes in one step of the journal.

When another worker was first with one of the messages, nothing is written and the other messages are done again.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from worker.core.batch import Lane
from worker.core.entry import ms_of
from worker.core.rules import RULES, Rule
from worker.core.second_look import SecondLook
from worker.core.taking_back import REPLACED
from worker.core.way import Way
from worker.database import bulk
from worker.database.accepted import accepted
from worker.database.audience import Audience
from worker.database.postgres import Pool
from worker.facts import FACTS, changes, channels, members, mutes, used
from worker.facts.base import Fact, Sources
from worker.facts.members import Page, PageKey
from worker.facts.used import Used
from worker.pipeline.apps import Apps
from worker.pipeline.expansion.activities import ActivityExpansion
from worker.pipeline.expansion.admit import Expanding, admit, change, read_documents
from worker.pipeline.expansion.calls import CallExpansion
from worker.pipeline.expansion.daily import keep_to_days
from worker.pipeline.expansion.decide import Decided, Decider, ReadEarly
from worker.pipeline.expansion.fold import quieten
from worker.pipeline.expansion.patience import Patience
from worker.pipeline.expansion.plan import MessagePlan, continuation
from worker.pipeline.expansion.ptt import PttExpansion
from worker.pipeline.expansion.read import first_pages, listed_users, read_candidates
from worker.pipeline.expansion.read_elsewhere import ReadElsewhere
from worker.pipeline.expansion.retract import AFTER, Retraction
from worker.pipeline.origins import DeviceOrigins
from worker.pipeline.spans import Export
from worker.pipeline.targeted import Targeted
from worker.state import recent, redis
from worker.state.activities import Activities
from worker.state.bursts import Bursts
from worker.state.calls import Calls
from worker.state.days import Days
from worker.state.homes import HomeAwayError, Homes
from worker.state.journal import DONE, Journal, Opened, Taken
from worker.state.origins import Origins
from worker.state.partition import Partition
from worker.state.shown import Shown
from worker.state.speakers import Speakers

#: Seconds for which it is known what members, mutes and channels were before a change.
PAST: Final = 86_400


@dataclass(frozen=True, slots=True)
class Expanded:
    """What is ready now because of an expansion."""

    batches: Counter[Lane]
    #: Messages whose channel goes on, on the bulk lane.
    unfinished: int
    counts: Mapping[str, Mapping[str, int]]
    #: Messages that were too many for once, in their order.
    remaining: Sequence[Opened] = ()
    #: Messages that had waited for the channel of one of these.
    freed: int = 0
    #: Those of the batches that are leased to the caller, no earlier than at `taken_at` (UNIX seconds).
    taken: Sequence[Taken] = ()
    taken_at: float = 0.0
    #: For `keep`.
    kept: Sequence[Expanding] = ()
    #: Whether some of the remaining ones wait for the home of their app, which does not answer.
    held: bool = False


class FanOut:
    """`now` gives UNIX seconds, `clock` seconds from anywhere, `new_id` a batch id that was never given before.

    `export` takes the spans of traced events, if they are exported. `homes`: those of spread apps.
    """

    def __init__(
        self,
        pool: Pool,
        partition: Partition,
        journal: Journal,
        apps: Apps,
        *,
        page: int,
        batch: int,
        now: Callable[[], float],
        new_id: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
        facts: Sequence[Fact[Any]] = FACTS,
        rules: Sequence[Rule] = RULES,
        export: Export | None = None,
        homes: Homes | None = None,
    ) -> None:
        self._pool, self._partition, self._journal, self._apps = pool, partition, journal, apps
        self._page, self._batch, self._now, self._new_id, self._clock = page, batch, now, new_id, clock
        self._export = export
        self._kept = recent.Kept()
        self._homes = homes = homes or Homes(partition)
        self._bursts, self._days, self._devices = Bursts(partition, homes), Days(partition, homes), Audience(pool)
        sources = Sources(pool, partition)
        self._decider = Decider(sources, self._devices, apps, facts=facts, rules=rules)
        self._calls = CallExpansion(sources, self._devices, apps, Calls(partition), now=now)
        self._activities = ActivityExpansion(self._devices, apps, Activities(partition), now=now)
        self._ptt = PttExpansion(sources, self._devices, apps, Speakers(partition), now=now)
        self._read_elsewhere = ReadElsewhere(pool, self._devices, apps, Shown(partition, homes), now=now)
        self._retraction = Retraction(sources, self._devices, apps, now=now)
        self._origins = DeviceOrigins(apps, Origins(partition))
        self._targeted = Targeted(pool, self._devices, page=page, now=now)

    def expand(
        self,
        opened: Sequence[Opened],
        *,
        full: Collection[Way] | None = None,
        pause: Callable[[], None] = lambda: None,
    ) -> Expanded:
        """Expands one page of each message, except those that are left for later. `pause` is called between two steps.

        With `full` the caller delivers the first of the batches itself, if nothing waits before it and it is of no way in `full`.
        It then calls `keep`, which nobody waits for.
        """
        patience, began = Patience(self._journal, opened, self._clock, pause), self._now()
        given, held = opened, set[str]()
        while True:
            plan = MessagePlan(
                *(self._new_id, self._batch, self._origins.of, self._now()), self._apps.templates_of, patience.alive
            )
            try:
                planned, left = self._decide(opened, plan, patience)
            except HomeAwayError as fault:
                waiting = {one.id for one in opened if self._homes.is_at(fault.home, one.app)}
                if not waiting:
                    raise
                held |= waiting
                opened = [one for one in opened if one.id not in waiting]
                continue
            patience.alive()
            queued = plan.queued()
            taken_at, taken = self._now(), None
            written = plan.steps, queued, plan.counts, plan.documents(), plan.looks, plan.missed, plan.answered
            if full is None:
                stale, freed = self._journal.expand(*written)
            else:
                stale, freed, taken = self._journal.expand_and_take(*written, full)
            if not stale:
                if taken is None:
                    self.keep(planned)
                self._carry(plan)
                self._trace(plan, began)
                behind = held | {message.opened.id for message in left}
                return Expanded(
                    Counter(q.batch.lane for q in queued),
                    plan.unfinished,
                    plan.counts,
                    [one for one in given if one.id in behind] if behind else (),
                    freed,
                    taken=() if taken is None else (taken,),
                    taken_at=taken_at,
                    kept=() if taken is None else planned,
                    held=bool(held),
                )
            opened = [one for one in opened if one.id not in stale]

    def _decide(
        self, opened: Sequence[Opened], plan: MessagePlan, patience: Patience
    ) -> tuple[list[Expanding], list[Expanding]]:
        """Plans the messages. Returns those that are decided, and those that are for later. Raises `HomeAwayError`."""
        messages, known, early = self._admit(opened, plan)
        pages, later = read_candidates(self._pool, messages, self._page, patience, known)
        decided = quieten(self._bursts, self._decider.decide(pages, self._now(), early), self._now())
        decided = keep_to_days(self._pool, self._days, decided, self._now())
        planned, unplanned = self._plan(decided, plan, patience)
        return planned, [*unplanned, *later]

    def _admit(
        self, opened: Sequence[Opened], plan: MessagePlan
    ) -> tuple[list[Expanding], Mapping[PageKey, Page], ReadEarly]:
        """The messages to expand, and the pages of members and the devices that were read with their channels.

        What is not for a channel, and what a rule skips as a whole, is planned already.
        """
        documents = read_documents(opened, self._apps.app)
        plan.steps += (one.step(DONE) for one in documents.lost)
        self._targeted.plan(documents.targets, plan)
        self._calls.plan(documents.calls, plan)
        self._activities.plan(documents.activities, plan)
        self._ptt.plan(documents.ptt, plan)
        self._read_elsewhere.plan(documents.reads, plan)
        self._retraction.plan(documents.deletions, plan)
        messages = documents.messages
        first = min((message.place for message in messages), default=0)
        listed = listed_users(messages)
        of_apps, muted, devices, known, pages = bulk.together(
            self._pool,
            [
                used.reading({message.event.app for message in messages}),
                mutes.reading_muted({(message.event.app, message.event.sender.id) for message in messages}, first),
                self._devices.reading_active(listed),
                channels.reading({message.key for message in messages}, first),
                members.reading(self._pool, first_pages(messages, self._page), self._page),
            ],
        )
        for message in messages:
            message.sender_muted = (message.event.app, message.event.sender.id) in muted
        if of_apps:
            self._change(messages, of_apps)
        admitted, skipped = admit(messages, known, self._now())
        for message, reason in skipped:
            plan.skip(message, reason)
        for message in admitted:
            said = message.app.attention
            if said.wide_mention_limit is not None or said.remind_after is not None:
                message.wide, message.reminds = self._is_wide(message), self._reminds(message)
        return admitted, pages, ReadEarly(listed, devices)

    def _is_wide(self, message: Expanding) -> bool:
        """Whether here and everyone may call the whole channel."""
        limit, mentions = message.app.attention.wide_mention_limit, message.event.message.mentions
        if limit is None or not (mentions.here or mentions.everyone):
            return True
        if message.event.recipients is not None:
            return len({*message.event.recipients}) <= limit
        return not members.are_more(self._pool, *message.key, limit)

    def _reminds(self, message: Expanding) -> int:
        """How large the channel of a first page is, its page says."""
        said = message.app.attention
        if said.remind_after is None:
            return 0
        limit = None if message.begins else said.remind_members
        is_large = limit is not None and members.are_more(self._pool, *message.key, limit)
        return 0 if is_large else said.remind_after

    def _change(self, messages: Sequence[Expanding], of_apps: Mapping[str, Collection[Used]]) -> None:
        """The messages get what their apps use, and are as they are after their edits and deletions."""
        for message in messages:
            message.used = of_apps.get(message.event.app, ())
        found = changes.read(self._pool, {one.message_key for one in messages if "changes" in one.used})
        for message in messages:
            if message.look is not None and message.look.kind == "shown":
                message.look = self._where_shown(message)
            if found and (latest := found.get(message.message_key)) is not None:
                change(message, latest)

    def _where_shown(self, message: Expanding) -> SecondLook:
        """An edit that reaches those who are shown the message: they are looked up when the ledger has them."""
        came = ms_of(message.opened.entry)
        shown = accepted(self._pool, *message.message_key, besides=message.event.id)
        young = [one for one in shown if came - 1000 * REPLACED <= one.at <= came]
        users = list(dict.fromkeys(one.user for one in young))
        return SecondLook("replaced", users, [one.device for one in young])

    def _plan(
        self, decided: Sequence[Decided], plan: MessagePlan, patience: Patience
    ) -> tuple[list[Expanding], list[Expanding]]:
        """Plans the decided messages, in their order.

        Returns these messages, and those for which no time was left, or whose channel goes on before them.
        """
        planned: list[Expanding] = []
        unplanned: list[Expanding] = []
        unfinished: set[tuple[str, str]] = set()
        now = self._now()
        for one in decided:
            message = one.page.message
            if (not patience.alive() and planned) or message.key in unfinished:
                unplanned.append(message)
                continue
            if now - message.came > PAST and message.begins:
                plan.counts[message.event.app]["late"] += 1
            goes_on = continuation(one, self._count_after)
            plan.add(one, goes_on)
            if message.replaces:
                plan.look_again(message.opened, 0, "shown", AFTER, [message.event.sender.id])
            planned.append(message)
            if goes_on.following != DONE:
                unfinished.add(message.key)
        return planned, unplanned

    def _count_after(self, message: Expanding, user: str) -> int:
        return members.count_after(self._pool, *message.key, user, message.place)

    def _carry(self, plan: MessagePlan) -> None:
        """What is for users whose home is another partition is written already: what is not carried now the tick carries."""
        if any(self._homes.of(one.app) is not None for one in plan.missed):
            with suppress(redis.Error):
                self._homes.carry_soon()

    def _trace(self, plan: MessagePlan, began: float) -> None:
        if plan.traced and self._export is not None:
            self._export(plan.spans(began, self._now()))

    def keep(self, planned: Sequence[Expanding]) -> None:
        """For test pushes. What no rule skipped as a whole, once."""
        if not planned:
            return
        now = self._now()
        kept = [one for one in planned if one.begins and one.app.keep_recent and self._kept.is_due(one.key, now)]
        recent.keep(self._partition, ((*one.key, one.opened.document) for one in kept), now=now)
