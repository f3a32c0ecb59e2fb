"""Reads a webhook's answer for each recipient, and decides the outcome.

The receiver is somebody else's program, so what it says has bounds: its words never become names of counts, a 410 for everybody
is believed only of a webhook that is known to be well, and what it took is never sent again because its answer was odd.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from worker.core.backoff import backoff
from worker.core.model import ACCEPTED, Answer, NoAnswer, Response
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
from worker.core.retry_after import LONGEST, seconds
from worker.providers.webhook.request import Recipient

#: With at least so many recent answers, more than half "gone" is not believed at once; see `outcome.is_mass_unregister`.
GONE_MINIMUM: Final = 10
#: The reason for which a device is retired if the answer is about all devices.
ALL_GONE: Final = "all_gone"
#: What the receiver answered about one device, and about all of them.
_GONE: Final = Answer(410, "gone")
_ALL_GONE: Final = Answer(410, ALL_GONE)
_REFUSED: Final = Answer(400, "refused")
_RETRY: Final = "retry"
_BAD_ANSWER: Final = Answer(200, "bad_answer")
#: Nothing was sent, or the address is forbidden: a person must look.
_STOPPING: Final = frozenset(("forbidden_address", "certificate"))
#: Statuses that are about the webhook, not about the request.
_WRONG_DOOR: Final = frozenset((401, 402, 403, 404, 405, 407, 421, 426, 431, 451))
_LATER: Final = frozenset((408, 423, 425, 429))


def read(
    status: int, content: bytes | None, retry_after: str | None, some: Sequence[Recipient], now: float
) -> list[Response]:
    """One response for each recipient. `content` None: it was too large to read; `now` in UNIX seconds."""
    wait = seconds(retry_after, now)
    if status >= 300 and status != 410:
        return [Answer(status, "redirect" if status < 400 else None, None, wait)] * len(some)
    if content is None:
        return [_BAD_ANSWER if status < 300 else Answer(503, _RETRY)] * len(some)
    said = _said(content)
    if status == 410:
        # An answer that names devices is about these; the others were not accepted.
        rest: Response = Answer(503, _RETRY, None, wait) if said else _ALL_GONE
    else:
        rest = ACCEPTED
    return [said.get(one.id) or said.get(one.device_id) or rest for one in some]


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
    return _unanswered(response, attempt, unsent, jitter)


def _answered(answer: Answer, registered_at: int, sent_at: int, attempt: int, jitter: float) -> Outcome:
    status, reason = answer.status, answer.reason or f"status_{answer.status}"
    if status < 300:
        return DELIVERED if answer.reason is None else Drop(reason, alarm=True)
    if status == 410:
        guarded = answer.reason != _GONE.reason
        return unregistered(reason, registered_at=registered_at, not_after=sent_at, guarded=guarded)
    if status < 400 or status in _WRONG_DOOR:
        return OpenBreaker(reason)
    if status in _LATER or status >= 500:
        # A result for one recipient is about it; a status is about everything that this webhook gets.
        scope: Scope = "notification" if answer.reason == _RETRY else "provider"
        return Retry(max(backoff(attempt, jitter=jitter), answer.retry_after or 0.0), reason, scope)
    return Drop(reason, alarm=answer.reason != _REFUSED.reason)


def _unanswered(none: NoAnswer, attempt: int, unsent: int, jitter: float) -> Outcome:
    if none.cause in _STOPPING:
        return OpenBreaker(none.cause)
    return unanswered(none, attempt=attempt, unsent=unsent, jitter=jitter)


def _said(content: bytes) -> dict[str, Response]:
    """By notification id or device id. An answer that is no JSON object, such as "OK", says nothing about a recipient."""
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    said: dict[str, Response] = {}
    for entry in _list(document.get("results")):
        if isinstance(entry, dict) and isinstance(name := entry.get("id"), str):
            said[name] = _verdict(entry)
    said.update({name: _GONE for name in _list(document.get("gone")) if isinstance(name, str)})
    return said


def _verdict(entry: dict[str, Any]) -> Response:
    match entry.get("status"):
        case "accepted":
            return ACCEPTED
        case "gone":
            return _GONE
        case "refused":
            return _REFUSED
        case "retry":
            wait = entry.get("retry_after")
            number = isinstance(wait, int | float) and not isinstance(wait, bool)
            return Answer(503, _RETRY, None, min(max(0.0, wait), LONGEST) if number and wait else None)
        case _:
            return _BAD_ANSWER


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
