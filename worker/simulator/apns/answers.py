"""APNs' answers: their header fields, and JSON bodies."""

import uuid
from typing import Final

import msgspec

from worker.simulator import heads
from worker.simulator.script import Answer

_ID_PREFIX: Final = b"\x00\x07apns-id\x24"
#: The frame of nearly every answer: 200 and the `apns-id`, for a stream id of four octets and an id of 36.
ACCEPTED_FRAME: Final = b"\x00\x00\x2f\x01\x05%b" + heads.status_field(200) + _ID_PREFIX + b"%b"


def new_id() -> str:
    """An `apns-id` as APNs makes them where the request has none: upper case."""
    return str(uuid.uuid4()).upper()


def answer_fields(answer: Answer, apns_id: str, now: float, *, unique_id: bool) -> heads.Fields:
    """The header fields of any answer."""
    fields = [(b"apns-id", apns_id.encode())]
    if unique_id:
        fields.append((b"apns-unique-id", str(uuid.uuid4()).encode()))
    fields += heads.added(answer, now)
    if answer.code != 200:
        fields.append((b"content-type", b"application/json"))
    return tuple(fields)


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
