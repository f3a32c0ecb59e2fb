"""Second stage: a page of candidates for each message, read for many at once and bounded by their number."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from worker.core.places import Interval, held
from worker.core.triggers import Triggers, callees, first_candidates, in_channel
from worker.database.audience import UserKey
from worker.database.postgres import Pool
from worker.facts import members, preferences, threads
from worker.facts.members import Page, PageKey
from worker.facts.preferences import ChoiceKey
from worker.facts.standings import Ids
from worker.facts.threads import Thread, ThreadKey
from worker.pipeline.expansion.admit import Expanding
from worker.pipeline.expansion.patience import Patience

#: Candidates after which an expansion leaves its other messages for later: it has to end well within its lease. What it reads at
#: once may be as many again.
MEMBERS: Final = 50_000
#: Members of a channel that are read before it is known to be large.
LOOK: Final = 100
#: Users whose devices are read with the channels, before it is known who of them is notified.
LISTED: Final = 1_000

_NO_PAGES: Final[Mapping[PageKey, Page]] = {}

Intervals = Mapping[Ids, Sequence[Interval]]


class CandidatePage(msgspec.Struct):
    """The candidates of a message who are decided about together."""

    message: Expanding
    #: In the order in which they are considered.
    candidates: Sequence[str]
    #: The last user of the page.
    last: str
    #: Whether members follow behind it.
    more: bool
    #: Who takes part in the thread at the message's place; None where it is in none.
    thread: AbstractSet[str] | None
    thread_full: bool
    #: Considered on the first page, ahead of the channel's own order.
    first: Sequence[str]
    #: Those of `first` who are considered first by their own word.
    chosen: Sequence[str]
    #: Members among the candidates, and among the first; None: all are.
    members: Collection[str] | None = None

    @property
    def narrow(self) -> bool:
        """Whether the message is shown in a thread only."""
        return self.thread is not None and not in_channel(self.message.event.message)

    @property
    def is_part(self) -> bool:
        """Whether the page is a part of the channel's members."""
        message = self.message
        is_page = self.more or message.cursor.page > 0 or message.look is not None
        return message.event.recipients is None and is_page

    def eligible(self, triggers: Triggers) -> list[str]:
        """Candidates about whom more must be read: membership has not ruled them out, and the message is for them."""
        sender, members, some = self.message.event.sender.id, self.members, triggers.some
        found = [user for user in self.candidates if user != sender]
        if members is not None:
            found = [user for user in found if user in members]
        return found if triggers.everybody else [user for user in found if user in some]


class _Asked(msgspec.Struct, frozen=True):
    """What is read for a message."""

    message: Expanding
    #: Its page of members.
    start: PageKey
    #: The candidates where they are not the channel's members, page by page.
    listed: Sequence[str] | None
    thread: ThreadKey | None
    #: Where users may have chosen that it is for them, or that they come first.
    choices: Sequence[ChoiceKey]


def first_pages(messages: Sequence[Expanding], size: int) -> dict[PageKey, int]:
    """The pages with which the expansion of messages begins, and their places; none where too many for one reading."""
    places: dict[PageKey, int] = {}
    for message in messages:
        if message.look is None and message.event.recipients is None and not message.opened.cursor:
            app, channel = message.key
            start = (app, channel, "")
            if message.place < places.setdefault(start, message.place):
                places[start] = message.place
    return places if len(places) * size <= MEMBERS else {}


def listed_users(messages: Sequence[Expanding]) -> set[UserKey]:
    """Those whom messages list that go to all whom they list, but their senders; none where these are many."""
    found = {
        (message.event.app, user)
        for message in messages
        if message.look is None and message.event.recipients is not None and message.event.message.parent_id is None
        for user in message.event.recipients
        if user != message.event.sender.id
    }
    return found if len(found) <= LISTED else set()


def read_candidates(
    pool: Pool, messages: Sequence[Expanding], size: int, patience: Patience, known: Mapping[PageKey, Page] = _NO_PAGES
) -> tuple[list[CandidatePage], list[Expanding]]:
    """Pages of at most `size` members for the first of the messages, as many as their candidates allow.

    `known`: pages of this size that were read already, at or before the places of these messages.
    Returns these, and the messages that are left for later.
    """
    read, unread = _read(pool, messages, size, patience, known)
    now, later = _without_followers(read)
    if ahead := [one for one in now if one.first]:
        elsewhere = _memberships(pool, ahead)
        for one in ahead:
            _put_first(one, elsewhere)
    return now, [*(one.message for one in later), *unread]


def _read(
    pool: Pool, messages: Sequence[Expanding], size: int, patience: Patience, known: Mapping[PageKey, Page]
) -> tuple[list[CandidatePage], Sequence[Expanding]]:
    asked = [_asked(message) for message in messages]
    places: dict[PageKey, int] = {}
    for one in asked:
        if one.listed is None and one.start not in known:
            place = one.message.place
            if place < places.setdefault(one.start, place):
                places[one.start] = place
    small = _small_pages(pool, places, size)
    pages = {**known, **small}
    people: dict[ThreadKey, Thread] = {}
    read: list[CandidatePage] = []
    considered = 0
    while len(read) < len(messages) and considered < MEMBERS and not (read and patience.over):
        together = asked[len(read) : _end_of_reading(asked, small, len(read), size)]
        missing = {one.start: places[one.start] for one in together if one.listed is None and one.start not in pages}
        pages |= members.pages(pool, missing, size)
        people |= threads.read(pool, {one.thread for one in together if one.thread is not None} - people.keys())
        chosen = preferences.first(pool, {key for one in together for key in one.choices})
        for one in together:
            page = pages[one.start] if one.listed is None else Page(sorted(set(one.listed)), False)
            found = _put_together(one, page, None if one.thread is None else people[one.thread], chosen)
            read.append(found)
            considered += len(page.users) + len(found.first)
        patience.alive()
    return read, messages[len(read) :]


def _asked(message: Expanding) -> _Asked:
    (app, channel), root = message.key, message.event.message.parent_id
    thread = None if root is None else _thread_key(message, root)
    listed = message.event.recipients if message.look is None else message.look.users
    choices = _choices(message, thread) if "preferences" in message.used else ()
    return _Asked(message, (app, channel, message.cursor.after), listed, thread, choices)


def _put_together(
    asked: _Asked, page: Page, thread: Thread | None, chosen: Mapping[ChoiceKey, Sequence[str]]
) -> CandidatePage:
    message, users = asked.message, page.users
    people: AbstractSet[str] | None = None if thread is None else _taking_part(message, thread)
    first = message.cursor.first
    if asked.choices and not message.cursor.page:
        first = [user for key in asked.choices for user in chosen.get(key, ())]
    ahead = first_candidates(message.event, people, first)
    if people is not None and (followers := chosen.get((*message.key, message.event.message.parent_id or ""))):
        people = people | {*followers}
    full = thread is not None and thread.full
    if message.look is None:
        last = users[-1] if users else ""
        return CandidatePage(message, page.at(message.place), last, page.more, people, full, ahead, first)
    if message.event.recipients is not None:
        return CandidatePage(message, users, "", page.more, people, full, (), ())
    # Some may have left the channel: they are as those who are considered ahead of a page.
    return CandidatePage(message, (), "", False, people, full, users, ())


def _choices(message: Expanding, thread: ThreadKey | None) -> Sequence[ChoiceKey]:
    said = message.event.message
    root, loud = thread is not None, in_channel(said) and message.cap is not None
    return [*([(*message.key, said.parent_id or "")] if root else []), *([(*message.key, "")] if loud else [])]


def _taking_part(message: Expanding, thread: Thread) -> AbstractSet[str]:
    """Who of the thread takes part at the message's place."""
    place, event = message.place, message.event
    people: AbstractSet[str] = thread.people.keys()
    if thread.newest > place:
        people = {user for user, since in thread.people.items() if since <= place}
    if event.message.parent_sender:
        people = people | {event.message.parent_sender}
    # The earlier participants are unknown, so the users that the chat server lists count.
    return people if thread.root_seen else people | {*(event.recipients or ())}


def _small_pages(pool: Pool, places: Mapping[PageKey, int], size: int) -> dict[PageKey, Page]:
    """The whole pages of small channels, where there are more channels than pages that may be read together."""
    if len(places) * size <= MEMBERS or size <= LOOK:
        return {}
    looked = dict(list(places.items())[: MEMBERS // LOOK])
    return {start: page for start, page in members.pages(pool, looked, LOOK).items() if not page.more}


def _end_of_reading(asked: Sequence[_Asked], small: Mapping[PageKey, Page], begin: int, size: int) -> int:
    """Up to where messages from `begin` on may be read together: at least one."""
    room = MEMBERS
    for end in range(begin, len(asked)):
        one = asked[end]
        if one.listed is not None:
            room -= len(one.listed)
        elif (page := small.get(one.start)) is not None:
            room -= len(page.users)
        else:
            room -= size
        room -= callees(one.message.event.message)
        if room < 0 and end > begin:
            return end
    return len(asked)


def _without_followers(read: Sequence[CandidatePage]) -> tuple[list[CandidatePage], list[CandidatePage]]:
    """The messages to decide now, and the others, which follow a message of their channel that needs several pages."""
    now: list[CandidatePage] = []
    later: list[CandidatePage] = []
    long: set[tuple[str, str]] = set()
    for one in read:
        message = one.message
        if message.key in long:
            later.append(one)
            continue
        now.append(one)
        if one.more and not one.narrow and message.cap is None:
            long.add(message.key)
    return now, later


def _thread_key(message: Expanding, root: str) -> ThreadKey | None:
    said = message.event.message
    if said.mentions_everyone or said.category == "reaction":
        return None
    return ThreadKey(*message.key, root, message.event.recipients is not None)


def _memberships(pool: Pool, pages: Iterable[CandidatePage]) -> Intervals:
    """Users considered ahead of a page that is not the whole channel may be members elsewhere in it, or none at all."""
    asked: dict[Ids, int] = {}
    for one in pages:
        if one.is_part:
            for user in set(one.first).difference(one.candidates):
                key = (*one.message.key, user)
                asked[key] = min(one.message.seen_from, asked.get(key, one.message.seen_from))
    return members.memberships(pool, asked)


def _put_first(page: CandidatePage, elsewhere: Intervals) -> None:
    """Those who are considered ahead of the page's users come first, and no candidate is taken for a member."""
    message, users, first = page.message, page.candidates, page.first
    ahead, present = set(first), set(users)
    behind = [user for user in users if user not in ahead]
    if page.is_part:
        present.update(user for user in first if held(elsewhere.get((*message.key, user), ()), message.seen_from))
    page.candidates, page.members = behind if message.cursor.page else [*first, *behind], present
