"""HTTP/2 frames as bytes: types, flags, codes, sizes, and how to pack and read them (RFC 9113 §4, §6, §7).

Owns no state and no rule: what a frame means to a connection is the business of `client` and `server`.
"""

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

FLAG_ACK: Final = 0x1
FLAG_END_STREAM: Final = 0x1
FLAG_END_HEADERS: Final = 0x4
FLAG_PADDED: Final = 0x8
FLAG_PRIORITY: Final = 0x20

SETTINGS_HEADER_TABLE_SIZE: Final = 0x1
SETTINGS_ENABLE_PUSH: Final = 0x2
SETTINGS_MAX_CONCURRENT_STREAMS: Final = 0x3
SETTINGS_INITIAL_WINDOW_SIZE: Final = 0x4
SETTINGS_MAX_FRAME_SIZE: Final = 0x5
SETTINGS_MAX_HEADER_LIST_SIZE: Final = 0x6

#: Octets of a frame header; the payload follows.
FRAME_HEADER_SIZE: Final = 9
DEFAULT_HEADER_TABLE_SIZE: Final = 4_096
DEFAULT_WINDOW: Final = 65_535
DEFAULT_MAX_FRAME_SIZE: Final = 16_384
LARGEST_MAX_FRAME_SIZE: Final = 2**24 - 1
MAX_WINDOW: Final = 2**31 - 1
MAX_STREAM_ID: Final = 2**31 - 1


class ErrorCode(IntEnum):
    """Why a stream or a connection was ended (RFC 9113 §7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


def error_name(code: int) -> str:
    """The name of an error code, for logs and causes; a code that no RFC knows is `unknown error`."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return "unknown error"


#: Length (8 + 16 bits), type, flags, stream id: one unpack per frame. `_from(data, offset)`.
_HEADER: Final = struct.Struct(">BHBBL")
_SETTING: Final = struct.Struct(">HL")
_WORD: Final = struct.Struct(">L")
_TWO_WORDS: Final = struct.Struct(">LL")
_STREAM_MASK: Final = 0x7FFF_FFFF


def unpack_header(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[int, int, int, int]:
    """(payload length, type, flags, stream id) of the frame header at `offset`; nine octets must be there."""
    high, low, kind, flags, stream_id = _HEADER.unpack_from(data, offset)
    return (high << 16) | low, kind, flags, stream_id & _STREAM_MASK


def pack_header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine octets before a payload of `length` octets."""
    return _HEADER.pack(length >> 16, length & 0xFFFF, kind, flags, stream_id)


def pack_frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return pack_header(len(payload), kind, flags, stream_id) + payload


def pack_settings(settings: Mapping[int, int]) -> bytes:
    """A SETTINGS frame that announces `settings` in their order."""
    return pack_frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(key, value) for key, value in settings.items()))


def unpack_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """(id, value) pairs in the order sent; the length must be a multiple of six, repeated ids are yielded again."""
    return _SETTING.iter_unpack(payload)


SETTINGS_ACK: Final = pack_frame(SETTINGS, FLAG_ACK, 0)


def pack_ping(opaque: bytes, *, ack: bool = False) -> bytes:
    """A PING frame; `opaque` has eight octets."""
    return pack_frame(PING, FLAG_ACK if ack else 0, 0, opaque)


def pack_rst_stream(stream_id: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return pack_frame(RST_STREAM, 0, stream_id, _WORD.pack(code))


def pack_window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; stream 0 is the connection. `increment` is 1 to 2^31-1."""
    return pack_frame(WINDOW_UPDATE, 0, stream_id, _WORD.pack(increment))


def pack_goaway(last_stream_id: int, code: int, debug: bytes = b"") -> bytes:
    """A GOAWAY frame."""
    return pack_frame(GOAWAY, 0, 0, _TWO_WORDS.pack(last_stream_id, code) + debug)


def unpack_goaway(payload: bytes) -> tuple[int, int, bytes]:
    """(last stream id, error code, debug data); the payload has at least eight octets."""
    last, code = _TWO_WORDS.unpack_from(payload)
    return last & _STREAM_MASK, code, payload[8:]


def unpack_word(payload: bytes) -> int:
    """The four octets of a RST_STREAM."""
    value: int = _WORD.unpack_from(payload)[0]
    return value


def unpack_increment(payload: bytes) -> int:
    """The increment of a WINDOW_UPDATE, its reserved bit ignored."""
    return unpack_word(payload) & _STREAM_MASK


def pack_headers(stream_id: int, block: bytes, *, end_stream: bool, max_frame_size: int) -> bytes:
    """HEADERS, and CONTINUATION for what does not fit into `max_frame_size`."""
    flags = FLAG_END_STREAM if end_stream else 0
    if len(block) <= max_frame_size:
        return pack_frame(HEADERS, flags | FLAG_END_HEADERS, stream_id, block)
    frames = [pack_frame(HEADERS, flags, stream_id, block[:max_frame_size])]
    frames += _continuations(stream_id, block, max_frame_size)
    return b"".join(frames)


def _continuations(stream_id: int, block: bytes, size: int) -> Iterator[bytes]:
    for start in range(size, len(block), size):
        last = start + size >= len(block)
        yield pack_frame(CONTINUATION, FLAG_END_HEADERS if last else 0, stream_id, block[start : start + size])


def strip_padding(flags: int, payload: bytes) -> bytes | None:
    """The payload of a DATA or HEADERS frame without its padding; None if the padding does not fit."""
    if not flags & FLAG_PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        return None
    return payload[1 : len(payload) - payload[0]]
