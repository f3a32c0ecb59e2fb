"""The delivery rules: who gets a push for a message, and for everyone else the reason why not.

First the message as a whole (`skip_message`), then each candidate (`decide_member`), then the member cap (`decide_page`).
A candidate is skipped for the first rule that applies, in the order of `Reason`, so that the ledger has one answer.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from producers.events import MessageNew
from worker.core.model import AppSettings, Device, Reason
from worker.core.notification import expiration

Why = Literal["member", "thread", "mention"]


class Push(NamedTuple):
    """The user gets a push, on each of these devices, for this reason."""

    user: str
    devices: Sequence[Device]
    why: Why


class Skip(NamedTuple):
    user: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Audience:
    """What is known about the candidates of one message when it is expanded."""

    #: Members among the candidates; None: every candidate is one (an explicit list of recipients).
    members: Collection[str] | None = None
    #: Users of the thread, for a reply; None for a message that is not in a thread.
    thread: Collection[str] | None = None
    #: Whether the thread has taken up nobody for a while, because it has as many people as one may have.
    thread_full: bool = False
    #: Users who muted the sender.
    muted: Collection[str] = ()
    online: Collection[str] = ()
    #: Empty for a user whose devices have lost their provider.
    devices: Mapping[str, Sequence[Device]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    pushes: list[Push]
    skips: list[Skip]


def skip_message(
    event: MessageNew, app: AppSettings, *, channel_push: bool, channel_known: bool, now: float
) -> Reason | None:
    """Why nobody gets this message, or None. S8, S9, A6; `now` in UNIX seconds."""
    if app.only_to == ():
        return Reason.NOT_ALLOWED_HERE
    if not app.push_enabled:
        return Reason.PUSH_OFF
    if event.message.skip_push:
        return Reason.SKIP_PUSH
    if now > expiration(event, app.max_age):
        return Reason.TOO_OLD
    if not channel_known and event.recipients is None:
        return Reason.UNKNOWN_CHANNEL
    return None if channel_push else Reason.CHANNEL_OFF


def first_candidates(event: MessageNew, thread: Iterable[str] | None) -> list[str]:
    """Users to consider ahead of the channel's own order: the mentioned, then the rest of the thread, each once.

    The thread comes before the channel, so that the member cap cuts off those whom the message concerns least.
    """
    return list(dict.fromkeys([*event.message.mentioned, *sorted(thread or ())]))


def decide_member(
    user: str, event: MessageNew, app: AppSettings, audience: Audience, named: Collection[str]
) -> Push | Skip:
    """The rules S2-S6 and A4 for one candidate, without the cap. `named`: who is mentioned, a set where they are many."""
    if user == event.sender.id:
        return Skip(user, Reason.SENDER)
    if audience.members is not None and user not in audience.members:
        return Skip(user, Reason.NOT_A_MEMBER)
    mentioned = user in named
    if audience.thread is not None and not mentioned and user not in audience.thread:
        return Skip(user, Reason.THREAD_FULL if audience.thread_full else Reason.NOT_IN_THREAD)
    if user in audience.muted:
        return Skip(user, Reason.MUTED)
    if user in audience.online and not app.push_to_online:
        return Skip(user, Reason.ONLINE)
    if app.only_to is not None and user not in app.only_to:
        return Skip(user, Reason.NOT_ALLOWED_HERE)
    devices = audience.devices.get(user)
    if devices is None:
        return Skip(user, Reason.NO_DEVICE)
    if not devices:
        return Skip(user, Reason.NO_PROVIDER)
    why: Why = "mention" if mentioned else "member" if audience.thread is None else "thread"
    return Push(user, devices, why)


def decide_page(
    candidates: Iterable[str], event: MessageNew, app: AppSettings, audience: Audience, *, cap_left: int | None
) -> Decision:
    """Push or Skip for each candidate, in order.

    The cap (S7) counts members who get a push, not devices and not skips. Whoever is mentioned takes no place of it.
    """
    pushes: list[Push] = []
    skips: list[Skip] = []
    named = _EVERYONE if event.message.mentions_everyone else frozenset(event.message.mentioned)
    for user in candidates:
        verdict = decide_member(user, event, app, audience, named)
        if isinstance(verdict, Skip):
            skips.append(verdict)
        elif cap_left is None or verdict.why == "mention":
            pushes.append(verdict)
        elif cap_left > 0:
            cap_left -= 1
            pushes.append(verdict)
        else:
            skips.append(Skip(user, Reason.OVER_CAP))
    return Decision(pushes, skips)


class _Everyone(frozenset[str]):
    def __contains__(self, user: object) -> bool:
        return True


_EVERYONE: Final = _Everyone()


def unmentioned(pushes: Sequence[Push], event: MessageNew) -> int:
    """How many of the pushes count against the cap."""
    if event.message.mentions_everyone:
        return 0
    return sum(push.why != "mention" for push in pushes) if event.message.mentioned else len(pushes)
