"""What becomes of a notification once APNs has answered, or has not. One pure table; the pipeline carries the outcome out."""

from dataclasses import dataclass
from typing import Final, Literal

from worker.core.apns_reasons import BY_CAUSE, BY_REASON, Action, action_for
from worker.core.backoff import FIRST_DELAY, backoff
from worker.core.model import HELD_UP, Answer, NoAnswer, Response

#: Longest cooldown of a device that refuses too many in a row.
LONGEST_COOLDOWN: Final = 60.0
#: A provider token younger than this may not be replaced (Apple), in seconds.
TOKEN_MIN_AGE: Final = 20 * 60
#: After this many tries that may have reached APNs a notification is given up, whatever its expiry.
MAX_ATTEMPTS: Final = 10
#: Reasons that a wrong host or topic gives as well.
GUARDED: Final = frozenset(reason for reason, action in BY_REASON.items() if action is Action.DELETE_TOKEN_GUARDED)
#: Why a provider is stopped that refuses most tokens.
MASS_REFUSAL: Final = "mass_refusal"
#: Share of refused tokens above which the fault is ours, not the tokens'; see `guard`.
GUARD_SHARE: Final = 0.20
GUARD_MINIMUM: Final = 20
#: Refusals in a row that mean the same, however many answers before were good: at a few pushes a second that is seconds.
IN_A_ROW: Final = 12
#: Likewise for 410, which no wrong key or topic causes: above this share a device is retired only at its second 410.
GONE_SHARE: Final = 0.50
GONE_MINIMUM: Final = 200

#: Of a token: device id, ms up to which the refusal holds, reason.
Refusal = tuple[int, int, str]

#: What a fault is about, the smallest that explains it: one notification, its device, the way to the provider (`origin`: host
#: and connections), or all that the provider sends.
Scope = Literal["notification", "device", "origin", "provider"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """APNs accepted it. That does not prove that a phone showed it; no such proof exists."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Send the same request again, same `apns-id` and collapse id, not before `delay` seconds from now.

    With the scope `device` nothing else goes to the device meanwhile, and the delay grows with the device's refusals in a row,
    which the store counts: `delay` is the least then.
    """

    delay: float
    reason: str
    scope: Scope = "notification"
    #: Ask the token source for another provider token first.
    refresh_token: bool = False
    #: False: the try did not reach APNs, so it counts against the expiry alone.
    spends_attempt: bool = True


@dataclass(frozen=True, slots=True)
class Unregister:
    """Retire the device, if its registration in force is not newer than `not_after` (ms since the epoch)."""

    reason: str
    not_after: int
    #: The answer may as well mean that the provider is misconfigured: ask `guard` first.
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Drop:
    """Final without delivery; the device stays. `alarm`: a person should look, because this is a bug of ours."""

    reason: str
    alarm: bool = False
    #: What kept it from delivery, where `reason` says only why it is final.
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """Stop this provider and hold its jobs back: nothing can arrive until a person corrects it. Retires nothing."""

    reason: str


Outcome = Delivered | Retry | Unregister | Drop | OpenBreaker
DELIVERED: Final = Delivered()


def decide_outcome(
    response: Response,
    *,
    registered_at: int,
    sent_at: int,
    attempt: int,
    unsent: int = 0,
    jitter: float = 0.5,
    token_age: float | None = None,
) -> Outcome:
    """The outcome of one try. `within_life` ends what would be tried again too late or too often.

    `registered_at`, `sent_at`: ms since the epoch; `attempt`: this try's number, from 1; `unsent`: tries in a row before this
    one that did not reach APNs; `jitter` in [0, 1); `token_age`: seconds since the provider token in use was issued, None for
    a certificate or where it is not known.
    """
    if isinstance(response, Answer):
        if response.status == 200:
            return DELIVERED
        return _answered(response, registered_at, sent_at, attempt, jitter, token_age)
    return _unanswered(response, attempt, unsent, jitter, token_age)


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


def _answered(
    answer: Answer, registered_at: int, sent_at: int, attempt: int, jitter: float, token_age: float | None
) -> Outcome:
    reason = answer.reason or f"status_{answer.status}"
    action = action_for(answer.status, answer.reason)
    match action:
        case Action.DELETE_TOKEN_IF_NOT_REREGISTERED:
            return _gone(reason, answer.timestamp, registered_at, sent_at)
        case Action.DELETE_TOKEN_GUARDED:
            # Nothing says when the token went bad, so only what was registered when we sent may go.
            return Unregister(reason, not_after=sent_at, guarded=True)
        case Action.FIX_REQUEST | Action.DROP_ALARM | Action.DROP_SHRINK | Action.DELETE_CHANNEL_RECORD:
            return Drop(reason, alarm=True)
        case _:
            return _provider_or_retry(action, reason, attempt, jitter, token_age, answer.retry_after)


def _gone(reason: str, timestamp: int | None, registered_at: int, sent_at: int) -> Outcome:
    """410: the token was invalid at `timestamp`. A registration after that moment is newer knowledge than the answer.

    Then the device stays, and this notification is final all the same: Apple forbids sending again after a 410, and an app
    that has just registered is open in its user's hand. The next message tries the token anew.
    """
    # The answer can know nothing of registrations that are still to come.
    not_after = sent_at if timestamp is None or timestamp <= 0 else min(timestamp, sent_at)
    if registered_at <= not_after:
        return Unregister(reason, not_after)
    return Drop("reregistered", cause=reason)


def _unanswered(none: NoAnswer, attempt: int, unsent: int, jitter: float, token_age: float | None) -> Outcome:
    """No answer: `not_sent` costs nothing but time; `unknown` may repeat, which the same ids make the phone show once.

    What cannot be written as a request never will be: sent again it would come back at once, for as long as it lives.

    A GOAWAY's reason speaks for the whole connection, so only what it says about provider or connection is taken from it.
    """
    action = BY_CAUSE.get(none.cause)
    if action in _CONNECTION_WIDE:
        return _provider_or_retry(action, none.cause, attempt, jitter, token_age, None)
    if none.sent == "unwritable":
        of_provider = none.cause.startswith(_PROVIDER_FIELDS)
        return OpenBreaker(none.cause) if of_provider else Drop(none.cause, alarm=True)
    if none.sent == "not_sent":
        delay = backoff(unsent + 1, jitter=jitter, base=FIRST_DELAY / 2)
        if none == HELD_UP:
            return Retry(delay, none.cause, spends_attempt=False)
        return Retry(delay, none.cause, "origin", spends_attempt=False)
    return Retry(backoff(attempt, jitter=jitter), none.cause, "origin")


#: Fields of a request that all of a provider's have in common.
_PROVIDER_FIELDS: Final = ("topic", "provider token")
_CONNECTION_WIDE: Final = frozenset(
    (
        Action.FIX_CONFIG,
        Action.REFRESH_JWT_NEW_CONNECTION_RETRY_ONCE,
        Action.KEEP_JWT_DELAY_RECYCLE_CONNECTION,
        Action.NEW_CONNECTION_RETRY,
    )
)


def _provider_or_retry(
    action: Action, reason: str, attempt: int, jitter: float, token_age: float | None, retry_after: float | None
) -> Outcome:
    least = max(0.0, retry_after or 0.0)
    # The first move to another connection is free; after that something is wrong with more than this one.
    quick = 0.0 if attempt <= 1 else backoff(attempt - 1, jitter=jitter)
    match action:
        case Action.FIX_CONFIG:
            return OpenBreaker(reason)
        case Action.REFRESH_JWT_NEW_CONNECTION_RETRY_ONCE:
            if token_age is not None and token_age < TOKEN_MIN_AGE:
                # A token this young is not an hour old: our clock is wrong, and minting more of them ends in 429.
                return OpenBreaker(reason)
            return Retry(max(quick, least), reason, "origin", refresh_token=True)
        case Action.NEW_CONNECTION_RETRY:
            return Retry(max(quick, least), reason, "origin")
        case Action.KEEP_JWT_DELAY_RECYCLE_CONNECTION:
            return Retry(max(backoff(attempt, jitter=jitter), least), reason, "provider")
        case Action.RETRY_DELAY_THIS_TOKEN:
            return Retry(max(backoff(1, jitter=jitter), least), reason, "device")
        case _:
            return Retry(max(backoff(attempt, jitter=jitter), least), reason, "provider")
