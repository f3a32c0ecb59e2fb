"""What becomes of a push once a push service has answered, or has not. A pure table: the pipeline carries the outcome out.

A wrong key or subject is answered in many ways, and would make every subscription look dead. So no 400, 401 or 403 retires
one by itself, but the one answer that speaks of the subscription's key, and that one is guarded.
"""

from typing import Final

from worker.core.backoff import backoff
from worker.core.model import Answer, NoAnswer, Response
from worker.core.outcome import (
    DELIVERED,
    Drop,
    OpenBreaker,
    Outcome,
    Retry,
    Scope,
    unanswered,
    unregistered,
)
from worker.providers.web.answers import BRIDGE, DOMAIN_BLOCKED, KEY_MISMATCH, PARTING
from worker.providers.web.render import SILENT, UNTRANSLATED

#: Causes of no answer: no push may go where the endpoint is.
FORBIDDEN_ADDRESS: Final = "forbidden_address"
FORBIDDEN_HOST: Final = "forbidden_host"
#: Several browsers of one origin have to wait within a short time.
ORIGIN_THROTTLED: Final = "OriginThrottled"
#: Reasons that a fault of ours gives as well: of the key, of a name server, of the list of hosts. Where a host has no public
#: address, all of its browsers are refused, so that its own way is stopped at most.
GUARDED: Final = frozenset((KEY_MISMATCH, FORBIDDEN_ADDRESS, FORBIDDEN_HOST))

#: What a browser is left alone for that got too many, where the service does not say, in seconds.
THROTTLED: Final = 60.0
#: Seconds until a subscription is tried again that Google's service calls invalid: it was well a day later.
_UNSURE: Final = 900.0
_THROTTLES: Final = frozenset(("ChannelThrottled", "AppThrottled", ORIGIN_THROTTLED))
_OF_ORIGIN: Final = frozenset(("AppThrottled", ORIGIN_THROTTLED))
#: Something about who sends is wrong, under whatever status.
_IDENTITY: Final = frozenset(
    (
        *("BadJwtToken", "BadAuthorizationHeader", "BadVapidPublicKey", "BadAuthorization", "BadAudience"),
        *("BadExpiration", "MissingVapidKey", "UnauthorizedRegistration", DOMAIN_BLOCKED),
    )
)
_NEVER_SENT: Final = frozenset((SILENT, UNTRANSLATED))


def decide(
    response: Response,
    *,
    registered_at: int,
    sent_at: int,
    attempt: int,
    unsent: int = 0,
    jitter: float = 0.5,
    token_age: float | None = None,  # noqa: ARG001 - as of `base.Decide`
) -> Outcome:
    """The outcome of one try; arguments as of `base.Decide`."""
    if isinstance(response, Answer):
        return _answered(response, registered_at, sent_at, attempt, jitter)
    return _unanswered(response, registered_at, sent_at, attempt, unsent, jitter)


def is_throttle(response: Response) -> bool:
    """Whether it asks for patience without a word about for whom."""
    return isinstance(response, Answer) and response.status in (406, 429) and response.reason not in _THROTTLES


def _answered(answer: Answer, registered_at: int, sent_at: int, attempt: int, jitter: float) -> Outcome:
    status, reason = answer.status, answer.reason or f"status_{answer.status}"
    wait = max(0.0, answer.retry_after or 0.0)
    if answer.reason in _IDENTITY:
        return OpenBreaker(reason, scope="origin")
    if answer.reason == KEY_MISMATCH:
        return unregistered(reason, registered_at=registered_at, not_after=sent_at, guarded=True)
    if status in (406, 429) or answer.reason in _THROTTLES:
        if answer.reason in _OF_ORIGIN:
            return Retry(wait or THROTTLED, reason, "origin", cooldown=True)
        return Retry(wait or THROTTLED, reason, "device")
    if answer.reason in PARTING:
        return Retry(max(wait, 0.0 if attempt <= 1 else backoff(attempt - 1, jitter=jitter)), reason, "origin")
    if 200 <= status < 300:
        return DELIVERED if answer.reason is None else Drop(reason)
    if status >= 500 or status in (408, 425):
        # The bridge to one phone's service failed, and that may be the phone.
        scope: Scope = "device" if answer.reason == BRIDGE else "origin"
        return Retry(max(wait, backoff(attempt, jitter=jitter)), reason, scope)
    return _refused(status, reason, registered_at, sent_at)


def _refused(status: int, reason: str, registered_at: int, sent_at: int) -> Outcome:
    """What would be answered again. A redirect would be one as well: it is not followed, for it may lead anywhere."""
    if status == 403 and reason == "InvalidEndpoint":
        return Retry(_UNSURE, reason)
    if status in (401, 403):
        return OpenBreaker(reason, scope="origin")
    if status == 410 or (status == 404 and reason != "BadPath"):
        return unregistered(reason, registered_at=registered_at, not_after=sent_at)
    return Drop(reason, alarm=True)


def _unanswered(none: NoAnswer, registered_at: int, sent_at: int, attempt: int, unsent: int, jitter: float) -> Outcome:
    if none.cause in GUARDED:
        return unregistered(none.cause, registered_at=registered_at, not_after=sent_at, guarded=True)
    if none.sent == "unwritable":
        return Drop(none.cause, alarm=none.cause not in _NEVER_SENT)
    return unanswered(none, attempt=attempt, unsent=unsent, jitter=jitter)
