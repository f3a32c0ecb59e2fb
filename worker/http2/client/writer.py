"""Turns requests into HEADERS and DATA within the server's limits (RFC 9113 §5.1.2, §5.2). Reads nothing."""

from collections.abc import Sequence
from typing import Final, Literal

from worker.core.model import NoAnswer
from worker.http2 import frames
from worker.http2.client.batch import Batch
from worker.http2.client.encoder import OversizedError, RequestEncoder
from worker.http2.client.errors import ConnectionFaultError, StreamFaultError
from worker.http2.client.fields import BadFieldError
from worker.http2.client.form import Form, Space
from worker.http2.client.settings import PeerSettings
from worker.http2.client.streams import Stream, Streams
from worker.http2.frames import ErrorCode

#: Streams that we use, at most.
STREAM_CEILING: Final = 16_384


class RequestWriter:
    """Opens streams and sends payloads; bytes gather in `out` until the owner takes them."""

    def __init__(self, authority: str, form: Form, peer: PeerSettings, streams: Streams) -> None:
        self.out: list[bytes] = []
        self.encoder = RequestEncoder(authority, form)
        self._form = form
        self._peer = peer
        self._streams = streams
        #: Octets of DATA that the server still accepts on the connection.
        self._window = frames.DEFAULT_WINDOW
        #: Streams whose payload waits for a window.
        self._blocked: dict[int, Stream] = {}

    @property
    def window_is_closed(self) -> bool:
        """Whether no payload can be sent on this connection now."""
        return self._window <= 0

    def write(self, batch: Batch, indices: Sequence[int]) -> int:
        """Opens a stream for each of these requests until the window closes; returns how many were sent or got an outcome."""
        place = 0
        while place < len(indices) and not self.window_is_closed:
            place += self._write_fast(batch, indices, place)
            if place < len(indices) and not self.window_is_closed:
                self._write_whole(batch, indices[place])
                place += 1
        return place

    def _write_fast(self, batch: Batch, indices: Sequence[int], start: int) -> int:
        """Writes from `start` on, up to the first unusual request; returns how many."""
        first = self._streams.next_id
        largest = min(self._peer.initial_window, self._peer.max_frame_size)
        written = self._form.write(
            self.encoder,
            batch.chosen(indices[start:]),
            batch.authorization,
            Space(first, self._window, largest, self._peer.max_header_list),
        )
        self._streams.open(first, batch, indices[start : start + written.requests])
        self._window -= written.octets
        self.out.append(b"".join(written.frames))
        return written.requests

    def _write_whole(self, batch: Batch, index: int) -> None:
        """Writes one request as far as the windows allow; sets its outcome if it cannot be written."""
        request = batch.requests[index]
        try:
            block = self.encoder.block(request, batch.authorization, self._peer.max_header_list)
        except BadFieldError as error:
            # A request that exceeds the limit of this server may fit that of another one.
            sent: Literal["not_sent", "unwritable"] = "not_sent" if isinstance(error, OversizedError) else "unwritable"
            self._streams.complete(batch, index, NoAnswer(sent, error.cause))
            return
        stream_id = self._streams.next_id
        self._streams.next_id += 2
        size = self._peer.max_frame_size
        self.out.append(frames.pack_headers(stream_id, block, end_stream=False, max_frame_size=size))
        stream = self._streams.busy[stream_id] = Stream(batch, index)
        stream.body, stream.window = memoryview(request.payload), self._peer.initial_window
        if self._send_body(stream_id, stream):
            del self._streams.busy[stream_id]
            self._streams.waiting[stream_id] = (batch, index)
        else:
            self._blocked[stream_id] = stream

    def _send_body(self, stream_id: int, stream: Stream) -> bool:
        """Sends as much of a payload as the windows allow. True once its end is written; `body` is None then."""
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
        """Sends payloads that waited for a window, the oldest stream first."""
        for stream_id, stream in list(self._blocked.items()):
            if self._window <= 0:
                break
            if self._send_body(stream_id, stream):
                del self._blocked[stream_id]

    def forget(self, stream_id: int) -> None:
        """Drops the unsent payload of a stream that has ended."""
        self._blocked.pop(stream_id, None)

    def widen(self, increment: int) -> None:
        """A WINDOW_UPDATE on the connection."""
        self._window += increment
        if self._window > frames.MAX_WINDOW:
            raise ConnectionFaultError(ErrorCode.FLOW_CONTROL_ERROR, "connection window over its maximum")

    def widen_stream(self, stream_id: int, increment: int) -> None:
        """A WINDOW_UPDATE on a stream. Only a stream whose payload waits needs it."""
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
