"""What every sender is given: tokens, ids and a payload, and where to send them. Read by clients as one JSON document."""

import hashlib
import json
from collections.abc import Iterator

import msgspec

TOPIC = "org.example.chat"
#: One notification in so many meets a device that is gone.
GONE_EVERY = 50
PAYLOAD_SIZE = 300


class Target(msgspec.Struct, frozen=True):
    """One client's task; sent to it on standard input. `key` is the PEM of the provider's key."""

    host: str
    port: int
    ca: str
    key: str
    team_id: str
    key_id: str
    #: The provider token, for clients that do not make their own.
    authorization: str
    count: int
    #: Notifications sent before the clock starts.
    warm_up: int = 1000
    connections: int = 1
    #: Notifications in one call of `send`, and calls at the same time.
    batch: int = 500
    calls: int = 8
    #: Whether the server answers by the order of the load, so that every answer can be judged by its token.
    ordered: bool = True


def message() -> dict[str, object]:
    """An alert whose JSON has exactly `PAYLOAD_SIZE` octets."""
    made: dict[str, object] = {
        "aps": {"alert": {"title": "Leia Organa", "body": ""}, "sound": "default", "thread-id": "messaging:general"},
        "carillon": {"event": "evt-1", "message": "msg-1", "channel": "messaging:general"},
    }
    missing = PAYLOAD_SIZE - len(json.dumps(made))
    made["aps"]["alert"]["body"] = "x" * missing  # type: ignore[index]
    return made


def payload() -> bytes:
    return json.dumps(message()).encode()


def identifier(number: int) -> str:
    """The `apns-id` of the notification of that number."""
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def tokens(count: int) -> Iterator[tuple[str, str]]:
    """Distinct device tokens and ids, always the same; which tokens are gone is `is_gone`'s."""
    for number in range(count):
        token = hashlib.sha256(b"%d" % number).hexdigest()
        gone = number % GONE_EVERY == GONE_EVERY - 1
        yield "dead" + token[4:] if gone else "0" + token[1:], identifier(number)


def is_gone(token: str) -> bool:
    return token.startswith("dead")


class Result(msgspec.Struct, frozen=True):
    """What a client found; its last line on standard output."""

    seconds: float
    #: CPU seconds of this process meanwhile.
    cpu: float
    accepted: int
    gone: int
    #: Answered otherwise, or not at all.
    other: int
    #: Resident memory when the imports were done, and its peak, in megabytes.
    baseline_mb: float = 0.0
    peak_mb: float = 0.0
