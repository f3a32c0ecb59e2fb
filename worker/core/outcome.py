"""The outcomes of a notification, and what bounds them. Each kind has a table that gives the outcome of each answer."""

from dataclasses import dataclass
from typing import Final, Literal

from worker.core.backoff import FIRST_DELAY, backoff
from worker.core.model import HELD_UP, NoAnswer

#: Longest cooldown of a device that refuses too many in a row.
LONGEST_COOLDOWN: Final = 60.0
#: The same for a way, unless it asks for more.
LONGEST_QUOTA: Final = 900.0
#: After this many tries that may have reached the provider a notification is given up, whatever its expiry.
MAX_ATTEMPTS: Final = 10
#: The reason for which a provider is stopped that refuses most tokens.
MASS_REFUSAL: Final = "mass_refusal"
#: The reason for which a way is stopped that has refused some tokens for a minute, and accepted nothing with its credential.
UNPROVEN: Final = "refused_unproven"
#: Seconds from the first guarded refusal of a device until its notification is sent again, and until its way is stopped if it has
#: accepted nothing since.
CONFIRM_SECONDS: Final = 5.0
UNPROVEN_SECONDS: Final = 60.0
#: Share of refused tokens above which the fault is ours, not the tokens'; see `guard`.
GUARD_SHARE: Final = 0.20
GUARD_MINIMUM: Final = 20
#: Refusals in a row that mean the same, however many answers before were good: at a few pushes a second that is seconds.
IN_A_ROW: Final = 12
#: The same for 410, which no wrong key or topic causes. Above this share a device is retired only at its second 410.
GONE_SHARE: Final = 0.50
GONE_MINIMUM: Final = 200

#: Of a token: device id, ms up to which the refusal holds, reason.
Refusal = tuple[int, int, str]

#: What a fault is about, the smallest that explains it: one notification, its device, one origin of the provider
#: (`worker/core/way.py`), or all that the provider sends.
Scope = Literal["notification", "device", "origin", "provider"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The provider accepted it. That does not prove that a phone showed it; no such proof exists."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Send the same request again, with the same ids, not before `delay` seconds from now.

    With the scope `device`, or with `cooldown`, nothing else goes to the device, the origin or the provider meanwhile, and the
    delay grows with their refusals in a row, which the store counts: `delay` is the least then.
    """

    delay: float
    reason: str
    scope: Scope = "notification"
    #: First make another access token.
    refresh_token: bool = False
    #: False: the try did not reach the provider, so only the expiry bounds such tries.
    spends_attempt: bool = True
    #: For the scopes `origin` and `provider`: that is over a quota, which is no fault. Pushes to it wait in the store.
    cooldown: bool = False


@dataclass(frozen=True, slots=True)
class Unregister:
    """Retire the device, if its registration in force is not newer than `not_after` (ms since the epoch)."""

    reason: str
    not_after: int
    #: The answer may also mean that the provider is misconfigured: ask `guard` first.
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Drop:
    """Final without delivery; the device stays. `alarm`: a person should look, because this is a bug of ours."""

    reason: str
    alarm: bool = False
    #: What prevented the delivery, if `reason` says only why it is final.
    cause: str | None = None
    #: As of `Unregister`: if most answers are like this, the provider is stopped, and the notification is sent again later.
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """Stop this provider, or the jobs' one origin, and hold the jobs back: nothing can arrive until a person corrects it.

    Retires nothing.
    """

    reason: str
    scope: Literal["origin", "provider"] = "provider"


Outcome = Delivered | Retry | Unregister | Drop | OpenBreaker
DELIVERED: Final = Delivered()


def unregistered(reason: str, *, registered_at: int, not_after: int, guarded: bool = False) -> Outcome:
    """A token that was invalid at `not_after` (ms). A registration after that moment is newer knowledge than the answer.

    Then the device stays, and this notification is final all the same: an app that has just registered is open in its user's
    hand. The next message tries the token anew.
    """
    if registered_at > not_after:
        return Drop("reregistered", cause=reason)
    return Unregister(reason, not_after, guarded)


def unanswered(none: NoAnswer, *, attempt: int, unsent: int, jitter: float) -> Retry:
    """Of a notification without an answer: `not_sent` costs nothing but time; `unknown` is a try, and may repeat it."""
    if none.sent != "not_sent":
        return Retry(backoff(attempt, jitter=jitter), none.cause, "origin")
    delay = backoff(unsent + 1, jitter=jitter, base=FIRST_DELAY / 2)
    return Retry(delay, none.cause, "notification" if none == HELD_UP else "origin", spends_attempt=False)


def within_life(outcome: Outcome, *, now: float, attempt: int, expires_at: float) -> Outcome:
    """The outcome, but a retry that would come too late or too often is a drop.

    `now` and `expires_at` in UNIX seconds; `attempt`: number of the try that had this outcome, from 1. Asked last, when the
    delay is final and the device's cooldown is stored: that holds for other messages, whatever becomes of this one.
    """
    if not isinstance(outcome, Retry):
        return outcome
    if now + outcome.delay >= expires_at:
        return Drop("expired", cause=outcome.reason)
    if outcome.spends_attempt and attempt >= MAX_ATTEMPTS:
        return Drop("too_many_attempts", cause=outcome.reason)
    return outcome


def confirmed(outcome: Unregister | Drop, *, age: float, proven: bool, worked: bool) -> Outcome:
    """What a guarded refusal comes to: it stands if its device is refused again after the way has accepted something else.

    A wrong key, host, topic or project refuses good tokens as well, and so may a service for a moment. Therefore the notification
    waits. `age`: seconds since the device's first refusal; `proven`: whether a push was accepted that was sent after that;
    `worked`: whether one was accepted with this credential before. Where nothing else is sent, a minute of refusals is enough for
    a credential that has worked. With one that has not, the way is stopped: its notifications wait for a person or for the end of
    their lives.
    """
    if age >= (UNPROVEN_SECONDS if not proven else CONFIRM_SECONDS):
        return outcome if proven or worked else OpenBreaker(UNPROVEN, "origin")
    if age < CONFIRM_SECONDS:
        return Retry(CONFIRM_SECONDS - age, outcome.reason)
    return Retry(min(age, UNPROVEN_SECONDS - age) + 0.1, outcome.reason)


def guard(refused: int, answered: int, in_a_row: int = 0) -> bool:
    """Whether so many of a provider's recent answers refused the token that the provider is at fault: stop it, retire nothing.

    With a wrong host or topic every good token is answered `BadDeviceToken`. The signs are a share above 20 % of at least 20
    answers, or `IN_A_ROW` refusals with nothing else between.
    """
    return in_a_row >= IN_A_ROW or (answered >= GUARD_MINIMUM and refused > answered * GUARD_SHARE)


def is_mass_unregister(gone: int, answered: int, *, minimum: int = GONE_MINIMUM) -> bool:
    """Whether so many of a provider's recent answers were 410 that the provider may be at fault: keep the devices, log an error.

    Everybody does not uninstall within minutes. More than half of at least 200 answers is an outage or a wrong gateway.
    """
    return answered >= minimum and gone > answered * GONE_SHARE
