"""The server's side of HTTP/2 (RFC 9113) for many small POSTs with small answers. Sans-I/O: bytes in, requests out.

`receive` takes what arrived and returns complete requests; `respond` and its neighbours queue frames; `take` hands over
what is to be written. A client's violation queues GOAWAY and sets `error`; what arrives afterwards is ignored. The only thing
that it assumes of notifications is that requests repeat their header blocks (`header_blocks`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from worker.http2 import frames
from worker.http2.frames import ErrorCode
from worker.http2.server.header_blocks import BlockError, BlockReader, Holes, Shape
from worker.http2.server.limits import Announced, Limits, ReceiveWindow
from worker.http2.server.request import Request, Upload
from worker.http2.server.send_windows import SendWindows
from worker.http2.server.violation import ViolationError, check_frame, check_setting

#: Octets of a header block over all its frames, before it is decoded.
MAX_BLOCK: Final = 65_536
_SHRINK_TABLE: Final = b"\x20"


class ServerConnection:
    """The protocol state of one connection."""

    def __init__(self, announced: Announced, holes: Holes) -> None:
        self._announced = announced
        self._reader = BlockReader(holes, max_list_size=announced.max_header_list)
        self._rest = b""
        self._greeted = False
        self._out: list[bytes] = []
        self._uploads: dict[int, Upload] = {}
        #: Streams whose request is complete and whose answer is not.
        self.open: set[int] = set()
        self.last_stream_id = 0
        #: PINGs that came, and streams that were refused because too many were open.
        self.pings = 0
        self.refused = 0
        #: Streams above this are ignored: a GOAWAY said so.
        self.last_allowed = frames.MAX_STREAM_ID
        self.error: str | None = None
        self.limits = Limits(announced)
        self.window = ReceiveWindow(announced.connection_window)
        self._sending = SendWindows()
        self._shrink_table = False
        self._table_shrunk = False
        #: The stream, the flags and what has arrived of a header block in several frames.
        self._block: tuple[int, int, bytearray] | None = None
        self._handlers: dict[int, Callable[[int, int, bytes, list[Request]], None]] = {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_headers,
            frames.RST_STREAM: self._on_reset,
            frames.SETTINGS: self._on_settings,
            frames.PING: self._on_ping,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }

    # What the application does.

    def start(self) -> None:
        """Queue the server's preface."""
        self.change_settings(self._announced.settings())
        self._out.append(self.window.start())

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
        else:
            self._sending.drop(stream_id)
        self.forget(stream_id)

    def respond_all(self, stream_ids: Sequence[int], block: bytes, bodies: Sequence[bytes]) -> None:
        """Answer streams that `receive` gave with one header block, of one frame, and a body each; `takes_answers` holds."""
        head = frames.pack_header(len(block), frames.HEADERS, frames.FLAG_END_HEADERS, 0)[:5]
        numbers = [stream_id.to_bytes(4, "big") for stream_id in stream_ids]
        largest = max(map(len, bodies))
        if self._sending.take(largest, sum(map(len, bodies))):
            data = {
                len(body): frames.pack_header(len(body), frames.DATA, frames.FLAG_END_STREAM, 0)[:5] for body in bodies
            }
            self._out += [
                b"%b%b%b%b%b%b" % (head, number, block, data[len(body)], number, body)
                for number, body in zip(numbers, bodies, strict=True)
            ]
        else:
            for stream_id, number, body in zip(stream_ids, numbers, bodies, strict=True):
                self._out.append(head + number + block)
                self._out += self._sending.send(stream_id, body)
        self.open.difference_update(stream_ids)

    def respond_body(self, stream_id: int, body: bytes) -> None:
        """End an answer whose headers were sent before, with its body."""
        if stream_id in self.open:
            self._out += self._sending.send(stream_id, body)
            self.forget(stream_id)

    def respond_with_trailers(self, stream_id: int, block: bytes, body: bytes, trailers: bytes) -> None:
        """Answer a stream and end it with trailers. It does not look at the windows: for small bodies only."""
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

    @property
    def takes_answers(self) -> bool:
        """Whether whole answers may be queued by `answered`: no header table is to be shrunk first."""
        return not self._shrink_table

    def answered(self, stream_ids: Iterable[int], answers: Iterable[bytes]) -> None:
        """Queue whole answers, each one HEADERS frame with END_STREAM, to streams that `receive` gave and end them."""
        self.open.difference_update(stream_ids)
        self._out += answers

    def reset(self, stream_id: int, code: int) -> None:
        """End a stream with RST_STREAM."""
        self._out.append(frames.pack_rst_stream(stream_id, code))
        self._uploads.pop(stream_id, None)
        self._sending.drop(stream_id)
        self.open.discard(stream_id)

    def forget(self, stream_id: int) -> None:
        """The stream has its answer. A body that still arrives is refused."""
        self.open.discard(stream_id)
        if self._uploads.pop(stream_id, None) is not None:
            self._out.append(frames.pack_rst_stream(stream_id, ErrorCode.NO_ERROR))

    def go_away(self, last_stream_id: int, code: int, debug: bytes = b"") -> None:
        """Announce that streams above `last_stream_id` are not served."""
        self.last_allowed = min(self.last_allowed, last_stream_id)
        for stream_id in [stream_id for stream_id in self._uploads if stream_id > last_stream_id]:
            del self._uploads[stream_id]
        self._out.append(frames.pack_goaway(last_stream_id, code, debug))

    def change_settings(self, settings: Mapping[int, int]) -> None:
        """Announce new settings; a lower limit is enforced from their acknowledgement on."""
        self._out.append(self.limits.announce(settings))

    def reopen_window(self) -> None:
        """Return the octets of the windows that were withheld, and withhold none from now on."""
        self.window.replenish = True
        for stream_id, upload in self._uploads.items():
            if owed := upload.received - upload.granted:
                upload.granted += owed
                self._out.append(frames.pack_window_update(stream_id, owed))
        self._out.append(self.window.refill(at_once=True))

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
        if refill := self.window.refill():
            self._out.append(refill)

    def _known(self, data: bytes, position: int, requests: list[Request]) -> int:
        """Read requests of known shapes from `position` on; the position of the first frame that is something else."""
        if self._block is not None or self.last_allowed != frames.MAX_STREAM_ID or not self._reader.shapes:
            return position
        # One pass with everything in local names: at this place a microsecond is a tenth of the whole.
        end, last, left = len(data), self.last_stream_id, self.window.left
        room = self.limits.streams - len(self._uploads) - len(self.open)
        largest = min(self.limits.window, self._announced.max_body, frames.DEFAULT_MAX_FRAME_SIZE)
        read: list[Request] = []
        number, known = int.from_bytes, self._reader.match(data, position)
        while known is not None:
            shape, match, found = known
            head, *_, size = groups = found.groups()
            stream_id, length, start = number(head, "big"), number(size, "big"), found.end()
            stop = start + length
            if stream_id <= last or not stream_id & 1 or length > largest or length > left or room < 1 or stop > end:
                break
            if shape.length_at is None:
                if shape.length is not None and shape.length != length:
                    break
            elif int(groups[1 + shape.length_at]) != length:
                break
            read.append(Request(stream_id, shape, groups[1:-1], data[start:stop]))
            last, position, left, room = stream_id, stop, left - length, room - 1
            again = match(data, position)
            known = (shape, match, again) if again is not None else self._reader.match(data, position)
        self.window.use(self.window.left - left)
        self.open.update([request[0] for request in read])
        requests += read
        self.last_stream_id = last
        return position

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or stream_id != self._block[0]):
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "header block is interrupted")
        check_frame(kind, flags, stream_id, payload)
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
        if len(self.open) + len(self._uploads) >= self.limits.streams:
            self.refused += 1
            self.reset(stream_id, ErrorCode.REFUSED_STREAM)
        elif flags & frames.FLAG_END_STREAM:
            self._complete(stream_id, shape, b"", requests)
        else:
            self._uploads[stream_id] = Upload(shape)

    def _on_trailers(self, stream_id: int, flags: int, requests: list[Request]) -> None:
        if not flags & frames.FLAG_END_STREAM:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "second header block without END_STREAM")
        upload = self._uploads.pop(stream_id)
        self._complete(stream_id, upload.shape, bytes(upload.body), requests)

    def _on_data(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        content = frames.strip_padding(flags, payload)
        if content is None:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "DATA does not fit its flags")
        if self.last_stream_id < stream_id <= self.last_allowed:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "DATA on an idle stream")
        if not self.window.use(len(payload)):
            raise ViolationError(ErrorCode.FLOW_CONTROL_ERROR, "connection window is overrun")
        upload = self._uploads.get(stream_id)
        if upload is None:
            return
        upload.received += len(payload)
        if upload.received > self.limits.window + upload.granted:
            raise ViolationError(ErrorCode.FLOW_CONTROL_ERROR, "stream window is overrun")
        upload.body += content
        if flags & frames.FLAG_END_STREAM:
            del self._uploads[stream_id]
            if stream_id not in self.open:
                self._complete(stream_id, upload.shape, bytes(upload.body), requests)
        else:
            self._on_part(stream_id, upload, len(payload), requests)

    def _on_part(self, stream_id: int, upload: Upload, length: int, requests: list[Request]) -> None:
        most = self._announced.max_body
        if len(upload.body) > most and stream_id not in self.open:
            self._complete(stream_id, upload.shape, bytes(upload.body), requests)
        del upload.body[most + 1 :]
        if self.window.replenish and length:
            upload.granted += length
            self._out.append(frames.pack_window_update(stream_id, length))

    def _complete(self, stream_id: int, shape: Shape, body: bytes, requests: list[Request]) -> None:
        """The request is whole, or its body is longer than is kept."""
        cut = len(body) > self._announced.max_body
        if shape.malformed or not (cut or shape.length in (None, len(body))):
            self.reset(stream_id, ErrorCode.PROTOCOL_ERROR)
            return
        self.open.add(stream_id)
        requests.append(Request(stream_id, shape, (), body))

    def _on_reset(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        if self.last_stream_id < stream_id <= self.last_allowed:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        self._uploads.pop(stream_id, None)
        self._sending.drop(stream_id)
        self.open.discard(stream_id)

    def _on_ping(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        if not flags & frames.FLAG_ACK:
            self.pings += 1
            self._out.append(frames.pack_ping(payload, ack=True))

    def _on_settings(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        if flags & frames.FLAG_ACK:
            if not self.limits.acknowledge():
                raise ViolationError(ErrorCode.PROTOCOL_ERROR, "acknowledgement of no SETTINGS")
            if (size := self.limits.table_size()) is not None:
                self._reader.limit_table(size)
            return
        for key, value in frames.unpack_settings(payload):
            self._on_setting(key, value)
        self._out.append(frames.SETTINGS_ACK)
        self._out += self._sending.flush()

    def _on_setting(self, key: int, value: int) -> None:
        check_setting(key, value)
        if key == frames.SETTINGS_INITIAL_WINDOW_SIZE:
            self._sending.change_initial(value)
        elif key == frames.SETTINGS_HEADER_TABLE_SIZE and value < frames.DEFAULT_HEADER_TABLE_SIZE:
            # Answers never use the table, so that one shrinking to nothing serves all later sizes (RFC 7541 §4.2).
            self._shrink_table = self._shrink_table or not self._table_shrunk
            self._table_shrunk = True

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes, requests: list[Request]) -> None:
        increment = frames.unpack_increment(payload)
        live = not stream_id or stream_id in self.open or stream_id in self._uploads
        if not increment or not self._sending.grant(stream_id, increment, live=live):
            raise ViolationError(ErrorCode.FLOW_CONTROL_ERROR, "WINDOW_UPDATE is zero or overflows")
        self._out += self._sending.flush()
