"""Push services' own words in an answer: in JSON, in text or in header fields. An `http2` `Service`.

Each becomes one short reason. Those of Apple's service stay as they are, and what another service says in other words gets
Apple's name for it.
"""

import json
import re
import time
from collections.abc import Mapping
from typing import Final

from worker.core.model import ACCEPTED, Answer
from worker.core.retry_after import seconds

#: Header fields of Microsoft's service that say more than the status.
WNS_STATUS: Final = ("x-wns-status", "x-wns-notificationstatus")
WNS_ERROR: Final = "x-wns-error-description"
#: As of `Service`.
accepted: Final = frozenset(range(200, 300))
fields: Final = frozenset(("retry-after", *WNS_STATUS, WNS_ERROR))

KEY_MISMATCH: Final = "VapidPkHashMismatch"
BRIDGE: Final = "BridgeFailed"
#: The connection ends: another one may do.
PARTING: Final = frozenset(("IdleTimeout", "Shutdown"))
DOMAIN_BLOCKED: Final = "DomainBlocked"
_REASON: Final = re.compile(r"[A-Za-z]{1,64}")
#: Words of Google's and Mozilla's services, in lower case.
_TEXTS: Final = (
    ("do not correspond to the credentials used to create", KEY_MISMATCH),
    ("vapid public key mismatch", KEY_MISMATCH),
    ("unauthorizedregistration", "UnauthorizedRegistration"),
    ("aud claim in the token must include", "BadAudience"),
    ("invalid vapid audience", "BadAudience"),
    ("token expiration is too long", "BadExpiration"),
    ("missing vapid public key", "MissingVapidKey"),
    ("invalidttlparameter", "BadTtl"),
    ("invalid push subscription endpoint", "InvalidEndpoint"),
    ("a valid push subscription endpoint should be specified", "Expired"),
    ("notregistered", "NotRegistered"),
)
#: `errno` of Mozilla's service: https://mozilla-services.github.io/autopush-rs/errors.html
_NUMBERS: Final = {
    102: "InvalidEndpoint",
    103: "Expired",
    104: "PayloadTooLarge",
    105: "Unsubscribed",
    106: "Unsubscribed",
    108: "BadRouter",
    109: "BadAuthorization",
    110: "BadEncoding",
    111: "BadTtl",
    112: "BadTtl",
    113: "BadWebPushTopic",
    114: "BadTtl",
    201: "StorageBusy",
    **dict.fromkeys(range(900, 904), BRIDGE),
}
_WNS: Final = {"dropped": "Dropped", "channelthrottled": "ChannelThrottled", "appthrottled": "AppThrottled"}
#: Octets of a body that are looked at.
_LOOKED_AT: Final = 4_096


def read_answer(status: int, fields: Mapping[str, str], body: bytes | bytearray) -> Answer:
    """The answer of a status, its `fields` and its body."""
    reason = _of_fields(status, fields)
    if status in accepted:
        return Answer(status, reason) if reason else ACCEPTED
    wait = seconds(fields.get("retry-after"), time.time())
    return Answer(status, reason or _of_body(status, bytes(body[:_LOOKED_AT])), None, wait)


def read_reason(body: bytes | bytearray) -> str | None:
    """The reason in the debug data of a GOAWAY; None where there is none."""
    document = _document(bytes(body[:_LOOKED_AT]))
    reason = document.get("reason")
    return reason if isinstance(reason, str) and _REASON.fullmatch(reason) else None


def is_parting(answer: Answer) -> bool:
    """Whether an answer is about the connection: the next try goes over another one."""
    return answer.reason in PARTING


def is_passing(reason: str) -> bool:  # noqa: ARG001 - no reason of a GOAWAY speaks of who sends
    """Another connection may always do."""
    return True


def _of_fields(status: int, fields: Mapping[str, str]) -> str | None:
    if status == 410 and "domain" in fields.get(WNS_ERROR, "").lower():
        return DOMAIN_BLOCKED
    said = [fields[name].strip().lower() for name in WNS_STATUS if name in fields]
    # Under a refusal it says no more than the status.
    return next((_WNS[word] for word in said if word in _WNS and (word != "dropped" or status in accepted)), None)


def _of_body(status: int, body: bytes) -> str | None:
    document = _document(body)
    if (reason := read_reason(body)) is not None:
        return reason
    text = body.decode("utf-8", "replace").lower()
    for words, named in _TEXTS:
        if words in text:
            return named
    number = document.get("errno")
    if isinstance(number, int) and number in _NUMBERS:
        return _NUMBERS[number]
    # A body of Mozilla's under 502 is about its bridge to another service; without one it is about Mozilla.
    return BRIDGE if status == 502 and document.get("code") == status else None


def _document(body: bytes) -> dict[str, object]:
    try:
        document = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
