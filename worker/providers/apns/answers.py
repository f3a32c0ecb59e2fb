"""Reads answers of APNs: a JSON body, and reasons that are about the whole connection. A `Service` of the HTTP/2 client."""

import json
import re
import time
from collections.abc import Mapping
from typing import Final

from worker.core.model import Answer
from worker.core.retry_after import seconds

#: As of `Service`.
accepted: Final = frozenset((200,))
fields: Final = frozenset(("retry-after",))
_REASON: Final = re.compile(r"[A-Za-z]{1,64}")
#: Answers about the connection, not the notification: it takes nothing new, and the next try uses another one.
PARTING: Final = frozenset(
    (
        (403, "ExpiredProviderToken"),
        (403, "UnrelatedKeyIdInToken"),
        (400, "IdleTimeout"),
        (429, "TooManyProviderTokenUpdates"),
        (503, "Shutdown"),
    )
)
#: Reasons in a GOAWAY that another connection may not get; any other is about the credential.
_PASSING: Final = frozenset(("Shutdown", "IdleTimeout", "InternalServerError", "ServiceUnavailable"))


def read_answer(status: int, fields: Mapping[str, str], body: bytes | bytearray) -> Answer:
    """The answer of a status, its fields and its body; a body that is no JSON of Apple's form leaves the reason out."""
    document = _document(body) if status != 200 else {}
    timestamp = document.get("timestamp") if status == 410 else None
    return Answer(
        status,
        _reason(document),
        timestamp if isinstance(timestamp, int) and not isinstance(timestamp, bool) else None,
        seconds(fields.get("retry-after"), time.time()),
    )


def read_reason(body: bytes | bytearray) -> str | None:
    """The reason in a body or in the debug data of a GOAWAY; None where there is none."""
    return _reason(_document(body))


def _reason(document: dict[str, object]) -> str | None:
    reason = document.get("reason")
    return reason if isinstance(reason, str) and _REASON.fullmatch(reason) else None


def _document(body: bytes | bytearray) -> dict[str, object]:
    try:
        document = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def is_parting(answer: Answer) -> bool:
    """Whether the answer is about the connection: the next try uses another one."""
    return (answer.status, answer.reason) in PARTING


def is_passing(reason: str) -> bool:
    """Whether another connection may not get this reason of a GOAWAY."""
    return reason in _PASSING
