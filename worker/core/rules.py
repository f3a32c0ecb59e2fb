"""The delivery rules: who gets a push for a message, and for everybody else the reason for none.

First the message as a whole (`MESSAGE_RULES`), then each candidate (`RULES`), then the member cap. A candidate is skipped for the
first rule that applies, in the order of the list, so that the ledger has one answer.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import product
from math import inf
from typing import Final, Literal, NamedTuple, overload

import msgspec

from producers.events import MessageNew
from producers.fields import Trigger
from worker.core import preferences
from worker.core.model import AppSettings, Device
from worker.core.preferences import PLAIN, REASONS, Verdict, Verdicts
from worker.core.privacy import NO_KEY
from worker.core.quiet import NOBODY, Silent
from worker.core.triggers import CALLED

#: Why a user gets a push: the most salient trigger that is on for them. A release before wrote `member` for `message`.
Why = Trigger

# Reasons that not only the lists know.
NOT_ALLOWED_HERE: Final = "not_allowed_here"
PUSH_OFF: Final = "app_push_off"
SKIP_PUSH: Final = "skip_push"
TOO_OLD: Final = "too_old"
DELETED: Final = "deleted"
UNKNOWN_MESSAGE: Final = "unknown_message"
UNKNOWN_CHANNEL: Final = "unknown_channel"
CHANNEL_PUSH_OFF: Final = "channel_push_off"
SENDER: Final = "sender"
NOT_IN_THREAD: Final = preferences.NO_TRIGGER
THREAD_FULL: Final = "thread_full"
OVER_CAP: Final = "over_member_cap"
OVER_DAILY_CAP: Final = "over_daily_cap"
READ: Final = "read"
FOLDED: Final = "folded"
PAUSED: Final = "paused"
QUIET: Final = "quiet"

_NOBODY: Final[Mapping[str, Collection[str]]] = {}
_NO_DEVICES: Final[Mapping[str, Sequence[Device]]] = {}


class Push(msgspec.Struct, frozen=True):
    """The user gets a push on each of these devices."""

    user: str
    devices: Sequence[Device]
    #: Which triggers are on for them, and which row said so.
    verdict: Verdict

    @property
    def why(self) -> Why:
        return self.verdict.on[0]


class Skip(msgspec.Struct, frozen=True):
    user: str
    reason: str
    #: The row that decided, where it was a preference: `preferences.RowName`.
    by: str = ""


class Decision(msgspec.Struct, frozen=True):
    pushes: list[Push]
    skips: list[Skip]
    #: Who would get a push but is present: they are decided again by the app's `online_delay`.
    delayed: Sequence[Push] = ()


def refusal(app: AppSettings, expires_at: float, now: float) -> str | None:
    """Why something that is no message goes to nobody. Times in UNIX seconds."""
    if app.only_to == ():
        return NOT_ALLOWED_HERE
    if not app.push_enabled:
        return PUSH_OFF
    return TOO_OLD if now >= expires_at else None


#: The reasons for which a message goes to nobody, in the order in which they are looked for, and the same in words for people.
MESSAGE_RULES: Final[dict[str, str]] = {
    NOT_ALLOWED_HERE: "this environment may push to nobody: the database is another fleet's, see carillon fleet",
    PUSH_OFF: "pushes are off for the app",
    SKIP_PUSH: "it says skip_push",
    TOO_OLD: "too old when its turn came, by the clock of the server that wrote its at: is that clock right, and its zone?",
    DELETED: "it was deleted",
    UNKNOWN_MESSAGE: "it edits a message that Carillon does not know",
    UNKNOWN_CHANNEL: "nobody was ever added to its channel",
    CHANNEL_PUSH_OFF: "pushes are off for its channel",
}


class Case(msgspec.Struct, frozen=True):
    """A message and what is known about its candidates when it is expanded."""

    event: MessageNew
    app: AppSettings
    #: Members among the candidates; None: every candidate is one.
    members: Collection[str] | None = None
    #: What the message is for each of the candidates after their preferences.
    verdicts: Verdicts = PLAIN
    #: Whether the thread has as many participants as a thread may have, so that it adds nobody.
    thread_full: bool = False
    #: By the fact's name, the users for whom it is true. A fact that is true for nobody may be missing.
    facts: Mapping[str, Collection[str]] = _NOBODY
    #: Active devices of each user that has any.
    devices: Mapping[str, Sequence[Device]] = _NO_DEVICES
    #: Users all of whose devices have lost their provider.
    unreachable: Collection[str] = ()
    #: For whom it is quiet.
    silent: Silent = NOBODY
    #: Users with no device that a payload can be sealed for, where nothing may go out without a seal.
    keyless: Collection[str] = ()


class Rule(NamedTuple):
    reason: str
    #: The same for people: how a user is who was skipped.
    sentence: str
    #: Whom it skips; None: it says nothing about this message.
    users: Callable[[Case], Collection[str] | None]
    #: Whether it skips everybody else instead.
    others: bool = False
    #: Without any of these it has nothing to say, and is not asked. `limits`: something is known of whom the message may reach.
    needs: Literal["", "facts", "refusals", "silences", "limits"] = ""


#: As of `Rule.needs`.
_NEEDS: Final = ("facts", "refusals", "silences", "limits")
#: The reason of a rule, its `users` and its `others`.
_Asked = tuple[str, Callable[[Case], Collection[str] | None], bool]


class Rules(Sequence[Rule]):
    """Rules in their order."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        #: By which of `_NEEDS` are missing.
        self._asked: dict[tuple[bool, ...], Sequence[_Asked]] = {
            missing: [
                (rule.reason, rule.users, rule.others)
                for rule in self._rules
                if not rule.needs or not missing[_NEEDS.index(rule.needs)]
            ]
            for missing in product((False, True), repeat=len(_NEEDS))
        }

    @overload
    def __getitem__(self, index: int) -> Rule: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Rule]: ...
    def __getitem__(self, index: int | slice) -> Rule | Sequence[Rule]:
        return self._rules[index]

    def __len__(self) -> int:
        return len(self._rules)

    def asked(self, case: Case) -> Sequence[_Asked]:
        """Those that may have something to say."""
        limited = case.members is not None or case.app.only_to is not None or case.unreachable or case.keyless
        return self._asked[not case.facts, not case.verdicts.refused, not case.silent.refused, not limited]


def so(fact: str) -> Callable[[Case], Collection[str] | None]:
    """The users of whom a fact is so."""
    return lambda case: case.facts.get(fact)


def refused(reason: str) -> Callable[[Case], Collection[str] | None]:
    """The users whom preferences refuse for this reason."""
    return lambda case: case.verdicts.refused.get(reason)


def present(case: Case, *, delayed: bool) -> Collection[str]:
    """Who is present and gets no push for it: for good, or until they are decided again. What is urgent does not wait."""
    delays = case.app.attention.online_delay is not None
    if case.app.push_to_online or delays is not delayed or (delays and case.event.message.urgency == "urgent"):
        return ()
    return case.facts.get("present", ())


_OF_CALLS: Final = frozenset(
    (
        *(SENDER, "muted_sender", preferences.USER_OFF, preferences.CHANNEL_MUTED, PAUSED, QUIET),
        *(NOT_ALLOWED_HERE, "no_device", "no_provider", NO_KEY),
    )
)

RULES: Final = Rules(
    (
        Rule(SENDER, "wrote it", lambda case: (case.event.sender.id,)),
        Rule(
            "not_a_member",
            "called by it, but not in the channel",
            lambda case: case.members,
            others=True,
            needs="limits",
        ),
        Rule(
            NOT_IN_THREAD,
            "not part of the thread it is in",
            lambda case: None if case.thread_full else refused(NOT_IN_THREAD)(case),
            needs="refusals",
        ),
        Rule(
            THREAD_FULL,
            "not part of the thread it is in, which is full",
            lambda case: refused(NOT_IN_THREAD)(case) if case.thread_full else None,
            needs="refusals",
        ),
        Rule("muted_sender", "muted the sender", so("muted"), needs="facts"),
        Rule("edited", "named by an edit of it first, which notifies them", so("named_later"), needs="facts"),
        Rule(preferences.USER_OFF, "switched off all pushes", refused(preferences.USER_OFF), needs="refusals"),
        Rule(preferences.THREAD_MUTED, "muted the thread", refused(preferences.THREAD_MUTED), needs="refusals"),
        Rule(preferences.CHANNEL_MUTED, "muted the channel", refused(preferences.CHANNEL_MUTED), needs="refusals"),
        Rule(
            preferences.MENTIONS_ONLY,
            "notified of less than all messages",
            refused(preferences.MENTIONS_ONLY),
            needs="refusals",
        ),
        Rule(preferences.LEVEL_NONE, "notified of nothing", refused(preferences.LEVEL_NONE), needs="refusals"),
        Rule(
            preferences.SWITCHED_OFF,
            "not notified of what it is for them",
            refused(preferences.SWITCHED_OFF),
            needs="refusals",
        ),
        Rule(READ, "had read it", so("read"), needs="facts"),
        Rule(PAUSED, "paused all notifications", lambda case: case.silent.refused.get(PAUSED), needs="silences"),
        Rule(QUIET, "in quiet time", lambda case: case.silent.refused.get(QUIET), needs="silences"),
        Rule("viewing", "had the channel open at that moment", so("viewing"), needs="facts"),
        Rule("online", "online at that moment", lambda case: present(case, delayed=False), needs="facts"),
        Rule(
            NOT_ALLOWED_HERE,
            "not among those whom this environment may push to, see carillon fleet",
            lambda case: case.app.only_to,
            others=True,
            needs="limits",
        ),
        Rule("no_device", "without a device", lambda case: case.devices, others=True),
        Rule(
            "no_provider",
            "with devices only of providers that were removed",
            lambda case: case.unreachable,
            needs="limits",
        ),
        Rule(
            NO_KEY,
            "with no device whose app has given a key, and the app sends nothing unsealed",
            lambda case: case.keyless,
            needs="limits",
        ),
    )
)

#: Whom a call asks for. It is for one person and this moment: presence, bursts and caps are for messages.
CALL_RULES: Final = Rules(rule for rule in RULES if rule.reason in _OF_CALLS)


def skip_message(
    event: MessageNew,
    app: AppSettings,
    *,
    moment: float,
    expires_at: int,
    channel_known: bool,
    channel_push: bool,
    deleted: bool = False,
    known: bool = True,
) -> str | None:
    """Why nobody gets this message, one of `MESSAGE_RULES`, or None. S8, S9, A6.

    `moment`: when it is expanded, and when a push of it expires, in UNIX seconds. `deleted`: whether it was since; `known`:
    whether the message is known that it edits.
    """
    if app.only_to == ():
        return NOT_ALLOWED_HERE
    if not app.push_enabled:
        return PUSH_OFF
    if event.message.skip_push:
        return SKIP_PUSH
    if moment > expires_at:
        return TOO_OLD
    if deleted:
        return DELETED
    if not known:
        return UNKNOWN_MESSAGE
    if not channel_known and event.recipients is None:
        return UNKNOWN_CHANNEL
    return None if channel_push else CHANNEL_PUSH_OFF


def decide_page(candidates: Iterable[str], case: Case, *, cap_left: int | None, rules: Rules = RULES) -> Decision:
    """Push or Skip for each candidate, in order, or a second look: S2-S7 and A4.

    The cap (S7) counts members who get a push or are delayed, not devices and not skips. Whoever is called by name or with
    everybody else takes no place of it.
    """
    checks = _checks(case, rules)
    devices, everybody, some = case.devices, case.verdicts.everybody, case.verdicts.some
    all_called = everybody.on[0] in CALLED if everybody.on else False
    room = inf if cap_left is None else cap_left
    pushes: list[Push] = []
    skips: list[Skip] = []
    delayed: list[Push] = []
    delays = present(case, delayed=True) if case.facts else ()
    for user in candidates:
        for reason, users, others in checks:
            if (user in users) is not others:
                skips.append(Skip(user, reason, some.get(user, everybody).by if reason in REASONS else ""))
                break
        else:
            verdict, called = everybody, all_called
            if user in some:
                verdict = some[user]
                called = verdict.on[0] in CALLED
            if not called:
                if room <= 0:
                    skips.append(Skip(user, OVER_CAP))
                    continue
                room -= 1
            (delayed if user in delays else pushes).append(Push(user, devices[user], verdict))
    return Decision(pushes, skips, delayed)


def _checks(case: Case, rules: Rules) -> list[tuple[str, Collection[str], bool]]:
    """Reason, users and `others` of each of the rules that may skip anybody."""
    checks = []
    for reason, users_of, others in rules.asked(case):
        users = users_of(case)
        if users or (others and users is not None):
            checks.append((reason, users, others))
    return checks


def counted(pushes: Sequence[Push]) -> int:
    """How many of the pushes count against the cap."""
    return sum(push.why not in CALLED for push in pushes)
