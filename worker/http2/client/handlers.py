"""Handles each type of frame of the server (RFC 9113 §5 to §8); the fast path is in `core`."""

from collections.abc import Callable
from typing import Final

from worker.core.model import ACCEPTED
from worker.http2 import frames
from worker.http2.client.answers import HeaderReader, Service
from worker.http2.client.errors import ConnectionFaultError, StreamFaultError
from worker.http2.client.form import Form
from worker.http2.client.guard import Guard
from worker.http2.client.settings import PeerSettings
from worker.http2.client.streams import Stream, Streams
from worker.http2.client.writer import RequestWriter
from worker.http2.frames import ErrorCode

#: Octets that the server may send before our next WINDOW_UPDATE on the connection.
CONNECTION_WINDOW: Final = 1 << 20
#: Octets of an answer's body that are read, padding included. The rest is refused; the status still counts.
MAX_BODY: Final = 16_384
#: The same over all streams of the connection.
MAX_BODIES: Final = 4 << 20
MAX_HEADER_BLOCK: Final = 16_384
#: Octets of an answer's header block that the guard does not count.
USUAL_BLOCK: Final = 1_024


class FrameHandlers:
    """The state of one connection and a handler for each type of frame."""

    def __init__(self, authority: str, service: Service, form: Form, *, first_stream_id: int) -> None:
        self._service = service
        self.peer = PeerSettings()
        self.streams = Streams(first_stream_id)
        self.writer = RequestWriter(authority, form, self.peer, self.streams)
        #: Why the connection takes nothing new, while requests in flight may still be answered.
        self.retiring: str | None = None
        #: The reason of a GOAWAY, and whether one asked for fewer frames.
        self.reason: str | None = None
        self.asked_for_calm = False
        #: Answers received, and those among them that ended the connection (`Service.is_parting`).
        self.answered = 0
        self.parting = 0
        #: PINGs of ours that were answered.
        self.pongs = 0
        self._greeted = False
        #: Whether the server has accepted a credential: it sent an answer other than 401 or 403.
        self._proven = False
        self._headers = HeaderReader(service)
        self._guard = Guard(first_stream_id >> 1)
        #: (stream id, ends the stream, octets so far) of a header block that CONTINUATION frames continue.
        self._block: tuple[int, bool, bytearray] | None = None
        #: Flow-controlled octets since our last WINDOW_UPDATE.
        self._received = 0
        #: Octets of answers' bodies that are not complete yet.
        self._unread = 0
        self._last_goaway: int | None = None
        self._handlers: dict[int, Callable[[int, int, bytes], None]] = {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_headers,
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_rst_stream,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push_promise,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }

    def _dispatch(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or stream_id != self._block[0]):
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "header block interrupted")
        if not self._greeted and (kind != frames.SETTINGS or flags & frames.FLAG_ACK):
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "no settings at the start")
        if kind != frames.HEADERS:  # the size of their block counts instead
            self._guard.charge(0 if kind == frames.DATA else len(payload))
        handler = self._handlers.get(kind)
        if handler is None:
            return
        try:
            handler(flags, stream_id, payload)
        except StreamFaultError as error:
            if self.streams.is_open(stream_id):
                self.streams.lose(stream_id, error.cause)
                self._reset(stream_id, error.code)

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._check_opened(stream_id)
        block = frames.strip_padding(flags, payload)
        priority = 5 if flags & frames.FLAG_PRIORITY else 0
        if block is None or len(block) < priority:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "padding over the frame")
        self._block = (stream_id, bool(flags & frames.FLAG_END_STREAM), bytearray(block[priority:]))
        if flags & frames.FLAG_END_HEADERS:
            self._on_block()

    def _on_continuation(self, flags: int, _stream_id: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "continuation of nothing")
        block = self._block[2]
        block += payload
        if len(block) > MAX_HEADER_BLOCK:
            raise ConnectionFaultError(ErrorCode.ENHANCE_YOUR_CALM, "header block over our limit")
        if flags & frames.FLAG_END_HEADERS:
            self._on_block()

    def _on_block(self) -> None:
        """A header block is complete: of an answer, an interim answer, or trailers."""
        assert self._block is not None
        stream_id, ends, block = self._block
        self._block = None
        busy = self.streams.busy.get(stream_id)
        awaited = stream_id in self.streams.waiting or (busy is not None and busy.status is None)
        if not awaited or len(block) > USUAL_BLOCK:
            self._guard.charge(len(block))
        head = self._headers.read(bytes(block))
        stream = self._open(stream_id)
        if stream is None:
            return
        if stream.status is not None:
            if head.status is not None or not ends:
                raise StreamFaultError(ErrorCode.PROTOCOL_ERROR, "malformed trailers")
        elif head.status is None or (head.status < 200 and ends):
            raise StreamFaultError(ErrorCode.PROTOCOL_ERROR, "answer without a status")
        elif head.status < 200:
            self._guard.charge(len(block))
        else:
            stream.status, stream.fields = head.status, head.fields
        if ends:
            self._finish(stream_id, stream)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._check_opened(stream_id)
        self._count_received(len(payload))
        data = frames.strip_padding(flags, payload)
        if data is None:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "padding over the frame")
        stream = self._open(stream_id)
        if stream is None:
            return
        if stream.status is None:
            raise StreamFaultError(ErrorCode.PROTOCOL_ERROR, "body before the status")
        stream.octets += len(payload)
        stream.received += data
        self._unread += len(data)
        if stream.octets > MAX_BODY or self._unread > MAX_BODIES:
            stream.received.clear()
            self._finish(stream_id, stream, whole=False)
        elif flags & frames.FLAG_END_STREAM:
            self._finish(stream_id, stream)

    def _count_received(self, octets: int) -> None:
        """Sends a WINDOW_UPDATE for the connection in time."""
        self._received += octets
        if self._received > CONNECTION_WINDOW // 2:
            self.writer.out.append(frames.pack_window_update(0, self._received))
            self._received = 0

    def _finish(self, stream_id: int, stream: Stream, *, whole: bool = True) -> None:
        """The answer is complete. Resets the stream if either side still had something to send on it."""
        self.streams.close(stream_id)
        if stream.body is not None or not whole:
            self._reset(stream_id, ErrorCode.CANCEL)
        self._unread -= len(stream.received)
        assert stream.status is not None
        answer = ACCEPTED
        if stream.fields or stream.status not in self._service.accepted:
            answer = self._service.read_answer(stream.status, stream.fields, stream.received)
        stream.batch.answered[stream.index] = self._guard.now
        self.streams.complete(stream.batch, stream.index, ACCEPTED if answer == ACCEPTED else answer)
        self.answered += 1
        if answer.status not in (401, 403):
            self._proven = True
        if answer.reason is not None and self._service.is_parting(answer):
            self.parting += 1
            self._retire(answer.reason)

    def _on_rst_stream(self, _flags: int, stream_id: int, payload: bytes) -> None:
        self._check_opened(stream_id)
        code = frames.unpack_word(_sized(payload, 4))
        stream = self.streams.make_busy(stream_id)
        if stream is None:
            return
        self.writer.forget(stream_id)
        self._unread -= len(stream.received)
        if code == ErrorCode.REFUSED_STREAM and stream.status is None:
            self.streams.refuse(stream_id, "refused_stream")
        else:
            self.streams.lose(stream_id, f"stream reset: {frames.error_name(code)}")

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        _check_connection(stream_id)
        if flags & frames.FLAG_ACK:
            _sized(payload, 0)
            return
        window = self.peer.initial_window
        self.peer.apply(payload)
        self._greeted = True
        self.writer.out.append(frames.SETTINGS_ACK)
        self.writer.encoder.table_size(self.peer.header_table_size, self.peer.least_table_size)
        self.writer.widen_streams(self.peer.initial_window - window)

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        _check_connection(stream_id)
        _sized(payload, 8)
        if flags & frames.FLAG_ACK:
            self.pongs += 1
        else:
            self.writer.out.append(frames.pack_ping(payload, ack=True))

    def _on_goaway(self, _flags: int, stream_id: int, payload: bytes) -> None:
        _check_connection(stream_id)
        if len(payload) < 8:
            raise ConnectionFaultError(ErrorCode.FRAME_SIZE_ERROR, "frame of a wrong size")
        last, code, debug = frames.unpack_goaway(payload)
        if self._last_goaway is not None and last > self._last_goaway:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "goaway raised its last stream")
        self._last_goaway = last
        self.asked_for_calm |= code == ErrorCode.ENHANCE_YOUR_CALM
        self.reason = self._service.read_reason(debug)
        cause = self.reason or (f"goaway: {frames.error_name(code)}" if code else "goaway")
        self._retire(cause, known_better=self.reason is not None)
        for refused in self.streams.above(last):
            self.streams.refuse(refused, cause)
            self.writer.forget(refused)

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        increment = frames.unpack_increment(_sized(payload, 4))
        if stream_id == 0:
            if not increment:
                raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "window update of nothing")
            self.writer.widen(increment)
            return
        self._check_opened(stream_id)
        if not increment:
            raise StreamFaultError(ErrorCode.PROTOCOL_ERROR, "window update of nothing")
        self.writer.widen_stream(stream_id, increment)

    def _on_priority(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id == 0:
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "frame on the wrong stream")
        _sized(payload, 5)

    def _on_push_promise(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "push although it is off")

    def _check_opened(self, stream_id: int) -> None:
        if self.streams.is_idle(stream_id):
            raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "frame on a stream that was never opened")

    def _open(self, stream_id: int) -> Stream | None:
        """The stream; None if we have reset it, so that a late frame is ignored."""
        stream = self.streams.make_busy(stream_id)
        if stream is None and not self.streams.was_reset(stream_id):
            raise ConnectionFaultError(ErrorCode.STREAM_CLOSED, "frame on a stream that is over")
        return stream

    def _reset(self, stream_id: int, code: ErrorCode) -> None:
        self.writer.out.append(frames.pack_rst_stream(stream_id, code))
        self.writer.forget(stream_id)
        self.streams.note_reset(stream_id)

    def _retire(self, cause: str, *, known_better: bool = False) -> None:
        if self.retiring is None or known_better:
            self.retiring = cause


def _sized(payload: bytes, size: int) -> bytes:
    if len(payload) != size:
        raise ConnectionFaultError(ErrorCode.FRAME_SIZE_ERROR, "frame of a wrong size")
    return payload


def _check_connection(stream_id: int) -> None:
    if stream_id:
        raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "frame on the wrong stream")
