"""Reads an answer of FCM: the JSON envelope of Google's APIs, which may be cut, empty, HTML, or without its details.

The reason of an `Answer` is `<code>` or `<code>:<detail>`. The code is FCM's (`UNREGISTERED`), else that of Google's front end
(`RATE_LIMIT_EXCEEDED`), else the status in the envelope (`NOT_FOUND`). None: the body is no envelope, so it was not FCM's code
that answered. The detail is the field that was refused, or what Apple said.

Source: Google, "ErrorCode" and "FCM Error Codes"; captured answers.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from worker.core.model import ACCEPTED, Answer
from worker.core.retry_after import seconds

#: A violation that names one of these is about the token; any other is about the message.
TOKEN_FIELDS: Final = ("message.token", "message.fid")
TOO_LARGE: Final = "too_large"
#: The error of APNs, behind FCM, about the project's credential there.
APPLE_REFUSED: Final = "THIRD_PARTY_AUTH_ERROR"
#: The quota of the project, and the rate of a device.
PROJECT_QUOTA: Final = "RATE_LIMIT_EXCEEDED"
DEVICE_QUOTA: Final = "QUOTA_EXCEEDED"

_SYNONYMS: Final = {"APNS_AUTH_ERROR": APPLE_REFUSED}
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_DETAIL: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,79}")
_INDEX: Final = re.compile(r"\[\d+\]")


def read_answer(status: int, retry_after: str | None, body: bytes | bytearray, now: float) -> Answer:
    """The answer in a status, a Retry-After and any body; `now` in UNIX seconds."""
    if status == 200:
        return ACCEPTED
    error = _error(body)
    return Answer(status, None if error is None else _reason(status, error), None, seconds(retry_after, now))


def code_of(reason: str | None) -> str | None:
    return None if reason is None else reason.partition(":")[0]


def detail_of(reason: str | None) -> str:
    """Empty where there is none."""
    return "" if reason is None else reason.partition(":")[2]


def _error(body: bytes | bytearray) -> dict[str, Any] | None:
    try:
        document = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, dict) else None


def _reason(status: int, error: dict[str, Any]) -> str:
    details = list(_details(error))
    of_fcm = _first(details, "FcmError", "errorCode")
    of_google = _first(details, "ErrorInfo", "reason")
    # This answer of the front end is about the project, whatever FCM adds.
    code = of_google if status == 429 and of_google == PROJECT_QUOTA else of_fcm or of_google
    code = _SYNONYMS.get(code or "", code)
    if code is None and any(kind == "BadRequest" for kind, _ in details):
        code = "BAD_REQUEST"
    code = code or _matching(_CODE, error.get("status")) or "UNSPECIFIED_ERROR"
    detail = _detail(code, details, error.get("message"))
    return f"{code}:{detail}" if detail else code


def _detail(code: str, details: list[tuple[str, dict[str, Any]]], message: object) -> str | None:
    if code == APPLE_REFUSED:
        return _matching(_DETAIL, _first(details, "ApnsError", "reason"))
    if code not in ("INVALID_ARGUMENT", "BAD_REQUEST"):
        return None
    fields = [field for kind, one in details if kind == "BadRequest" for field in _fields(one)]
    if not fields:
        return TOO_LARGE if isinstance(message, str) and "too large" in message else None
    # Only the token is wrong. If another field is wrong as well, the message is wrong.
    other = [field for field in fields if field not in TOKEN_FIELDS]
    return (other or fields)[0]


def _fields(detail: dict[str, Any]) -> Iterator[str]:
    violations = detail.get("fieldViolations")
    for one in violations if isinstance(violations, list) else []:
        field = one.get("field") if isinstance(one, dict) else None
        yield _matching(_DETAIL, _INDEX.sub("", field) if isinstance(field, str) else None) or "unnamed"


def _details(error: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each detail with the last part of its type."""
    details = error.get("details")
    for one in details if isinstance(details, list) else []:
        if isinstance(one, dict) and isinstance(kind := one.get("@type"), str):
            yield kind.rpartition(".")[2], one


def _first(details: list[tuple[str, dict[str, Any]]], kind: str, name: str) -> str | None:
    """The first such value that is a string."""
    pattern = _CODE if kind != "ApnsError" else _DETAIL
    return next((found for of, one in details if of == kind and (found := _matching(pattern, one.get(name)))), None)


def _matching(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None
