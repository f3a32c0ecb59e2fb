"""Turns notifications into HEADERS and DATA within the server's limits (RFC 9113 §5.1.2, §5.2). Reads nothing."""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

from worker.core.model import NoAnswer, Notification
from worker.http2 import frames
from worker.http2.client.batch import Batch
from worker.http2.client.encoder import LONGEST_FAST_TOKEN, BadFieldError, OversizedError, RequestEncoder, Shape
from worker.http2.client.errors import ConnectionFaultError, StreamFaultError
from worker.http2.client.settings import PeerSettings
from worker.http2.client.streams import Stream, Streams
from worker.http2.frames import ErrorCode

#: Streams that we use at most, whatever the server allows.
STREAM_CEILING: Final = 16_384
#: Streams that we use where the server names no limit.
UNNAMED_STREAMS: Final = 1_000
_HEADERS_TAIL: Final = bytes((frames.HEADERS, frames.FLAG_END_HEADERS))
_DATA_TAIL: Final = bytes((frames.DATA, frames.FLAG_END_STREAM))
#: Leaves room for the rest of the block within the smallest frame size a server may choose.
_LONGEST_FAST_TAIL: Final = 8_192
_ID_LENGTH: Final = 36


def _ids(first: int, count: int) -> Iterator[tuple[bytes]]:
    """The octets of `count` stream ids from `first` on."""
    return struct.iter_unpack("4s", struct.pack(f">{count}L", *range(first, first + 2 * count, 2)))


def _ordinary(notifications: list[Notification]) -> int:
    """How many, from the first on, have a token and an id that need no second look; usually all."""
    if _all_ordinary(notifications):
        return len(notifications)
    return next(place for place, each in enumerate(notifications) if not _all_ordinary([each]))


def _all_ordinary(notifications: list[Notification]) -> bool:
    tokens = "".join([each[0] for each in notifications])
    ids = "".join([each[1] for each in notifications])
    return (
        tokens.isascii()
        and ids.isascii()
        and tokens.encode().isalnum()
        and ids.encode().replace(b"-", b"").isalnum()
        and all(len(each[0]) <= LONGEST_FAST_TOKEN and len(each[1]) == _ID_LENGTH for each in notifications)
    )


class RequestWriter:
    """Opens streams and sends payloads; bytes gather in `out` until the owner takes them."""

    def __init__(self, authority: str, peer: PeerSettings, streams: Streams) -> None:
        self.out: list[bytes] = []
        self.encoder = RequestEncoder(authority)
        self._peer = peer
        self._streams = streams
        #: Octets of DATA that the server still takes on the connection.
        self._window = frames.DEFAULT_WINDOW
        #: Streams whose payload waits for a window.
        self._blocked: dict[int, Stream] = {}

    @property
    def window_is_closed(self) -> bool:
        """Whether no payload can be sent on this connection now."""
        return self._window <= 0

    def write(self, batch: Batch, indices: Sequence[int]) -> int:
        """Opens a stream for each of these, until the window closes; returns how many are dealt with."""
        place = 0
        while place < len(indices) and not self.window_is_closed:
            place += self._write_fast(batch, indices, place)
            if place < len(indices) and not self.window_is_closed:
                self._write_whole(batch, indices[place])
                place += 1
        return place

    def _write_fast(self, batch: Batch, indices: Sequence[int], start: int) -> int:
        """Writes from `start` on, up to the first notification that is out of the ordinary; returns how many.

        A sender spends its time in this loop: it is written flat, and what can be asked of all at once is asked before.
        """
        chunk: list[Any] = [batch.requests[index] for index in indices[start:]]
        del chunk[_ordinary(chunk) :]
        first_id, window = self._streams.next_id, self._window
        largest = min(self._peer.initial_window, self._peer.max_frame_size)
        pieces: list[bytes] = []
        shared: list[Any] | None = None
        token_length = size = -1
        for (token, apns_id, payload, *rest), (stream,) in zip(chunk, _ids(first_id, len(chunk)), strict=True):
            if rest != shared:
                prepared = self._prepared(batch.authorization, *rest)
                if prepared is None:
                    break
                shape, tail = prepared
                shared, middle, token_length, size = rest, shape.id_head, -1, -1
            if len(token) != token_length:
                token_length = len(token)
                head = shape.heads.get(token_length) or shape.head(token_length)
                length = len(head) + token_length + len(middle) + _ID_LENGTH + len(tail)
                frame_head = length.to_bytes(3, "big") + _HEADERS_TAIL
            if len(payload) != size:
                size = len(payload)
                ending = tail + size.to_bytes(3, "big") + _DATA_TAIL
            if size > window or size > largest:
                break
            window -= size
            pieces += (frame_head, stream, head, token.encode(), middle, apns_id.encode(), ending, stream, payload)
        count = len(pieces) // 9
        self._streams.open(first_id, batch, indices[start : start + count])
        self._window = window
        self.out.append(b"".join(pieces))
        return count

    def _prepared(
        self,
        authorization: str | None,
        topic: str,
        push_type: str,
        priority: int,
        expiration: int | None,
        collapse_id: str | None,
    ) -> tuple[Shape, bytes] | None:
        """The shape of a notification and what ends its block; None: it has to be written whole."""
        shape = self.encoder.shapes.get((authorization, topic, push_type, priority))
        if shape is None or (extra := self.encoder.rest(expiration, collapse_id)) is None:
            return None
        limit = self._peer.max_header_list
        if limit is not None and shape.list_size + extra[1] + LONGEST_FAST_TOKEN + _ID_LENGTH > limit:
            return None
        tail = shape.back + extra[0]
        return (shape, tail) if len(tail) <= _LONGEST_FAST_TAIL else None

    def _write_whole(self, batch: Batch, index: int) -> None:
        """Writes one notification as far as the windows allow; sets its outcome if it cannot be written."""
        notification = batch.requests[index]
        try:
            block = self.encoder.block(notification, batch.authorization, self._peer.max_header_list)
        except BadFieldError as error:
            # What is too large for this server's limit may fit another's.
            sent: Literal["not_sent", "unwritable"] = "not_sent" if isinstance(error, OversizedError) else "unwritable"
            self._streams.complete(batch, index, NoAnswer(sent, error.cause))
            return
        stream_id = self._streams.next_id
        self._streams.next_id += 2
        size = self._peer.max_frame_size
        self.out.append(frames.pack_headers(stream_id, block, end_stream=False, max_frame_size=size))
        stream = self._streams.busy[stream_id] = Stream(batch, index)
        stream.body, stream.window = memoryview(notification.payload), self._peer.initial_window
        if self._send_body(stream_id, stream):
            del self._streams.busy[stream_id]
            self._streams.waiting[stream_id] = (batch, index)
        else:
            self._blocked[stream_id] = stream

    def _send_body(self, stream_id: int, stream: Stream) -> bool:
        """Sends what the windows take of a payload; true once its end is written, and then `body` is None."""
        body = stream.body
        assert body is not None
        while True:
            size = max(0, min(len(body), self._window, stream.window, self._peer.max_frame_size))
            if not size and body:
                break
            piece, body = body[:size], body[size:]
            self._window -= size
            stream.window -= size
            flags = 0 if body else frames.FLAG_END_STREAM
            self.out.append(frames.pack_frame(frames.DATA, flags, stream_id, bytes(piece)))
            if not body:
                stream.body = None
                return True
        stream.body = body
        return False

    def resume(self) -> None:
        """Sends what waited for a window, the oldest stream first."""
        for stream_id, stream in list(self._blocked.items()):
            if self._window <= 0:
                break
            if self._send_body(stream_id, stream):
                del self._blocked[stream_id]

    def forget(self, stream_id: int) -> None:
        """Drops what is unsent of a stream that is over."""
        self._blocked.pop(stream_id, None)

    def widen(self, increment: int) -> None:
        """A WINDOW_UPDATE on the connection."""
        self._window += increment
        if self._window > frames.MAX_WINDOW:
            raise ConnectionFaultError(ErrorCode.FLOW_CONTROL_ERROR, "connection window over its maximum")

    def widen_stream(self, stream_id: int, increment: int) -> None:
        """A WINDOW_UPDATE on a stream; it matters only to those whose payload waits."""
        stream = self._blocked.get(stream_id)
        if stream is not None:
            stream.window += increment
            window = stream.window
        elif stream_id in self._streams.waiting:
            batch, index = self._streams.waiting[stream_id]
            window = self._peer.initial_window - len(batch.requests[index].payload) + increment
        else:
            return
        if window > frames.MAX_WINDOW:
            raise StreamFaultError(ErrorCode.FLOW_CONTROL_ERROR, "stream window over its maximum")

    def widen_streams(self, delta: int) -> None:
        """SETTINGS_INITIAL_WINDOW_SIZE moved by `delta`, for streams that are open (RFC 9113 §6.9.2)."""
        for stream in self._blocked.values():
            stream.window += delta
            if stream.window > frames.MAX_WINDOW:
                raise ConnectionFaultError(ErrorCode.FLOW_CONTROL_ERROR, "stream window over its maximum")
