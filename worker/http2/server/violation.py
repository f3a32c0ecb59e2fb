"""How a client can break the protocol by the form of a frame alone, and the error code for it (RFC 9113 §6)."""

from typing import Final

from worker.http2 import frames
from worker.http2.frames import ErrorCode


class ViolationError(Exception):
    """The client broke the protocol. `code` and `what` go into the GOAWAY that ends the connection."""

    def __init__(self, code: ErrorCode, what: str) -> None:
        super().__init__(what)
        self.code = code
        self.what = what


#: Octets of frames that have only one size.
_SIZES: Final = {frames.PRIORITY: 5, frames.RST_STREAM: 4, frames.PING: 8, frames.WINDOW_UPDATE: 4}
_OF_CONNECTION: Final = frozenset({frames.SETTINGS, frames.PING, frames.GOAWAY})
_OF_STREAM: Final = frozenset(
    {frames.DATA, frames.HEADERS, frames.PRIORITY, frames.RST_STREAM, frames.PUSH_PROMISE, frames.CONTINUATION}
)
_FRAME_SIZES: Final = range(frames.DEFAULT_MAX_FRAME_SIZE, frames.LARGEST_MAX_FRAME_SIZE + 1)


def check_frame(kind: int, flags: int, stream_id: int, payload: bytes) -> None:
    """Raises ViolationError where the frame's size or stream is not one that its type may have."""
    if kind == frames.SETTINGS:
        wrong_size = len(payload) % 6 != 0 or bool(flags & frames.FLAG_ACK and payload)
    elif kind == frames.GOAWAY:
        wrong_size = len(payload) < 8
    else:
        wrong_size = len(payload) != _SIZES.get(kind, len(payload))
    if wrong_size:
        raise ViolationError(ErrorCode.FRAME_SIZE_ERROR, "frame has a size that its type has not")
    if (stream_id and kind in _OF_CONNECTION) or (not stream_id and kind in _OF_STREAM):
        raise ViolationError(ErrorCode.PROTOCOL_ERROR, "frame is on the wrong kind of stream")
    if kind == frames.PUSH_PROMISE:
        raise ViolationError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")


def check_setting(key: int, value: int) -> None:
    """Raises ViolationError where the value is out of the setting's range (RFC 9113 §6.5.2)."""
    if key == frames.SETTINGS_INITIAL_WINDOW_SIZE and value > frames.MAX_WINDOW:
        raise ViolationError(ErrorCode.FLOW_CONTROL_ERROR, "initial window is too large")
    if key == frames.SETTINGS_ENABLE_PUSH and value > 1:
        raise ViolationError(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is not 0 or 1")
    if key == frames.SETTINGS_MAX_FRAME_SIZE and value not in _FRAME_SIZES:
        raise ViolationError(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of range")
