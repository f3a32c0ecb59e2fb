"""A connection of a simulator without a network: the frames of requests in, the answers by stream out."""

import asyncio

import hpack

from worker.http2 import frames


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False


class Plain:
    """An encoder of literals that touches no table, as senders with prepared blocks do."""

    def encode(self, headers) -> bytes:
        return b"".join(b"\x10" + self._string(name) + self._string(value) for name, value in headers)

    def _string(self, text: bytes) -> bytes:
        if len(text) < 127:
            return bytes([len(text)]) + text
        rest = len(text) - 127
        octets = bytearray([127])
        while rest > 127:
            octets.append(rest & 0x7F | 0x80)
            rest >>= 7
        return bytes(octets) + bytes([rest]) + text


def request(encoder, stream_id: int, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """HEADERS and DATA of one request."""
    block = encoder.encode([(name.encode(), value.encode()) for name, value in headers])
    head = frames.pack_headers(stream_id, block, end_stream=False, max_frame_size=16384)
    return head + frames.pack_frame(frames.DATA, frames.FLAG_END_STREAM, stream_id, body)


def answers(data: bytes) -> dict[int, tuple[dict[str, str], bytes]]:
    """Header fields and body by stream."""
    decoder, position = hpack.Decoder(), 0
    found: dict[int, tuple[dict[str, str], bytes]] = {}
    while position < len(data):
        length, kind, _, stream_id = frames.unpack_header(data, position)
        payload = data[position + 9 : position + 9 + length]
        position += 9 + length
        fields, body = found.get(stream_id, ({}, b""))
        if kind == frames.HEADERS:
            found[stream_id] = (fields | {str(name): str(value) for name, value in decoder.decode(payload)}, body)
        elif kind == frames.DATA:
            found[stream_id] = (fields, body + payload)
    return found
