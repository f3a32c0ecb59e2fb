"""What becomes of a notification once APNs has answered, or has not. One pure table; the road carries the outcome out."""

from dataclasses import dataclass
from typing import Final

from worker.core.apns_reasons import BY_REASON, Action, action_for
from worker.core.model import Answer, NoAnswer, Response

#: Apple: a 5xx may be tried again after 15 minutes. A chat message is worth earlier tries, so this is where we end, in seconds.
LONGEST_DELAY: Final = 900.0
#: Longest that all of a device waits because of one notification, whose own tries may be many, and of other reasons.
LONGEST_HOLD: Final = 60.0
#: Longest delay after a try that certainly did not reach APNs: the fault is the network's and ends at any moment.
LONGEST_RECONNECT: Final = 30.0
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
#: Likewise for 410, which no wrong key or topic gives: a share that is believed only of a device that is told again.
GONE_SHARE: Final = 0.50
GONE_MINIMUM: Final = 200


@dataclass(frozen=True, slots=True)
class Delivered:
    """APNs accepted it. Not a proof that a phone rang: there is none."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Send the same request again, same `apns-id` and collapse id, not before `delay` seconds from now."""

    delay: float
    reason: str
    #: The connection is worth nothing for this request any more: use another one.
    new_connection: bool = False
    #: Ask the token source for another provider token first.
    refresh_token: bool = False
    #: False: the try did not reach APNs, so it counts against the expiry alone.
    spends_attempt: bool = True
    #: Seconds in which nothing else goes to the device: it is the device that gets too many.
    hold: float = 0.0


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
class Halt:
    """Stop this provider and park the job: what it sends cannot arrive until a person mends it. Retires nothing."""

    reason: str


Outcome = Delivered | Retry | Unregister | Drop | Halt
DELIVERED: Final = Delivered()


def decide_outcome(
    response: Response,
    *,
    registered_at: int,
    sent_at: int,
    attempt: int,
    expires_at: int | None = None,
    jitter: float = 0.5,
    token_age: float | None = None,
) -> Outcome:
    """The outcome of one try.

    `registered_at`, `sent_at`, `expires_at`: ms since the epoch; `attempt`: this try's number, from 1; `jitter` in [0, 1);
    `token_age`: seconds since the provider token in use was issued, None for a certificate or where it is not known.
    """
    if isinstance(response, Answer):
        if response.status == 200:
            return DELIVERED
        outcome = _answered(response, registered_at, sent_at, attempt, jitter, token_age)
    else:
        outcome = _unanswered(response, attempt, jitter, token_age)
    return within_life(outcome, sent_at=sent_at, attempt=attempt, expires_at=expires_at)


def within_life(outcome: Outcome, *, sent_at: int, attempt: int, expires_at: int | None) -> Outcome:
    """The outcome, but a retry that would come too late or too often is a drop. Arguments as of `decide_outcome`."""
    if not isinstance(outcome, Retry):
        return outcome
    if expires_at is not None and sent_at + outcome.delay * 1000 >= expires_at:
        return Drop("expired", cause=outcome.reason)
    if outcome.spends_attempt and attempt >= MAX_ATTEMPTS:
        return Drop("too_many_attempts", cause=outcome.reason)
    return outcome


def backoff(attempt: int, *, jitter: float, base: float = 10.0, longest: float = LONGEST_DELAY) -> float:
    """Seconds to wait after try number `attempt` (from 1): tripling from `base` to `longest`, the upper half of it random.

    With `jitter` in [0, 1) the delay is in [half, whole): retries of one outage do not come back as one wave.
    """
    whole = min(longest, base * 3.0 ** min(max(attempt, 1) - 1, 20))
    return whole * (0.5 + jitter / 2)


def guard(refused: int, answered: int) -> bool:
    """Whether so many of a provider's recent answers refused the token that the provider is to blame: halt, retire nothing.

    A wrong host or topic turns every good token into a `BadDeviceToken`; a share above 20 % of at least 20 answers is that.
    """
    return answered >= GUARD_MINIMUM and refused > answered * GUARD_SHARE


def doubtful(gone: int, answered: int, *, minimum: int = GONE_MINIMUM) -> bool:
    """Whether so many of a provider's recent answers were 410 that it is hard to believe: keep the devices, tell a person.

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
    not_after = sent_at if timestamp is None else timestamp
    if registered_at <= not_after:
        return Unregister(reason, not_after)
    return Drop("reregistered", cause=reason)


def _unanswered(none: NoAnswer, attempt: int, jitter: float, token_age: float | None) -> Outcome:
    """No answer: `not_sent` costs nothing but time; `unknown` may repeat, which the same ids make the phone show once.

    A GOAWAY's reason speaks for the whole connection, so only what it says about provider or connection is taken from it.
    """
    action = BY_REASON.get(none.cause)
    if action in _CONNECTION_WIDE:
        return _provider_or_retry(action, none.cause, attempt, jitter, token_age, None)
    if none.sent == "unwritable":
        return Drop(none.cause, alarm=True)
    if none.sent == "not_sent":
        delay = backoff(attempt, jitter=jitter, base=0.5, longest=LONGEST_RECONNECT)
        return Retry(delay, none.cause, new_connection=True, spends_attempt=False)
    return Retry(backoff(attempt, jitter=jitter, base=1.0), none.cause, new_connection=True)


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
            return Halt(reason)
        case Action.REFRESH_JWT_NEW_CONNECTION_RETRY_ONCE:
            if token_age is not None and token_age < TOKEN_MIN_AGE:
                # A token this young is not an hour old: our clock is wrong, and minting more of them ends in 429.
                return Halt(reason)
            return Retry(max(quick, least), reason, new_connection=True, refresh_token=True)
        case Action.NEW_CONNECTION_RETRY:
            return Retry(max(quick, least), reason, new_connection=True)
        case Action.KEEP_JWT_DELAY_RECYCLE_CONNECTION:
            return Retry(max(backoff(attempt, jitter=jitter, base=60.0), least), reason, new_connection=True)
        case Action.RETRY_DELAY_THIS_TOKEN:
            delay = backoff(attempt, jitter=jitter)
            return Retry(max(delay, least), reason, hold=max(min(delay, LONGEST_HOLD), least))
        case _:
            return Retry(max(backoff(attempt, jitter=jitter), least), reason)
