"""Which answer each notification gets, so that an answer can be matched to its request. `server.mjs` says the same in its words.

A server tells a notification's number by its device token, its apns-id and its payload, and finds a request whose three do
not agree to be `Mixed`. Wherever an answer has room for it, the number is in there: the timestamp of a 410, the Retry-After
of a 429 and a 503, a reason of the notification's own.
"""

import json
from typing import Any, Final, NamedTuple

from worker.core.model import ACCEPTED, Answer, Heading, Notification

TOPIC: Final = "io.team.App"
#: Different values of Retry-After, which is read as an hour at most.
WAITS: Final = 3_600
#: Milliseconds since the epoch.
_EPOCH: Final = 1_700_000_000_000
_REASONS: Final = ("BadDeviceToken", "DeviceTokenNotForTopic", "BadCollapseId", None)
_LETTERS: Final = str.maketrans("0123456789", "abcdefghij")


class Reply(NamedTuple):
    """What a server answers."""

    status: int
    document: dict[str, Any] | None = None
    #: Seconds, as a header.
    retry_after: int | None = None


MIXED: Final = Reply(400, {"reason": "Mixed"})


def letters(number: int) -> str:
    """The number where only letters may stand."""
    return str(number).translate(_LETTERS)


def notification(number: int) -> Notification:
    """A notification with the number in three places, and a payload of another length than its neighbours'."""
    return Notification(
        token=f"{number:064x}",
        id=f"6ba7b810-9dad-51d1-80b4-{number:012x}",
        own=json.dumps({"aps": {"alert": "x" * (number % 300)}, "number": number}).encode(),
        heading=Heading(
            TOPIC,
            expiration=1_800_000_000 + number if number % 3 else None,
            collapse_id=f"m-{number}" if number % 2 else None,
        ),
    )


def reply(number: int) -> Reply:
    """Of a hundred: 60 are accepted, 15 unregistered, 10 refused, 8 too many, 7 unavailable, neighbours differing."""
    kind = number * 19 % 100
    if kind < 60:
        return Reply(200)
    if kind < 75:
        return Reply(410, {"reason": "Unregistered", "timestamp": _EPOCH + number})
    if kind < 85:
        return Reply(400, {"reason": _REASONS[number % 4] or "Bad" + letters(number)})
    return Reply(
        *((429, {"reason": "TooManyRequests"}) if kind < 93 else (503, {"reason": "ServiceUnavailable"})),
        number % WAITS,
    )


def reply_to(path: str, apns_id: str, payload: bytes) -> Reply:
    """The reply to a request as it came in."""
    number = int(path.removeprefix("/3/device/"), 16)
    agree = int(apns_id[-12:], 16) == number == json.loads(payload)["number"]
    return reply(number) if agree else MIXED


def expected(number: int) -> Answer:
    """The outcome that the notification shall have."""
    status, document, retry_after = reply(number)
    if status == 200:
        return ACCEPTED
    said = document or {}
    seconds = None if retry_after is None else float(retry_after)
    return Answer(status, said.get("reason"), said.get("timestamp"), seconds)
