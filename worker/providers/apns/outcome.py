"""The outcome of a notification for each response of APNs. One pure table; the pipeline carries the outcome out."""

from typing import Final

from worker.core.backoff import backoff
from worker.core.model import Answer, NoAnswer, Response
from worker.core.outcome import DELIVERED, Drop, OpenBreaker, Outcome, Retry, Unregister, unanswered, unregistered
from worker.providers.apns.reasons import BY_CAUSE, BY_REASON, Action, action_for

#: A provider token younger than this may not be replaced (Apple), in seconds.
TOKEN_MIN_AGE: Final = 20 * 60
#: Reasons that a wrong host or topic causes as well.
GUARDED: Final = frozenset(reason for reason, action in BY_REASON.items() if action is Action.DELETE_TOKEN_GUARDED)


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
        case Action.FIX_REQUEST | Action.DROP_ALARM | Action.DROP_SHRINK:
            return Drop(reason, alarm=True)
        case Action.DELETE_CHANNEL_RECORD:
            return Drop(reason)
        case _:
            return _provider_or_retry(action, reason, attempt, jitter, token_age, answer.retry_after)


def _gone(reason: str, timestamp: int | None, registered_at: int, sent_at: int) -> Outcome:
    """410: the token was invalid at `timestamp`. Apple forbids sending again after it."""
    # The answer can know nothing of registrations that are still to come.
    not_after = sent_at if timestamp is None or timestamp <= 0 else min(timestamp, sent_at)
    return unregistered(reason, registered_at=registered_at, not_after=not_after)


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
    return unanswered(none, attempt=attempt, unsent=unsent, jitter=jitter)


#: What is wrong with one topic of a provider's, or with its broadcast channels: its other topics may work.
_OF_TOPIC: Final = frozenset(
    ("BadTopic", "MissingTopic", "TopicDisallowed", "FeatureNotEnabled", "CannotCreateChannelConfig", "TopicMismatch")
)
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
            return OpenBreaker(reason, "origin" if reason in _OF_TOPIC else "provider")
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
