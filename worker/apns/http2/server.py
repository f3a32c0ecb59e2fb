"""The server's side of HTTP/2 (RFC 9113) for many small POSTs with small answers. Sans-I/O: bytes in, requests out.

`receive` takes what arrived and returns complete requests; `respond` and its neighbours queue frames; `take` hands over what is to be
written. A client's violation queues GOAWAY, sets `error` and makes the connection deaf. Nothing here knows about notifications, but
that requests repeat their header blocks (`header_blocks`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from worker.apns.http2 import frames
from worker.apns.http2.frames import ErrorCode
from worker.apns.http2.header_blocks import BlockError, BlockReader, Shape
from worker.apns.http2.send_windows import SendWindows

#: Octets of a header block over all its frames, before it is decoded.
MAX_BLOCK: Final = 65_536
_SHRINK_TABLE: Final = b"\x20"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """What the server announces at the start."""

    max_streams: int = 1000
    #: Octets a stream may send before it is given more.
    stream_window: int = frames.DEFAULT_WINDOW
    #: Octets the connection may send before it is given more.
    connection_window: int = 1 << 20
    max_header_list: int = 8000
    #: Octets of a body that are kept; a longer one is handed on at once, cut there.
    max_body: int = 8192


class Request(NamedTuple):
    """A complete request. `values` fill the holes of `shape`."""

    stream_id: int
    shape: Shape
    values: tuple[bytes, ...]
    body: bytes


class _Upload:
    """A request whose body is still arriving."""

    __slots__ = ("body", "granted", "received", "shape")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.body = bytearray()
        self.received = 0
        self.granted = 0


class ViolationError(Exception):
    """The client broke the protocol. Never leaves this module."""

    def __init__(self, code: ErrorCode, what: str) -> None:
        super().__init__(what)
        self.code = code
        self.what = what


class ServerConnection:
    """The protocol state of one connection."""

    def __init__(self, announced: Announced) -> None:
        self._announced = announced
        self._reader = BlockReader(max_list_size=announced.max_header_list)
        self._rest = frames.PREFACE[:0]
        self._greeted = False
        self._out: list[bytes] = []
        self._uploads: dict[int, _Upload] = {}
        #: Streams whose request is complete and whose answer is not.
        self.open: set[int] = set()
        self.last_stream_id = 0
        #: Streams above this are ignored: a GOAWAY said so.
        self.last_allowed = frames.MAX_STREAM_ID
        self.error: str | None = None
        #: Gives back the window that bodies use up. Off: the window closes.
        self.replenish = True
        self._window = announced.connection_window
        self._unreturned = 0
        self.max_streams = announced.max_streams
        self._stream_window = announced.stream_window
        #: Settings sent and not yet acknowledged, and the limits enforced until then.
        self._unacknowledged: list[dict[int, int]] = []
        self._streams_enforced = announced.max_streams
        self._window_enforced = announced.stream_window
        self._sending = SendWindows()
        self._shrink_table = False
        self._table_shrunk = False
        self._block: tuple[int, int, bytearray] | None = None
        self._handlers: dict[int, Callable[[int, int, bytes, list[Request]], None]] = {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_headers,
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_reset,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push_promise,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }

    # What the application does.

    def start(self) -> None:
        """Queue the server's preface."""
        announced = self._announced
        self._send_settings(
            {
                frames.SETTINGS_MAX_CONCURRENT_STREAMS: announced.max_streams,
                frames.SETTINGS_INITIAL_WINDOW_SIZE: announced.stream_window,
                frames.SETTINGS_MAX_HEADER_LIST_SIZE: announced.max_header_list,
            }
        )
        extra = announced.connection_window - frames.DEFAULT_WINDOW
        if extra > 0:
            self._out.append(frames.pack_window_update(0, extra))

    def take(self) -> bytes:
        """What is to be written now."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def write(self, data: bytes) -> None:
        """Queue bytes as they are, for faults."""
        self._out.append(data)

    def respond(self, stream_id: int, block: bytes, body: bytes = b"") -> None:
        """Answer a stream and end it; nothing where the client has reset it."""
        if stream_id not in self.open:
            return
        self.respond_headers(stream_id, block, end_stream=not body)
        if body:
            self._out += self._sending.send(stream_id, body)
        self.forget(stream_id)

    def respond_with_trailers(self, stream_id: int, block: bytes, body: bytes, trailers: bytes) -> None:
        """Answer a stream and end it with trailers. The windows are not asked: for small bodies only."""
        if stream_id not in self.open:
            return
        self.respond_headers(stream_id, block, end_stream=False)
        self._out.append(frames.pack_frame(frames.DATA, 0, stream_id, body))
        self.respond_headers(stream_id, trailers, end_stream=True)
        self.forget(stream_id)

    def respond_headers(self, stream_id: int, block: bytes, *, end_stream: bool) -> None:
        """Queue one header block of an answer; the stream stays open."""
        if self._shrink_table:
            block, self._shrink_table = _SHRINK_TABLE + block, False
        size = frames.DEFAULT_MAX_FRAME_SIZE
        self._out.append(frames.pack_headers(stream_id, block, end_stream=end_stream, max_frame_size=size))

    def accept(self, stream_id: int, block: bytes) -> None:
        """`respond` for a small block without a body: the path of nearly every answer."""
        if stream_id in self.open and not self._shrink_table and stream_id not in self._uploads:
            self.open.discard(stream_id)
            self._out.append(
                b"\x00%c%c\x01\x05%b%b" % (len(block) >> 8, len(block) & 0xFF, stream_id.to_bytes(4, "big"), block)
            )
        else:
            self.respond(stream_id, block)

    def reset(self, stream_id: int, code: int) -> None:
        """End a stream with RST_STREAM."""
        self._out.append(frames.pack_rst_stream(stream_id, code))
        self._uploads.pop(stream_id, None)
        self.open.discard(stream_id)

    def forget(self, stream_id: int) -> None:
        """The stream has its answer. A body that still arrives is refused."""
        self.open.discard(stream_id)
        if self._uploads.pop(stream_id, None) is not None:
            self._out.append(frames.pack_rst_stream(stream_id, ErrorCode.NO_ERROR))

    def go_away(self, last_stream_id: int, code: int, debug: bytes = b"") -> None:
        """Announce that streams above `last_stream_id` are not served."""
        self.last_allowed = min(self.last_allowed, last_stream_id)
        self._out.append(frames.pack_goaway(last_stream_id, code, debug))

    def change_settings(self, settings: Mapping[int, int]) -> None:
        """Announce new settings; a lower limit is enforced from their acknowledgement on."""
        self._send_settings(dict(settings))

    def reopen_window(self) -> None:
        """Replenish again, from what is owed by now."""
        self.replenish = True
        for stream_id, upload in self._uploads.items():
            if owed := upload.received - upload.granted:
                upload.granted += owed
                self._out.append(frames.pack_window_update(stream_id, owed))
        if self._unreturned:
            self._give_back()

    def _send_settings(self, settings: dict[int, int]) -> None:
        self._out.append(frames.pack_settings(settings))
        self._unacknowledged.append(settings)
        self.max_streams = settings.get(frames.SETTINGS_MAX_CONCURRENT_STREAMS, self.max_streams)
        self._stream_window = settings.get(frames.SETTINGS_INITIAL_WINDOW_SIZE, self._stream_window)
        self._streams_enforced = max(self._streams_enforced, self.max_streams)
        self._window_enforced = max(self._window_enforced, self._stream_window)

    # What arrives.

    def receive(self, data: bytes) -> list[Request]:
        """Complete requests in what arrived."""
        requests: list[Request] = []
        if self.error is not None:
            return requests
        try:
            self._receive(self._rest + data if self._rest else data, requests)
        except ViolationError as violation:
            self.error = violation.what
            self.go_away(self.last_stream_id, violation.code, violation.what.encode())
        except BlockError as error:
            self.error = str(error)
            self.go_away(self.last_stream_id, ErrorCode.COMPRESSION_ERROR, self.error.encode())
        return requests

    def _receive(self, data: bytes, requests: list[Request]) -> None:
        position, end = 0, len(data)
        if not self._greeted:
            if not frames.PREFACE.startswith(data[: len(frames.PREFACE)]):
                raise ViolationError(ErrorCode.PROTOCOL_ERROR, "not the preface of HTTP/2")
            if end < len(frames.PREFACE):
                self._rest = data
                return
            self._greeted, position = True, len(frames.PREFACE)
        while end - position >= frames.FRAME_HEADER_SIZE:
            position = self._known(data, position, requests)
            if end - position < frames.FRAME_HEADER_SIZE:
                break
            length, kind, flags, stream_id = frames.unpack_header(data, position)
            if length > frames.DEFAULT_MAX_FRAME_SIZE:
                raise ViolationError(ErrorCode.FRAME_SIZE_ERROR, "frame is larger than announced")
            stop = position + frames.FRAME_HEADER_SIZE + length
            if stop > end:
                break
            self._on_frame(kind, flags, stream_id, data[position + frames.FRAME_HEADER_SIZE : stop], requests)
            position = stop
        self._rest = data[position:]
        self._return_window()

    def _known(self, data: bytes, position: int, requests: list[Request]) -> int:
        """Read requests of known shapes from `position` on; the position of the first frame that is something else."""
        shapes, open_, end, uploads = self._reader.shapes, self.open, len(data), self._uploads
        if self._block is not None or self.last_allowed != frames.MAX_STREAM_ID:
            return position
        last, window, room = self.last_stream_id, self._window, self._streams_enforced - len(uploads)
        largest = min(self._window_enforced, self._announced.max_body, frames.DEFAULT_MAX_FRAME_SIZE)
        while True:
            for shape in shapes.get(data[position : position + 5], ()):
                if (found := shape.match(data, position)) is not None:  # type: ignore[misc]
                    break
            else:
                break
            head, *values, size = found.groups()
            stream_id, length, start = int.from_bytes(head, "big"), int.from_bytes(size, "big"), found.end()
            if stream_id <= last or not stream_id & 1 or length > largest or length > window or len(open_) >= room:
                break
            stop = start + length
            if stop > end:
                break
            requests.append(Request(stream_id, shape, tuple(values), data[start:stop]))
            open_.add(stream_id)
            last, position, window = stream_id, stop, window - length
        self._unreturned += self._window - window
        self.last_stream_id, self._window = last, window
        return position

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or stream_id != self._block[0]):
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "header block is interrupted")
        if (handler := self._handlers.get(kind)) is not None:
            handler(flags, stream_id, payload, requests)

    def _on_headers(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        content = frames.strip_padding(flags, payload)
        if content is None or (flags & frames.FLAG_PRIORITY and len(content) < 5):
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "HEADERS does not fit its flags")
        block = content[5:] if flags & frames.FLAG_PRIORITY else content
        if flags & frames.FLAG_END_HEADERS:
            self._on_block(stream_id, flags, block, requests)
        else:
            self._block = (stream_id, flags, bytearray(block))

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        if self._block is None:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        _, first_flags, block = self._block
        block += payload
        if len(block) > MAX_BLOCK:
            raise ViolationError(ErrorCode.ENHANCE_YOUR_CALM, "header block is too large")
        if flags & frames.FLAG_END_HEADERS:
            self._block = None
            self._on_block(stream_id, first_flags, bytes(block), requests)

    def _on_block(self, stream_id: int, flags: int, block: bytes, requests: list[Request]) -> None:
        shape = self._reader.read(block)
        if stream_id in self._uploads:
            self._on_trailers(stream_id, flags, requests)
            return
        if not stream_id & 1 or stream_id <= self.last_stream_id:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "stream id is even or not above the last")
        if stream_id > self.last_allowed:
            return
        self.last_stream_id = stream_id
        if len(self.open) + len(self._uploads) >= self._streams_enforced:
            self.reset(stream_id, ErrorCode.REFUSED_STREAM)
        elif flags & frames.FLAG_END_STREAM:
            self._complete(stream_id, shape, b"", requests)
        else:
            self._uploads[stream_id] = _Upload(shape)

    def _on_trailers(self, stream_id: int, flags: int, requests: list[Request]) -> None:
        if not flags & frames.FLAG_END_STREAM:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "second header block without END_STREAM")
        upload = self._uploads.pop(stream_id)
        self._complete(stream_id, upload.shape, bytes(upload.body), requests)

    def _on_data(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        content = frames.strip_padding(flags, payload)
        if content is None or not stream_id:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "DATA does not fit its flags")
        if stream_id > self.last_stream_id and stream_id <= self.last_allowed:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "DATA on an idle stream")
        self._window -= len(payload)
        self._unreturned += len(payload)
        if self._window < 0:
            raise ViolationError(ErrorCode.FLOW_CONTROL_ERROR, "connection window is overrun")
        upload = self._uploads.get(stream_id)
        if upload is None:
            return
        upload.received += len(payload)
        if upload.received > self._window_enforced + upload.granted:
            raise ViolationError(ErrorCode.FLOW_CONTROL_ERROR, "stream window is overrun")
        upload.body += content
        if flags & frames.FLAG_END_STREAM:
            del self._uploads[stream_id]
            if stream_id not in self.open:
                self._complete(stream_id, upload.shape, bytes(upload.body), requests)
        else:
            self._on_part(stream_id, upload, len(payload), requests)

    def _on_part(self, stream_id: int, upload: _Upload, length: int, requests: list[Request]) -> None:
        most = self._announced.max_body
        if len(upload.body) > most and stream_id not in self.open:
            self._complete(stream_id, upload.shape, bytes(upload.body), requests)
        del upload.body[most + 1 :]
        if self.replenish and length:
            upload.granted += length
            self._out.append(frames.pack_window_update(stream_id, length))

    def _complete(self, stream_id: int, shape: Shape, body: bytes, requests: list[Request]) -> None:
        self.open.add(stream_id)
        requests.append(Request(stream_id, shape, (), body))

    def _on_priority(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        if not stream_id or len(payload) != 5:
            raise ViolationError(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY has the wrong size")

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        raise ViolationError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        if stream_id or len(payload) < 8:
            raise ViolationError(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY has the wrong size")

    def _on_reset(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        if len(payload) != 4:
            raise ViolationError(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM has the wrong size")
        if not stream_id or (stream_id > self.last_stream_id and stream_id <= self.last_allowed):
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        self._uploads.pop(stream_id, None)
        self._sending.drop(stream_id)
        self.open.discard(stream_id)

    def _on_ping(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        if stream_id or len(payload) != 8:
            raise ViolationError(ErrorCode.FRAME_SIZE_ERROR, "PING has the wrong size")
        if not flags & frames.FLAG_ACK:
            self._out.append(frames.pack_ping(payload, ack=True))

    def _on_settings(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        if stream_id or len(payload) % 6 or (flags & frames.FLAG_ACK and payload):
            raise ViolationError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS has the wrong size")
        if flags & frames.FLAG_ACK:
            self._on_acknowledgement()
            return
        for key, value in frames.unpack_settings(payload):
            self._on_setting(key, value)
        self._out.append(frames.SETTINGS_ACK)
        self._out += self._sending.flush()

    def _on_setting(self, key: int, value: int) -> None:
        if key == frames.SETTINGS_INITIAL_WINDOW_SIZE:
            if value > frames.MAX_WINDOW:
                raise ViolationError(ErrorCode.FLOW_CONTROL_ERROR, "initial window is too large")
            self._sending.change_initial(value)
        elif key == frames.SETTINGS_HEADER_TABLE_SIZE and value < frames.DEFAULT_HEADER_TABLE_SIZE:
            # Answers never use the table, so that one shrinking to nothing serves all later sizes (RFC 7541 §4.2).
            self._shrink_table = self._shrink_table or not self._table_shrunk
            self._table_shrunk = True
        elif key == frames.SETTINGS_ENABLE_PUSH and value > 1:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is not 0 or 1")
        elif key == frames.SETTINGS_MAX_FRAME_SIZE:
            if not frames.DEFAULT_MAX_FRAME_SIZE <= value <= frames.LARGEST_MAX_FRAME_SIZE:
                raise ViolationError(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of range")

    def _on_acknowledgement(self) -> None:
        if not self._unacknowledged:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "acknowledgement of no SETTINGS")
        self._unacknowledged.pop(0)
        if not self._unacknowledged:
            self._streams_enforced = self.max_streams
            self._window_enforced = self._stream_window

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        if len(payload) != 4:
            raise ViolationError(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE has the wrong size")
        increment = frames.unpack_increment(payload)
        if not increment or not self._sending.grant(stream_id, increment):
            raise ViolationError(ErrorCode.FLOW_CONTROL_ERROR, "WINDOW_UPDATE is zero or overflows")
        self._out += self._sending.flush()

    def _return_window(self) -> None:
        if self.replenish and self._unreturned * 2 >= self._announced.connection_window:
            self._give_back()

    def _give_back(self) -> None:
        self._out.append(frames.pack_window_update(0, self._unreturned))
        self._window += self._unreturned
        self._unreturned = 0
