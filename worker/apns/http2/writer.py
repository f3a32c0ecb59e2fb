"""Turns notifications into HEADERS and DATA within the server's limits (RFC 9113 §5.1.2, §5.2). Reads nothing."""

import struct
from collections.abc import Sequence
from typing import Any, Final

from worker.apns.http2 import frames
from worker.apns.http2.batch import Batch
from worker.apns.http2.encoder import LONGEST_FAST_TOKEN, BadFieldError, RequestEncoder, Shape
from worker.apns.http2.errors import ConnectionFaultError, StreamFaultError
from worker.apns.http2.frames import ErrorCode
from worker.apns.http2.settings import PeerSettings
from worker.apns.http2.streams import Stream, Streams
from worker.core.model import NoAnswer

#: Streams that we use at most, whatever the server allows.
STREAM_CEILING: Final = 16_384
#: Streams that we use where the server names no limit.
UNNAMED_STREAMS: Final = 1_000
_HEADERS_TAIL: Final = bytes((frames.HEADERS, frames.FLAG_END_HEADERS))
_DATA_TAIL: Final = bytes((frames.DATA, frames.FLAG_END_STREAM))
#: Leaves room for the rest of the block within the smallest frame size a server may choose.
_LONGEST_FAST_TAIL: Final = 8_192
_ID_LENGTH: Final = 36
_DASH: Final = "-"
_pack_id = struct.Struct(">L").pack


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
        self._data_heads: dict[int, bytes] = {}

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
        """Writes from `start` on, up to the first notification that is out of the ordinary; returns how many."""
        notifications, authorization = batch.notifications, batch.authorization
        waiting, stream_id, window = self._streams.waiting, self._streams.next_id, self._window
        largest = min(self._peer.initial_window, self._peer.max_frame_size)
        data_heads = self._data_heads
        pieces: list[bytes] = []
        shared: object = None
        token_length = -1
        count = 0
        for index in indices[start:] if start else indices:
            notification = notifications[index]
            token, apns_id, payload = notification[:3]
            rest = notification[3:]
            size = len(payload)
            if size > window or size > largest or len(apns_id) != _ID_LENGTH:
                break
            if rest != shared:
                prepared = self._prepared(authorization, *rest)
                if prepared is None:
                    break
                shape, tail = prepared
                shared, token_length = rest, -1
            if len(token) != token_length:
                token_length = len(token)
                if token_length > LONGEST_FAST_TOKEN:
                    break
                head = shape.head(token_length)
                block_size = len(head) + token_length + len(shape.id_head) + _ID_LENGTH + len(tail)
                frame_head = block_size.to_bytes(3, "big") + _HEADERS_TAIL
                middle = shape.id_head
            if not (token.isalnum() and token.isascii() and apns_id.isascii() and apns_id.replace(_DASH, "").isalnum()):
                break
            data_head = data_heads.get(size) or self._data_head(size)
            octets = _pack_id(stream_id)
            pieces += (
                frame_head, octets, head, token.encode(), middle, apns_id.encode(), tail,
                data_head, octets, payload,
            )  # fmt: skip
            waiting[stream_id] = (batch, index)
            stream_id += 2
            window -= size
            count += 1
        self._streams.next_id, self._window = stream_id, window
        self.out.append(b"".join(pieces))
        return count

    def _prepared(
        self, authorization: str | None, topic: str, push_type: str, priority: int, *extras: Any
    ) -> tuple[Shape, bytes] | None:
        """The shape of a notification and what ends its block; None: it has to be written whole."""
        shape = self.encoder.shape(authorization, topic, push_type, priority)
        extra = self.encoder.extra(*extras) if shape is not None else None
        if shape is None or extra is None:
            return None
        limit = self._peer.max_header_list
        if limit is not None and shape.list_size + extra[1] + LONGEST_FAST_TOKEN + _ID_LENGTH > limit:
            return None
        tail = shape.back + extra[0]
        return (shape, tail) if len(tail) <= _LONGEST_FAST_TAIL else None

    def _data_head(self, size: int) -> bytes:
        head = self._data_heads[size] = size.to_bytes(3, "big") + _DATA_TAIL
        return head

    def _write_whole(self, batch: Batch, index: int) -> None:
        """Writes one notification by the book, as far as the windows allow; settles it where it cannot be written."""
        notification = batch.notifications[index]
        try:
            block = self.encoder.block(notification, batch.authorization, self._peer.max_header_list)
        except BadFieldError as error:
            self._streams.settle(batch, index, NoAnswer("not_sent", error.cause))
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
            window = self._peer.initial_window - len(batch.notifications[index].payload) + increment
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
