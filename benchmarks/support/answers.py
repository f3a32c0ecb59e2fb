"""What the canned server answers, as frames: those of APNs lie ready, those of FCM and of a push service have today's date."""

import struct
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Final, NamedTuple, Protocol

from benchmarks.support.load import GONE_EVERY, identifier
from worker.http2 import frames
from worker.simulator import heads
from worker.simulator.fcm.connection import FIELDS

_HEAD: Final = frames.FRAME_HEADER_SIZE
_GONE: Final = b'{"reason":"Unregistered","timestamp":1763700000000}'


def answer(number: int) -> bytes:
    """The frames of the answer to stream `2 * number + 1`."""
    stream_id, apns_id = 2 * number + 1, b"\x00\x07apns-id\x24" + identifier(number).encode()
    if number % GONE_EVERY != GONE_EVERY - 1:
        flags = frames.FLAG_END_HEADERS | frames.FLAG_END_STREAM
        return frames.pack_frame(frames.HEADERS, flags, stream_id, b"\x88" + apns_id)
    head = frames.pack_frame(frames.HEADERS, frames.FLAG_END_HEADERS, stream_id, b"\x08\x03410" + apns_id)
    return head + frames.pack_frame(frames.DATA, frames.FLAG_END_STREAM, stream_id, _GONE)


class Answers(Protocol):
    """The frames of the answers to the requests from the first number up to the one behind the last."""

    def __getitem__(self, stretch: tuple[int, int]) -> bytes | memoryview: ...


class Ready:
    """APNs' answers in a row; those of one stretch of streams are one slice."""

    def __init__(self, count: int) -> None:
        self._all = memoryview(b"".join([answer(number) for number in range(count)]))
        self._one = len(answer(0))
        self._cycle = sum(len(answer(number)) for number in range(GONE_EVERY))

    def __getitem__(self, stretch: tuple[int, int]) -> memoryview:
        first, last = stretch
        return self._all[self._place(first) : self._place(last)]

    def _place(self, number: int) -> int:
        # The odd one ends its cycle, so every answer before it has the same size.
        return number // GONE_EVERY * self._cycle + number % GONE_EVERY * self._one


class Said(NamedTuple):
    """One answer: status, header fields, body. `%b` in the last field or in the body is the number of the request."""

    status: int
    fields: heads.Fields
    body: bytes = b""


class Dated:
    """Answers that say when they were given: made as they are asked for, from what all of a second have in common."""

    def __init__(self, accepted: Said, gone: Said) -> None:
        self._said = (accepted, gone)
        self._second = 0
        self._made: tuple[Callable[[bytes, bytes], bytes], ...] = ()

    def __getitem__(self, stretch: tuple[int, int]) -> bytes:
        first, last = stretch
        if (second := int(time.time())) != self._second:
            self._second, date = second, (b"date", formatdate(second, usegmt=True).encode())
            self._made = tuple(_frames(said, (date, *said.fields)) for said in self._said)
        accepted, gone = self._made
        ids = struct.iter_unpack("4s", struct.pack(f">{last - first}L", *range(2 * first + 1, 2 * last + 1, 2)))
        return b"".join(
            [
                (gone if number % GONE_EVERY == GONE_EVERY - 1 else accepted)(stream, b"%016x" % number)
                for number, (stream,) in zip(range(first, last), ids, strict=True)
            ]
        )


def _frames(said: Said, fields: heads.Fields) -> Callable[[bytes, bytes], bytes]:
    """Makes the frames of an answer for a stream and a number of 16 digits."""
    block, body = heads.block(said.status, fields).split(_NUMBER), said.body.split(_NUMBER)
    flags = frames.FLAG_END_HEADERS | (0 if said.body else frames.FLAG_END_STREAM)
    head = frames.pack_frame(frames.HEADERS, flags, 0, _NUMBER.join(block))
    start = head[: _HEAD - 4], head[_HEAD:].split(_NUMBER)
    if not said.body:
        return lambda stream, number: b"".join((start[0], stream, number.join(start[1])))
    data = frames.pack_frame(frames.DATA, frames.FLAG_END_STREAM, 0, said.body)[: _HEAD - 4]
    return lambda stream, number: b"".join((start[0], stream, number.join(start[1]), data, stream, number.join(body)))


#: Stands for the number of a request, and is as long.
_NUMBER: Final = b"<-the-number-of>"
_JSON: Final = (b"content-type", b"application/json; charset=UTF-8")
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_UNREGISTERED: Final = (
    b'{\n  "error": {\n    "code": 404,\n    "message": "Requested entity was not found.",\n    "status": "NOT_FOUND",\n'
    b'    "details": [\n      {\n        "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError",\n'
    b'        "errorCode": "UNREGISTERED"\n      }\n    ]\n  }\n}\n'
)
FCM: Final = Said(
    200, (_JSON, *FIELDS), b'{\n  "name": "projects/carillon-bench/messages/0:1612788010%b%%7b"\n}\n' % _NUMBER
)
FCM_GONE: Final = Said(404, (_JSON, *FIELDS), _UNREGISTERED)
WEB: Final = Said(
    201,
    (
        _TEXT,
        *FIELDS[3:],
        (b"content-length", b"0"),
        (b"location", b"https://fcm.googleapis.com/0:16127880%b%%e6" % _NUMBER),
    ),
)
WEB_GONE: Final = Said(410, (_TEXT, *FIELDS[3:]), b"NotRegistered\n")


def answers_of(kind: str, count: int) -> Answers:
    """`count`: streams of a connection at most, where the answers are made beforehand."""
    if kind == "apns":
        return Ready(count)
    return Dated(FCM, FCM_GONE) if kind == "fcm" else Dated(WEB, WEB_GONE)
