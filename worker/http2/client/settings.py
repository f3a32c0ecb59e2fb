"""What the server announced in SETTINGS (RFC 9113 §6.5.2), checked. Acts on nothing."""

from worker.http2 import frames
from worker.http2.client.errors import ConnectionFaultError
from worker.http2.frames import ErrorCode


class PeerSettings:
    """The server's settings in force; the RFC's initial values until the first frame."""

    __slots__ = (
        "header_table_size",
        "initial_window",
        "least_table_size",
        "max_frame_size",
        "max_header_list",
        "max_streams",
    )

    def __init__(self) -> None:
        self.header_table_size = frames.DEFAULT_HEADER_TABLE_SIZE
        #: The smallest value in the last frame.
        self.least_table_size = self.header_table_size
        #: None: the server named no limit.
        self.max_streams: int | None = None
        self.initial_window = frames.DEFAULT_WINDOW
        self.max_frame_size = frames.DEFAULT_MAX_FRAME_SIZE
        self.max_header_list: int | None = None

    def apply(self, payload: bytes) -> None:
        """Applies one SETTINGS frame, in order; ignores unknown settings. Raises `ConnectionFaultError`."""
        if len(payload) % 6:
            raise ConnectionFaultError(ErrorCode.FRAME_SIZE_ERROR, "settings of a wrong size")
        self.least_table_size = self.header_table_size
        for key, value in frames.unpack_settings(payload):
            self._set(key, value)

    def _set(self, key: int, value: int) -> None:
        if key == frames.SETTINGS_HEADER_TABLE_SIZE:
            self.header_table_size = value
            self.least_table_size = min(self.least_table_size, value)
        elif key == frames.SETTINGS_ENABLE_PUSH:
            if value:
                raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "a server cannot enable push")
        elif key == frames.SETTINGS_MAX_CONCURRENT_STREAMS:
            self.max_streams = value
        elif key == frames.SETTINGS_INITIAL_WINDOW_SIZE:
            if value > frames.MAX_WINDOW:
                raise ConnectionFaultError(ErrorCode.FLOW_CONTROL_ERROR, "initial window over its maximum")
            self.initial_window = value
        elif key == frames.SETTINGS_MAX_FRAME_SIZE:
            if not frames.DEFAULT_MAX_FRAME_SIZE <= value <= frames.LARGEST_MAX_FRAME_SIZE:
                raise ConnectionFaultError(ErrorCode.PROTOCOL_ERROR, "max frame size out of range")
            self.max_frame_size = value
        elif key == frames.SETTINGS_MAX_HEADER_LIST_SIZE:
            self.max_header_list = value
