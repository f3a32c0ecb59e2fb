"""The outcome of a notification for each response of FCM. One pure table; the pipeline carries the outcome out."""

from typing import Final

from worker.core.backoff import backoff
from worker.core.model import Answer, NoAnswer, Response
from worker.core.outcome import DELIVERED, Drop, OpenBreaker, Outcome, Retry, Unregister, unanswered, unregistered
from worker.providers.fcm.reasons import Action, action_for

#: An access token younger than this is not replaced because of a 401, in seconds: the next one would be refused as well.
YOUNG: Final = 60.0
#: Seconds: Google asks for no retry sooner than the first; a cooldown begins with the second.
LEAST_DELAY: Final = 10.0
LEAST_COOLDOWN: Final = 60.0
#: Between two tries while the project's APNs key is wrong, as far as that is known of a device.
LONG_DELAY: Final = 900.0
#: Tries after which a notification is given up. Their delays add up to 58 minutes; Google asks to end after an hour.
MAX_TRIES: Final = 8
#: The cause of a `NoAnswer` because of the token endpoint begins with this.
ACCESS_TOKEN: Final = "access token: "


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
    """The outcome of one try; arguments as of `base.Decide`."""
    if isinstance(response, Answer):
        if response.status == 200:
            return DELIVERED
        return _answered(response, registered_at, sent_at, attempt, jitter, token_age)
    return _unanswered(response, attempt, unsent, jitter)


def _answered(
    answer: Answer, registered_at: int, sent_at: int, attempt: int, jitter: float, token_age: float | None
) -> Outcome:
    reason = answer.reason or f"status_{answer.status}"
    action = action_for(answer.status, answer.reason)
    match action:
        case Action.RETIRE:
            # The answer has no time, so it counts against registrations up to our request.
            return unregistered(reason, registered_at=registered_at, not_after=sent_at)
        case Action.RETIRE_GUARDED:
            return Unregister(reason, sent_at, guarded=True)
        case Action.DROP:
            return Drop(reason, alarm=True)
        case Action.DROP_GUARDED:
            return Drop(reason, alarm=True, guarded=True)
        case Action.OPEN:
            return OpenBreaker(reason)
        case Action.OPEN_APPLE:
            return OpenBreaker(reason, "origin")
        case Action.REFRESH_TOKEN if token_age is not None and token_age < YOUNG:
            return OpenBreaker(reason)
        case Action.REFRESH_TOKEN:
            return Retry(answer.retry_after or 0.0, reason, "provider", refresh_token=True)
        case _:
            return _again(_later(action, reason, answer.retry_after or 0.0, attempt, jitter), attempt)


def _later(action: Action, reason: str, wait: float, attempt: int, jitter: float) -> Retry:
    """`wait`: seconds that the answer asks for, 0 if it does not."""
    match action:
        case Action.WAIT_LONG:
            return Retry(max(LONG_DELAY * (0.5 + jitter / 2), wait), reason)
        case Action.COOL_DOWN_DEVICE:
            return Retry(max(LEAST_DELAY, wait or LEAST_COOLDOWN), reason, "device")
        case Action.COOL_DOWN_PROVIDER:
            return Retry(max(LEAST_DELAY, wait or LEAST_COOLDOWN), reason, "provider", cooldown=True)
        case _:
            return Retry(max(_delay(attempt, jitter), wait), reason, "provider")


def _unanswered(none: NoAnswer, attempt: int, unsent: int, jitter: float) -> Outcome:
    """`not_sent` costs nothing but time. `unknown` may repeat: the app knows the notification by its `id`."""
    if none.sent == "unwritable":
        return Drop(none.cause, alarm=True)
    if none.cause.startswith(ACCESS_TOKEN):
        return Retry(_delay(unsent + 1, jitter), none.cause, "provider", spends_attempt=False)
    if none.sent == "not_sent":
        return unanswered(none, attempt=attempt, unsent=unsent, jitter=jitter)
    return _again(Retry(_delay(attempt, jitter), none.cause, "origin"), attempt)


def _delay(tries: int, jitter: float) -> float:
    """From 10 to 20 seconds three times as long each time, up to 15 minutes."""
    return backoff(tries, base=2 * LEAST_DELAY, longest=900.0, growth=3.0, jitter=jitter)


def _again(retry: Retry, attempt: int) -> Outcome:
    return retry if attempt < MAX_TRIES else Drop("too_many_attempts", cause=retry.reason)
