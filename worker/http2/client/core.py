"""The client's end of one HTTP/2 connection: bytes in, outcomes out; requests in, bytes out.

No socket, no clock, no task: `receive` takes the bytes that arrived and the time, `take` returns the bytes to write. Outcomes are
set in the batches, and `streams.completed` and `streams.refused` list them. It speaks RFC 9113 for one shape of
request, a small POST with a small answer, and treats everything else a server may send by the book.

The usual answer, an acceptance in a frame of its own or with a small body behind it, is recognised by its octets and costs a
fraction of a microsecond. That is sound because we announce a header table of size 0: a block then means the same whatever
came before it.
"""

import struct
from collections.abc import Sequence
from typing import Final

from worker.core.model import ACCEPTED
from worker.http2 import frames
from worker.http2.client.answers import MAX_HEADER_LIST, Service
from worker.http2.client.batch import Batch
from worker.http2.client.errors import ConnectionFaultError, Http2Error
from worker.http2.client.form import Form
from worker.http2.client.handlers import CONNECTION_WINDOW, USUAL_BLOCK, FrameHandlers
from worker.http2.client.writer import STREAM_CEILING
from worker.http2.frames import ErrorCode

_FINAL_HEADERS: Final = frames.FLAG_END_STREAM | frames.FLAG_END_HEADERS
_unpack: Final = struct.Struct(">BHBBL").unpack_from
_SETTINGS: Final = {
    frames.SETTINGS_HEADER_TABLE_SIZE: 0,
    frames.SETTINGS_ENABLE_PUSH: 0,
    frames.SETTINGS_INITIAL_WINDOW_SIZE: frames.DEFAULT_WINDOW,
    frames.SETTINGS_MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST,
}


class ClientCore(FrameHandlers):
    """One connection."""

    def __init__(
        self, authority: str, service: Service, form: Form, *, unnamed_streams: int = 1_000, first_stream_id: int = 1
    ) -> None:
        """`unnamed_streams` is the limit of streams if the server names none."""
        super().__init__(authority, service, form, first_stream_id=first_stream_id)
        self._unnamed_streams = unnamed_streams
        #: The cause, once the connection has ended.
        self.closed: str | None = None
        #: A block of `HeaderReader.accepting`: the last one that came.
        self._accepting = b""
        self._buffer = bytearray()
        #: Octets that `_buffer` needs before it can be read further.
        self._needed = 0
        update = frames.pack_window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
        self.writer.out.append(frames.PREFACE + frames.pack_settings(_SETTINGS) + update)

    @property
    def greeted(self) -> bool:
        """Whether the server's settings are known; before that nothing can be sent."""
        return self._greeted

    def room(self) -> int:
        """How many requests can be written now."""
        if self.retiring or self.closed or self.writer.window_is_closed:
            return 0
        return max(0, min(self._limit() - len(self.streams), self.streams.left))

    def _limit(self) -> int:
        if not self._greeted:
            # Its limits on streams and windows are unknown; a request now may break them.
            return 0
        named = self.peer.max_streams
        if named is None:
            # Apple allows one stream until it has seen a valid access token, and may not announce this limit.
            return self._unnamed_streams if self._proven else 1
        return min(named, STREAM_CEILING)

    def write(self, batch: Batch, indices: Sequence[int]) -> int:
        """Sends these requests, at most `room()` of them; returns how many were sent or got an outcome."""
        written = self.writer.write(batch, indices)
        if not self.streams.left:
            self._retire("stream ids used up")
        return written

    def take(self) -> bytes:
        """The octets to write to the socket; removes them here."""
        data = b"".join(self.writer.out)
        self.writer.out.clear()
        return data

    def ping(self, opaque: bytes) -> None:
        """Sends a PING with these eight octets."""
        self.writer.out.append(frames.pack_ping(opaque))

    def cancel(self, batch: Batch, cause: str) -> None:
        """Gives up the requests of a batch that are in flight, and frees their streams."""
        for stream_id in self.streams.of(batch):
            self.streams.lose(stream_id, cause)
            self._reset(stream_id, ErrorCode.CANCEL)

    def shut(self, cause: str) -> None:
        """Takes nothing new; requests in flight may still be answered."""
        self._retire(cause)

    def close(self, cause: str) -> None:
        """Sends a GOAWAY and gives up the requests in flight."""
        self._end(ErrorCode.NO_ERROR, cause)

    def lost(self, cause: str) -> None:
        """The socket is closed. The reason of an earlier GOAWAY goes before `cause`."""
        if self.closed is None:
            self.closed = self.retiring or cause
            self.streams.lose_all(self.closed)

    def receive(self, data: bytes, now: float) -> None:
        """Reads what arrived at `now` (seconds of any steady clock). Never raises: a fault of the server ends the connection."""
        if self.closed is not None:
            return
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return
            data = bytes(self._buffer)
            self._buffer.clear()
        self._guard.now = now
        self._guard.opened = self.streams.next_id >> 1
        try:
            rest = self._read(data)
            self.writer.resume()
        except Http2Error as error:
            self._end(error.code, error.cause)
            return
        if rest:
            self._buffer += rest

    def _read(self, data: bytes) -> bytes:
        """One pass over whole frames. Returns the rest; `_needed` is the size at which to go on."""
        accepted: list[tuple[Batch, int]] = []
        try:
            return self._read_frames(data, accepted)
        finally:
            self._accept(accepted)

    def _read_frames(self, data: bytes, accepted: list[tuple[Batch, int]]) -> bytes:
        """Adds to `accepted` the requests whose acceptance it has read."""
        position, end = 0, len(data)
        waiting, usual = self.streams.waiting, self._headers.plain_success
        plain = self._greeted and self._block is None
        while end - position >= frames.FRAME_HEADER_SIZE:
            high, length, kind, flags, stream_id = _unpack(data, position)
            if high or length > frames.DEFAULT_MAX_FRAME_SIZE:
                raise ConnectionFaultError(ErrorCode.FRAME_SIZE_ERROR, "frame over the size we announced")
            start = position + frames.FRAME_HEADER_SIZE
            stop = start + length
            if stop > end:
                self._needed = stop - position
                break
            position = stop
            if kind == frames.HEADERS and plain and stream_id in waiting and length:
                if usual is not None and flags == _FINAL_HEADERS and data[start] == 0x88:
                    after = stop if usual.matches(data, start, stop) else 0
                else:
                    after = self._end_of_acceptance(data, start, stop, flags, stream_id)
                if after:
                    position = after
                    accepted.append(waiting.pop(stream_id))
                    if usual is not None:
                        for (stream_id,) in usual.following(data, position):
                            if (one := waiting.pop(stream_id, None)) is None:
                                break
                            accepted.append(one)
                            position += usual.size
                    continue
            self._dispatch(kind, flags, stream_id & frames.MAX_STREAM_ID, data[start:stop])
            plain = self._greeted and self._block is None
        else:
            self._needed = frames.FRAME_HEADER_SIZE
        return data[position:]

    def _accept(self, accepted: Sequence[tuple[Batch, int]]) -> None:
        now = self._guard.now
        for batch, index in accepted:
            batch.responses[index] = ACCEPTED
            batch.answered[index] = now
            batch.left -= 1
            if batch.following and (follower := batch.following.get(index)) is not None:
                batch.freed.append(follower)
            if not batch.left:
                self.streams.completed.append(batch)
        if accepted:
            self.answered += len(accepted)
            self._proven = True

    def _end_of_acceptance(self, data: bytes, start: int, stop: int, flags: int, stream_id: int) -> int:
        """Where an acceptance ends with its body of one frame, if it has one; 0: it is none, or has another form."""
        # It is nearly always the same block as that of the last acceptance.
        if stop - start != len(self._accepting) or not data.startswith(self._accepting, start):
            block = data[start:stop]
            if block not in self._headers.accepting:
                plain = flags in (_FINAL_HEADERS, frames.FLAG_END_HEADERS) and len(block) <= USUAL_BLOCK
                if not plain or not self._headers.is_acceptance(block):
                    return 0
            self._accepting = block
        if flags == _FINAL_HEADERS:
            return stop
        body = stop + frames.FRAME_HEADER_SIZE
        if flags != frames.FLAG_END_HEADERS or body > len(data):
            return 0
        high, length, kind, flags, its_stream = _unpack(data, stop)
        after: int = body + length
        if kind != frames.DATA or flags != frames.FLAG_END_STREAM or its_stream != stream_id:
            return 0
        if high or length > frames.DEFAULT_MAX_FRAME_SIZE or after > len(data):
            return 0
        self._count_received(length)
        return after

    def _end(self, code: ErrorCode, cause: str) -> None:
        if self.closed is None:
            self.closed = cause
            self.writer.out.append(frames.pack_goaway(0, code))
            self.streams.lose_all(cause)
