"""The delivery rules: who gets a push for a message, and for everybody else the reason for none.

First the message as a whole (`MESSAGE_RULES`), then each candidate (`RULES`), then the member cap. A candidate is skipped for the
first rule that applies, in the order of the list, so that the ledger has one answer.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import inf
from typing import Final, Literal, NamedTuple

from producers.events import MessageNew
from worker.core.model import AppSettings, Device
from worker.core.notification import expiration

Why = Literal["member", "thread", "mention"]

# Reasons that not only the lists know.
NOT_ALLOWED_HERE: Final = "not_allowed_here"
PUSH_OFF: Final = "app_push_off"
TOO_OLD: Final = "too_old"
SENDER: Final = "sender"
NOT_IN_THREAD: Final = "not_in_thread"
THREAD_FULL: Final = "thread_full"
OVER_CAP: Final = "over_member_cap"

_NOBODY: Final[Mapping[str, Collection[str]]] = {}
_NO_DEVICES: Final[Mapping[str, Sequence[Device]]] = {}


class Push(NamedTuple):
    """The user gets a push, on each of these devices, for this reason."""

    user: str
    devices: Sequence[Device]
    why: Why


class Skip(NamedTuple):
    user: str
    reason: str


class Decision(NamedTuple):
    pushes: list[Push]
    skips: list[Skip]


class MessageCase(NamedTuple):
    """A message and what is known of its channel. `moment`: when it is expanded, UNIX seconds."""

    event: MessageNew
    app: AppSettings
    channel_known: bool
    channel_push: bool
    moment: float


class MessageRule(NamedTuple):
    #: What the ledger and the counts show.
    reason: str
    #: The same in words for people.
    sentence: str
    applies: Callable[[MessageCase], bool]


MESSAGE_RULES: Final = (
    MessageRule(
        NOT_ALLOWED_HERE,
        "this environment may push to nobody: the database is another fleet's, see carillon fleet",
        lambda case: case.app.only_to == (),
    ),
    MessageRule(PUSH_OFF, "pushes are off for the app", lambda case: not case.app.push_enabled),
    MessageRule("skip_push", "it says skip_push", lambda case: case.event.message.skip_push),
    MessageRule(
        TOO_OLD,
        "too old when its turn came, by the clock of the server that wrote its at: is that clock right, and its zone?",
        lambda case: case.moment > expiration(case.event, case.app.max_age),
    ),
    MessageRule(
        "unknown_channel",
        "nobody was ever added to its channel",
        lambda case: not case.channel_known and case.event.recipients is None,
    ),
    MessageRule("channel_push_off", "pushes are off for its channel", lambda case: not case.channel_push),
)


class Case(NamedTuple):
    """A message and what is known about its candidates when it is expanded."""

    event: MessageNew
    app: AppSettings
    #: Members among the candidates; None: every candidate is one.
    members: Collection[str] | None = None
    #: Users of the thread, for a reply; None for a message that is not in a thread.
    thread: Collection[str] | None = None
    #: Whether the thread has as many participants as a thread may have, so that it adds nobody.
    thread_full: bool = False
    #: By the fact's name, the users for whom it is true. A fact that is true for nobody may be missing.
    facts: Mapping[str, Collection[str]] = _NOBODY
    #: Active devices of each user that has any.
    devices: Mapping[str, Sequence[Device]] = _NO_DEVICES
    #: Users all of whose devices have lost their provider.
    unreachable: Collection[str] = ()
    #: Whether this is a second look, in which presence is out of the question.
    again: bool = False


class Rule(NamedTuple):
    reason: str
    #: The same for people: how a user is who was skipped.
    sentence: str
    #: Whom it skips; None: it says nothing about this message.
    users: Callable[[Case], Collection[str] | None]
    #: Whether it skips everybody else instead.
    others: bool = False


def so(fact: str) -> Callable[[Case], Collection[str] | None]:
    """The users of whom a fact is so."""
    return lambda case: case.facts.get(fact)


def _thread(case: Case) -> Collection[str] | None:
    """Whom a reply reaches; None where that is everybody."""
    if case.thread is None or case.event.message.mentions_everyone:
        return None
    mentioned = case.event.message.mentioned
    return {*case.thread, *mentioned} if mentioned else case.thread


RULES: Final = (
    Rule(SENDER, "wrote it", lambda case: (case.event.sender.id,)),
    Rule("not_a_member", "mentioned, but not in the channel", lambda case: case.members, others=True),
    Rule(
        NOT_IN_THREAD,
        "not part of the thread it is in",
        lambda case: None if case.thread_full else _thread(case),
        others=True,
    ),
    Rule(
        THREAD_FULL,
        "not part of the thread it is in, which is full",
        lambda case: _thread(case) if case.thread_full else None,
        others=True,
    ),
    Rule("muted_sender", "muted the sender", so("muted")),
    Rule(
        "online",
        "online at that moment",
        lambda case: None if case.app.push_to_online or case.again else so("online")(case),
    ),
    Rule(
        NOT_ALLOWED_HERE,
        "not among those whom this environment may push to, see carillon fleet",
        lambda case: case.app.only_to,
        others=True,
    ),
    Rule("no_device", "without a device", lambda case: case.devices, others=True),
    Rule("no_provider", "with devices only of providers that were removed", lambda case: case.unreachable),
)


def skip_message(case: MessageCase) -> str | None:
    """Why nobody gets this message, or None. S8, S9, A6."""
    for rule in MESSAGE_RULES:
        if rule.applies(case):
            return rule.reason
    return None


def first_candidates(event: MessageNew, thread: Iterable[str] | None) -> list[str]:
    """Users to consider ahead of the channel's own order: the mentioned, then the rest of the thread, each once.

    The thread comes before the channel, so that the member cap cuts off those whom the message concerns least.
    """
    return list(dict.fromkeys([*event.message.mentioned, *sorted(thread or ())]))


def decide_page(
    candidates: Iterable[str], case: Case, *, cap_left: int | None, rules: Sequence[Rule] = RULES
) -> Decision:
    """Push or Skip for each candidate, in order: S2-S7 and A4.

    The cap (S7) counts members who get a push, not devices and not skips. Whoever is mentioned takes no place of it.
    """
    checks = _checks(case, rules)
    message, devices = case.event.message, case.devices
    named = _EVERYONE if message.mentions_everyone else frozenset(message.mentioned)
    room = inf if cap_left is None else cap_left
    unnamed: Why = "member" if case.thread is None else "thread"
    pushes: list[Push] = []
    skips: list[Skip] = []
    for user in candidates:
        for reason, users, others in checks:
            if (user in users) is not others:
                skips.append(Skip(user, reason))
                break
        else:
            if user in named:
                pushes.append(Push(user, devices[user], "mention"))
            elif room > 0:
                room -= 1
                pushes.append(Push(user, devices[user], unnamed))
            else:
                skips.append(Skip(user, OVER_CAP))
    return Decision(pushes, skips)


def _checks(case: Case, rules: Sequence[Rule]) -> list[tuple[str, Collection[str], bool]]:
    """Reason, users and `others` of each of the rules that may skip anybody."""
    checks = []
    for rule in rules:
        users = rule.users(case)
        if users or (rule.others and users is not None):
            checks.append((rule.reason, users, rule.others))
    return checks


class _Everyone(frozenset[str]):
    def __contains__(self, user: object) -> bool:
        return True


_EVERYONE: Final = _Everyone()


def unmentioned(pushes: Sequence[Push], event: MessageNew) -> int:
    """How many of the pushes count against the cap."""
    if event.message.mentions_everyone:
        return 0
    return sum(push.why != "mention" for push in pushes) if event.message.mentioned else len(pushes)
