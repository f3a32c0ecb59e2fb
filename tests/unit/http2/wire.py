"""What a server may write, as bytes, and the client core with one batch on it. No socket."""

from collections.abc import Iterable
from typing import Any

from hpack.hpack import Encoder

from worker.core.model import Heading, Notification, Response
from worker.http2 import frames
from worker.http2.client.batch import Batch
from worker.http2.client.core import ClientCore
from worker.providers.apns import answers
from worker.providers.apns.form import FORM

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJURUFNIn0.c2lnbmF0dXJl"
GREETING = frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 1_000})


def notification(number: int = 0, payload: bytes = b'{"aps":{"alert":"hi"}}', **changes: Any) -> Notification:
    """A plain notification; its token and id are made of `number`."""
    heading = {name: changes.pop(name) for name in Heading._fields if name in changes}
    own = f"{number:064x}", f"00000000-0000-4000-8000-{number:012x}", payload
    return Notification(*own, Heading(**{"topic": "com.example.app"} | heading))._replace(**changes)


def batch(count: int, **changes: Any) -> Batch:
    """A batch of plain notifications."""
    return Batch([notification(number, **changes) for number in range(count)], JWT)


def block(*fields: tuple[str, str]) -> bytes:
    """A header block of a server that honours our header table of size 0."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode(list(fields))


def head(stream_id: int, status: int, *fields: tuple[str, str], ends: bool = True) -> bytes:
    """A HEADERS frame with a whole block."""
    flags = frames.FLAG_END_HEADERS | (frames.FLAG_END_STREAM if ends else 0)
    return frames.pack_frame(frames.HEADERS, flags, stream_id, block((":status", str(status)), *fields))


def data(stream_id: int, body: bytes, *, ends: bool = True) -> bytes:
    """A DATA frame."""
    return frames.pack_frame(frames.DATA, frames.FLAG_END_STREAM if ends else 0, stream_id, body)


def rejection(stream_id: int, status: int, reason: str, **more: int) -> bytes:
    """An answer with a body of Apple's form."""
    body = "".join(f',"{key}":{value}' for key, value in more.items())
    return head(stream_id, status, ends=False) + data(stream_id, f'{{"reason":"{reason}"{body}}}'.encode())


class Client:
    """The core with its batches; `answers` is what the first of them has so far."""

    def __init__(self, *batches: Batch, greeting: bytes | None = GREETING, first_stream_id: int = 1) -> None:
        self.core = ClientCore("api.push.apple.com", answers, FORM, first_stream_id=first_stream_id)
        self.written = self.core.take()
        self.batches = batches
        self._next = [0] * len(batches)
        if greeting is not None:
            self.feed(greeting)
        self.send()

    def send(self) -> int:
        """Writes as much of every batch as there is room for; returns how many notifications."""
        count = 0
        for place, each in enumerate(self.batches):
            while (room := self.core.room()) and self._next[place] < len(each.requests):
                written = self.core.write(each, range(len(each.requests))[self._next[place] :][:room])
                self._next[place] += written
                count += written
        self.written += self.core.take()
        return count

    def feed(self, *chunks: bytes, now: float = 0.0) -> bytes:
        """Gives the core what a server wrote; returns what it writes in return."""
        for chunk in chunks:
            self.core.receive(chunk, now)
        reply = self.core.take()
        self.written += reply
        return reply

    @property
    def answers(self) -> list[Response | None]:
        return self.batches[0].responses

    @property
    def goaway(self) -> frames.ErrorCode | None:
        """The code with which the client closed the connection."""
        codes = [
            frames.unpack_goaway(payload)[1] for kind, _, _, payload in parse(self.written) if kind == frames.GOAWAY
        ]
        return frames.ErrorCode(codes[-1]) if codes else None

    def resets(self) -> dict[int, int]:
        """The code of each stream that the client reset."""
        return {
            stream_id: frames.unpack_word(payload)
            for kind, _, stream_id, payload in parse(self.written)
            if kind == frames.RST_STREAM
        }


def parse(written: bytes) -> Iterable[tuple[int, int, int, bytes]]:
    """(type, flags, stream id, payload) of each frame that a client wrote, its preface left out."""
    position = len(frames.PREFACE) if written.startswith(frames.PREFACE) else 0
    while position < len(written):
        length, kind, flags, stream_id = frames.unpack_header(written, position)
        position += frames.FRAME_HEADER_SIZE
        yield kind, flags, stream_id, written[position : position + length]
        position += length
