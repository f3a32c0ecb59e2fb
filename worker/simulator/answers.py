"""Answers as bytes: header blocks of literals that use no table, and JSON bodies."""

import uuid
from typing import Final

import msgspec

from worker.simulator.script import Answer

_STATIC_STATUS: Final = {200: b"\x88", 204: b"\x89", 400: b"\x8c", 404: b"\x8d", 500: b"\x8e"}
_ID_PREFIX: Final = b"\x00\x07apns-id\x24"
#: The frame of nearly every answer: 200 and the `apns-id`, for a stream id of four octets and an id of 36.
ACCEPTED_FRAME: Final = b"\x00\x00\x2f\x01\x05%b" + _STATIC_STATUS[200] + _ID_PREFIX + b"%b"
_JSON: Final = b"\x0f\x10\x10application/json"


def literal(name: bytes, value: bytes) -> bytes:
    """A field without indexing (RFC 7541 §6.2.2), its name and value plain and at most 126 octets long."""
    return b"\x00%c%b%c%b" % (len(name), name, len(value), value)


def status_field(status: int) -> bytes:
    """The `:status` field."""
    return _STATIC_STATUS.get(status) or b"\x08\x03%d" % status


def new_id() -> str:
    """An `apns-id` as APNs makes them where the request has none: upper case."""
    return str(uuid.uuid4()).upper()


def answer_block(answer: Answer, apns_id: str, *, unique_id: bool) -> bytes:
    """The header block of any answer."""
    parts = [status_field(answer.code), _ID_PREFIX + apns_id.encode()]
    if unique_id:
        parts.append(literal(b"apns-unique-id", str(uuid.uuid4()).encode()))
    if answer.retry_after is not None:
        parts.append(literal(b"retry-after", b"%d" % answer.retry_after))
    if answer.code != 200:
        parts.append(_JSON)
    return b"".join(parts)


def answer_body(answer: Answer, now: float) -> bytes:
    """The body: empty for 200, else JSON with the reason and, for 410, milliseconds since the epoch. `now` is in seconds."""
    if answer.body is not None:
        return answer.body.encode()
    if answer.reason is None:
        return b""
    body: dict[str, object] = {"reason": answer.reason}
    timestamp = answer.timestamp
    if timestamp is None and answer.code == 410:
        timestamp = int(now * 1000)
    if timestamp is not None:
        body["timestamp"] = timestamp
    return msgspec.json.encode(body)
