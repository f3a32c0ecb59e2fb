"""Expands messages into batches of jobs: one bulk read for all of them, the pure rules for each candidate, one write.

`FanOut.expand` is the main path. What it writes, it writes in one step of the journal: batches, counts and the cursor of a
channel that goes on. When another worker was first with one of the messages, nothing is written and the rest is done again.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from producers import events
from producers.events import BadgeCleared, MessageNew, PushSend
from worker.core.batch import Lane
from worker.core.entry import ms_of
from worker.core.folding import folds
from worker.core.model import AppSettings, Device, Reason
from worker.core.places import held
from worker.core.position import position
from worker.core.rules import Audience, Decision, decide_page, first_candidates, skip_message, unmentioned
from worker.core.templates import Templates
from worker.database.audience import Audience as Devices
from worker.database.postgres import Pool
from worker.facts import FACTS, channels, members, threads
from worker.facts.base import CandidateFact, Candidates, Fact, Sources
from worker.facts.channels import ChannelRow
from worker.facts.members import Page, PageKey
from worker.facts.standings import Ids
from worker.facts.threads import Thread, ThreadKey
from worker.pipeline.apps import Apps
from worker.pipeline.plan import Plan
from worker.pipeline.rendering import Message, folded_sendings, sendings
from worker.pipeline.targeted import Target, Targeted
from worker.state import recent
from worker.state.bursts import Burst, Bursts
from worker.state.journal import DONE, Journal, Opened
from worker.state.redis import Redis

log = logging.getLogger(__name__)

#: A message with more jobs than this leaves the urgent lane to the smaller ones.
URGENT_JOBS: Final = 250
#: Candidates after which an expansion leaves its other messages for later: it has to end well within its lease. What it reads at
#: once may be as many again.
MEMBERS: Final = 50_000
#: Seconds for which it is known what members, mutes and channels were before a change.
PAST: Final = 86_400
#: The part of its lease after which an expansion begins with no further message, and renews what it still has in hand.
PATIENCE: Final = 1 / 4


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where the expansion of a channel stands."""

    #: The last user considered; the next page begins behind it.
    after: str = ""
    page: int = 0
    #: Members who were notified so far without being mentioned: the cap counts over all pages.
    pushed: int = 0


_NO_PAGE: Final = Page([], False)


@dataclass(slots=True)
class _Item:
    """One message on its way through an expansion."""

    opened: Opened
    #: In the order of the stream: who and what is looked at as it stood there.
    place: int
    #: UNIX seconds at which it came.
    came: int
    cursor: Cursor
    event: MessageNew
    app: AppSettings
    channel: ChannelRow | None = None
    page: Page = _NO_PAGE
    #: Those of the page who were members at the message's place.
    users: list[str] = field(default_factory=list)
    thread: AbstractSet[str] | None = None
    thread_full: bool = False
    #: Considered on the first page, ahead of the channel's own order.
    first: list[str] = field(default_factory=list)
    members: set[str] | None = None
    decision: Decision | None = None
    #: Where the app folds bursts: which message of the window this is for each user who is notified.
    burst_numbers: Mapping[str, int] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return (self.event.app, self.event.channel.id)

    @property
    def start(self) -> tuple[str, str, str]:
        """Where its page begins."""
        return (*self.key, self.cursor.after)

    @property
    def thread_key(self) -> ThreadKey | None:
        message = self.event.message
        parent = None if message.mentions_everyone else message.parent_id
        return ThreadKey(*self.key, parent, self.event.recipients is not None) if parent else None

    @property
    def candidates(self) -> list[str]:
        if not self.first:
            return self.users
        ahead = set(self.first)
        rest = [user for user in self.users if user not in ahead]
        return rest if self.cursor.page else [*self.first, *rest]

    @property
    def cap(self) -> int | None:
        """How many members may get a push without being mentioned; None: all."""
        return None if self.event.message.mentions_everyone else self.app.member_cap

    @property
    def cap_left(self) -> int | None:
        return None if self.cap is None else max(0, self.cap - self.cursor.pushed)

    @property
    def weight(self) -> int:
        """How many candidates a page of it may have."""
        named = self.event.recipients
        return len(self.event.message.mentioned) + (0 if named is None else len(named))


@dataclass(frozen=True, slots=True)
class Expanded:
    """What is ready now because of an expansion."""

    batches: Counter[Lane]
    #: Messages whose channel goes on, on the bulk lane.
    unfinished: int
    counts: Mapping[str, Mapping[str, int]]
    #: Messages that were too many for once, in their order.
    left: Sequence[Opened] = ()
    #: Messages that had waited for the channel of one of these.
    freed: int = 0


class _Time:
    """How long an expansion takes; renews the leases of its messages meanwhile."""

    def __init__(self, journal: Journal, opened: Sequence[Opened], clock: Callable[[], float]) -> None:
        self._journal, self._opened, self._clock = journal, opened, clock
        self._part = journal.lease * PATIENCE
        self._ends = self._renews = clock() + self._part

    @property
    def over(self) -> bool:
        """Whether it took so long that other messages are better left for later."""
        return self._clock() > self._ends

    def alive(self) -> None:
        """Called all the time."""
        if self._clock() > self._renews:
            self._journal.renew_messages(self._opened)
            self._renews = self._clock() + self._part


class FanOut:
    """`now` gives UNIX seconds, `clock` seconds from anywhere, `new_id` a batch id that was never given before."""

    def __init__(
        self,
        pool: Pool,
        redis: Redis,
        journal: Journal,
        apps: Apps,
        *,
        page: int,
        batch: int,
        now: Callable[[], float],
        new_id: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
        facts: Sequence[Fact[Any]] = FACTS,
    ) -> None:
        self._pool, self._redis, self._journal, self._apps = pool, redis, journal, apps
        self._sources, self._facts = Sources(pool, redis), [one for one in facts if isinstance(one, CandidateFact)]
        self._devices = Devices(pool)
        self._page, self._batch, self._now, self._new_id, self._clock = page, batch, now, new_id, clock
        self._bursts = Bursts(redis)
        self._targeted = Targeted(self._devices, page=page, now=now)

    def expand(self, opened: Sequence[Opened]) -> Expanded:
        """Takes each message one page further, but for those that are left for later."""
        took = _Time(self._journal, opened, self._clock)
        while True:
            plan = _Plan(self._new_id, self._batch, self._apps.templates_of, took.alive)
            items = [item for one in opened if (item := self._item(one, plan)) is not None]
            self._targeted.plan(plan.targeted, plan)
            left = self._decide(self._admitted(items, plan), took)
            self._count_bursts(items)
            left = [*self._plan_all(items, plan, took), *left]
            queued = plan.queued()
            stale, freed = self._journal.expand(plan.steps, queued, plan.counts, plan.accounts)
            if not stale:
                self._keep(items)
                behind = {item.opened.entry for item in left}
                rest = [one for one in opened if one.entry in behind]
                return Expanded(Counter(p.batch.lane for p in queued), plan.unfinished, plan.counts, rest, freed)
            opened = [one for one in opened if one.entry not in stale]

    def _item(self, one: Opened, plan: "_Plan") -> _Item | None:
        event = events.accepted(one.document) if one.document else None
        app = self._apps.app(event.app) if event else None
        if isinstance(event, BadgeCleared | PushSend) and app is not None:
            plan.targeted.append(Target(one, event, app))
            return None
        if not isinstance(event, MessageNew) or app is None:
            # The document or its app went since intake took it.
            plan.steps.append(one.step(DONE))
            return None
        cursor = msgspec.json.decode(one.cursor, type=Cursor) if one.cursor else Cursor()
        place = one.place or position(one.entry)
        # A producer's ids may be ahead of the clock.
        came = min(ms_of(one.entry) // 1000, int(self._now()))
        return _Item(one, place, came, cursor, event, app)

    def _keep(self, items: Sequence[_Item]) -> None:
        """For test pushes. What no rule skipped as a whole, once."""
        kept = (i for i in items if i.decision is not None and not i.cursor.page and i.app.keep_recent)
        recent.keep(self._redis, ((*item.key, item.opened.document) for item in kept), now=self._now())

    def _admitted(self, items: Sequence[_Item], plan: "_Plan") -> list[_Item]:
        """The messages that no rule skips as a whole."""
        found = channels.read(self._pool, {item.key for item in items}, _first_place(items))
        admitted = []
        for item in items:
            known = found.get(item.key)
            item.channel = known and known.at(item.place)
            reason = skip_message(
                item.event,
                item.app,
                channel_push=item.channel is None or item.channel.push,
                channel_known=item.channel is not None,
                now=self._now(),
            )
            if reason is None:
                admitted.append(item)
            else:
                plan.skip(item, reason)
        return admitted

    def _decide(self, items: Sequence[_Item], took: _Time) -> Sequence[_Item]:
        """Decides about the first of the messages, as many as their candidates allow; returns the others."""
        items, left = self._read_candidates(items, took)
        eligible = [self._eligible(item) for item in items]
        users = {(item.event.app, user) for item, some in zip(items, eligible, strict=True) for user in some}
        devices = self._devices.active(users)
        if gone := self._removed({device.provider_id for some in devices.values() for device in some}):
            devices = {key: [d for d in some if d.provider_id not in gone] for key, some in devices.items()}
        asked = [Candidates(i.event, i.app, i.place, some) for i, some in zip(items, eligible, strict=True)]
        seen = {fact.name: fact.read(self._sources, asked) for fact in self._facts}
        for n, (item, some) in enumerate(zip(items, eligible, strict=True)):
            app = item.event.app
            audience = Audience(
                members=item.members,
                thread=item.thread,
                thread_full=item.thread_full,
                muted=seen["muted"].get(n, ()),
                online=seen["online"].get(n, ()),
                devices={user: devices[app, user] for user in some if (app, user) in devices},
            )
            item.decision = decide_page(item.candidates, item.event, item.app, audience, cap_left=item.cap_left)
        return left

    def _removed(self, providers: Collection[int]) -> set[int]:
        """Those that are no more: their devices stay registered, and are notified again when the provider is back."""
        return {id for id in providers if self._apps.provider(id) is None}

    def _count_bursts(self, items: Sequence[_Item]) -> None:
        folding = [item for item in items if item.app.fold_after is not None and item.decision is not None]
        asked = [
            Burst(
                *item.key,
                item.app.fold_window,
                f"{item.opened.entry}:{item.cursor.page}",
                [p.user for p in item.decision.pushes if p.why != "mention"],
            )
            for item in folding
            if item.decision is not None
        ]
        for item, numbers in zip(folding, self._bursts.count(asked, self._now()), strict=True):
            item.burst_numbers = numbers

    def _read_candidates(self, items: Sequence[_Item], took: _Time) -> tuple[Sequence[_Item], Sequence[_Item]]:
        """Reads a page of each of the first messages; returns these, and the others."""
        pages: dict[PageKey, Page] = {}
        places: dict[PageKey, int] = {}
        for item in items:
            places[item.start] = min(item.place, places.get(item.start, item.place))
        known: dict[ThreadKey, Thread] = {}
        read, considered = 0, 0
        while read < len(items) and considered < MEMBERS and not (read and took.over):
            some = self._at_once(items, read)
            stored = (item for item in some if item.event.recipients is None)
            starts = {start: places[start] for item in stored if (start := item.start) not in pages}
            pages |= members.pages(self._pool, starts, self._page)
            known |= threads.read(self._pool, {key for item in some if (key := item.thread_key)} - known.keys())
            for item in some:
                named = item.event.recipients
                item.page = pages[item.start] if named is None else Page(sorted(set(named)), False)
                item.users = item.page.at(item.place)
                item.members = set(item.users)
                if (key := item.thread_key) is not None:
                    _put_in_thread(item, known[key])
                item.first = first_candidates(item.event, item.thread)
                considered += len(item.page.users) + len(item.first)
            read += len(some)
            took.alive()
        items, long, unread = *_without_followers(items[:read]), items[read:]
        left = [*long, *unread]
        self._find_members_among_first(
            [item for item in items if item.event.recipients is None and (item.page.more or item.cursor.page)]
        )
        return items, left

    def _at_once(self, items: Sequence[_Item], start: int) -> Sequence[_Item]:
        """The messages from `start` on whose pages may be read together: at least one."""
        end, room = start + 1, MEMBERS - self._page - items[start].weight
        while end < len(items) and (room := room - self._page - items[end].weight) >= 0:
            end += 1
        return items[start:end]

    def _find_members_among_first(self, items: Sequence[_Item]) -> None:
        """Users considered ahead of a page that is not the whole channel may be members elsewhere in it, or none at all."""
        asked: dict[Ids, int] = {}
        for item in items:
            for user in item.first:
                if user not in (item.members or ()):
                    key = (*item.key, user)
                    asked[key] = min(item.place, asked.get(key, item.place))
        if not asked:
            return
        found = members.memberships(self._pool, asked)
        for item in items:
            item.members = (item.members or set()) | {
                user for user in item.first if held(found.get((*item.key, user), ()), item.place)
            }

    def _eligible(self, item: _Item) -> list[str]:
        """Candidates about whom more must be read: membership and thread have not ruled them out."""
        sender, members, thread = item.event.sender.id, item.members or (), item.thread
        if thread is None:
            return [user for user in item.candidates if user in members and user != sender]
        within = thread | set(item.event.message.mentioned)
        return [user for user in item.candidates if user in members and user in within and user != sender]

    def _plan_all(self, items: Sequence[_Item], plan: "_Plan", took: _Time) -> Sequence[_Item]:
        """Plans what is decided, in its order; returns those for which no time was left, or whose channel goes on before them."""
        decided = [(item, item.decision) for item in items if item.decision is not None]
        left, unfinished = [], set()
        for n, (item, decision) in enumerate(decided):
            if (n and took.over) or item.key in unfinished:
                item.decision = None
                left.append(item)
                continue
            took.alive()
            if self._plan(item, decision, plan) != DONE:
                unfinished.add(item.key)
        return left

    def _plan(self, item: _Item, decision: Decision, plan: "_Plan") -> str:
        """Returns where its channel goes on."""
        if not item.cursor.page and self._now() - item.came > PAST:
            plan.counts[item.event.app]["late"] += 1
        pushed = item.cursor.pushed + unmentioned(decision.pushes, item.event)
        rest: dict[Reason, int] = {}
        following = DONE
        if item.page.more:
            last = item.page.users[-1]
            if item.thread is not None:
                outside = Reason.THREAD_FULL if item.thread_full else Reason.NOT_IN_THREAD
                rest[outside] = self._count_rest(item, last)
            elif item.cap is not None and pushed >= item.cap:
                rest[Reason.OVER_CAP] = self._count_rest(item, last)
            else:
                following = msgspec.json.encode(Cursor(last, item.cursor.page + 1, pushed)).decode()
        plan.add(item, decision, rest, following)
        return following

    def _count_rest(self, item: _Item, after: str) -> int:
        """Members behind `after` who were not considered ahead of their turn."""
        ahead = sum(1 for user in item.first if user > after and user in (item.members or ()))
        return members.count_after(self._pool, *item.key, after, item.place) - ahead


def _first_place(items: Sequence[_Item]) -> int:
    return min((item.place for item in items), default=0)


def _without_followers(items: Sequence[_Item]) -> tuple[list[_Item], list[_Item]]:
    """Those that are worth deciding, and the others: they follow a message of their channel that will need several pages."""
    now: list[_Item] = []
    later: list[_Item] = []
    long: set[tuple[str, str]] = set()
    for item in items:
        if item.key in long:
            later.append(item)
            continue
        now.append(item)
        if item.page.more and item.thread is None and item.cap is None:
            long.add(item.key)
    return now, later


def _put_in_thread(item: _Item, thread: Thread) -> None:
    """Who of the thread takes part at the message's place."""
    place, event = item.place, item.event
    item.thread_full = thread.full
    if thread.newest <= place:
        people: AbstractSet[str] = thread.people.keys()
    else:
        people = {user for user, since in thread.people.items() if since <= place}
    more = {event.message.parent_sender} if event.message.parent_sender else set()
    if not thread.root_seen:
        # Nobody knows who took part before; whoever the chat server lists is meant.
        more.update(event.recipients or ())
    item.thread = people | more if more else people


class _Plan(Plan):
    """What messages add to a plan."""

    def __init__(
        self,
        new_id: Callable[[], str],
        batch: int,
        templates_of: Callable[[str], Mapping[int, Templates]],
        alive: Callable[[], None],
    ) -> None:
        super().__init__(new_id, batch)
        self._templates_of, self._alive = templates_of, alive
        self.targeted: list[Target] = []

    def skip(self, item: _Item, reason: Reason) -> None:
        """The whole message is skipped, or what is left of it."""
        self.counts[item.event.app].update(
            {"messages": 1 if not item.cursor.page else 0, f"skipped_message.{reason}": 1}
        )
        self._finish_page(item, {"message": reason}, DONE)

    def add(self, item: _Item, decision: Decision, rest: Mapping[Reason, int], following: str) -> None:
        skipped: defaultdict[str, list[str]] = defaultdict(list)
        for user, why in decision.skips:
            skipped[why].append(user)
        jobs = self._add_jobs(item, decision, rest, small=not item.cursor.page and following == DONE)
        considered = len(decision.pushes) + len(decision.skips) + sum(rest.values())
        count = self.counts[item.event.app]
        count.update({"messages": 0 if item.cursor.page else 1, "considered": considered, "jobs": jobs})
        count["pushed"] += len(decision.pushes)
        for reason, users in skipped.items():
            count[f"skipped.{reason}"] += len(users)
        for of_rest, n in rest.items():
            count[f"skipped.{of_rest}"] += n
        account: dict[str, Any] = {
            "considered": considered,
            "pushed": [p.user for p in decision.pushes],
            "skipped": skipped,
        }
        if rest:
            account["rest"] = rest
        self._finish_page(item, account, following)

    def _finish_page(self, item: _Item, account: object, following: str) -> None:
        self.take(item.opened, following, item.event.id, item.cursor.page, account)

    def _add_jobs(self, item: _Item, decision: Decision, rest: Mapping[Reason, int], *, small: bool) -> int:
        devices = sum(len(push.devices) for push in decision.pushes)
        lane: Lane = "urgent" if small and devices <= URGENT_JOBS else "bulk"
        message = Message(
            item.opened.entry, item.event, item.channel and item.channel.name, item.app.max_age, item.place, item.came
        )
        plain: list[Device] = []
        by_count: defaultdict[int, list[Device]] = defaultdict(list)
        for push in decision.pushes:
            number = item.burst_numbers.get(push.user, 0)
            (by_count[number] if folds(push, number, item.app) else plain).extend(push.devices)
        templates, count = self._templates_of(item.event.app), self.counts[item.event.app]
        if by_count:
            others = sum(rest.values()) + sum(skip.reason != Reason.SENDER for skip in decision.skips)
            message = message._replace(one_sender=small and len(decision.pushes) + others == 1)
        folded = [
            folded_sendings(message, number, some, templates, alive=self._alive) for number, some in by_count.items()
        ]
        why = {push.user: push.why for push in decision.pushes}
        for rendered in (sendings(message, plain, templates, alive=self._alive), *folded):
            for sending, some in rendered.groups:
                self.add_jobs(item.event.app, lane, sending, some, why)
            if rendered.failed:
                count["template_failed"] += rendered.failed
        if by_count:
            count["folded"] += sum(map(len, by_count.values()))
        return devices
