"""What a server allows its client: streams at once and windows for bodies, as announced and as enforced.

RFC 9113 §5.1.2, §5.2 and §6.5.3.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from worker.http2 import frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """What the server announces at the start."""

    max_streams: int = 1000
    #: Octets a stream may send before it is given more.
    stream_window: int = frames.DEFAULT_WINDOW
    #: Octets the connection may send before it is given more; not less than the protocol's 65,535.
    connection_window: int = 1 << 20
    max_header_list: int = 8000
    #: Octets of the dynamic table for request headers.
    header_table_size: int = frames.DEFAULT_HEADER_TABLE_SIZE
    #: Octets of a body that are kept; a longer one is handed on at once, cut there.
    max_body: int = 8192

    def settings(self) -> dict[int, int]:
        """The content of the first SETTINGS."""
        table = {frames.SETTINGS_HEADER_TABLE_SIZE: self.header_table_size}
        return (table if self.header_table_size != frames.DEFAULT_HEADER_TABLE_SIZE else {}) | {
            frames.SETTINGS_MAX_CONCURRENT_STREAMS: self.max_streams,
            frames.SETTINGS_INITIAL_WINDOW_SIZE: self.stream_window,
            frames.SETTINGS_MAX_HEADER_LIST_SIZE: self.max_header_list,
        }


class Limits:
    """The limits by SETTINGS. A raised one holds at once, a lowered one from its acknowledgement on.

    The first limit of streams holds before its acknowledgement, too: refusing a stream is always allowed.
    """

    def __init__(self, announced: Announced) -> None:
        self._streams = self.streams = announced.max_streams
        self._window = announced.stream_window
        #: Enforced now: streams at once, and octets of a stream before its first WINDOW_UPDATE.
        self.window = max(announced.stream_window, frames.DEFAULT_WINDOW)
        self._unacknowledged = 0
        #: For each SETTINGS that waits, the size of the header table that it announces.
        self._table_sizes: deque[int | None] = deque()

    def announce(self, settings: Mapping[int, int]) -> bytes:
        """The SETTINGS frame, from now on waiting for its acknowledgement."""
        self._unacknowledged += 1
        self._table_sizes.append(settings.get(frames.SETTINGS_HEADER_TABLE_SIZE))
        self._streams = settings.get(frames.SETTINGS_MAX_CONCURRENT_STREAMS, self._streams)
        self._window = settings.get(frames.SETTINGS_INITIAL_WINDOW_SIZE, self._window)
        self.streams = max(self.streams, self._streams)
        self.window = max(self.window, self._window)
        return frames.pack_settings(settings)

    def acknowledge(self) -> bool:
        """The client has taken the oldest SETTINGS; False where none is waiting."""
        self._unacknowledged -= 1
        if not self._unacknowledged:
            self.streams, self.window = self._streams, self._window
        return self._unacknowledged >= 0

    def table_size(self) -> int | None:
        """The size of the header table that the oldest acknowledged SETTINGS announced; to be asked once for each."""
        return self._table_sizes.popleft()


class ReceiveWindow:
    """The connection's window for bodies."""

    def __init__(self, size: int) -> None:
        self._size = max(size, frames.DEFAULT_WINDOW)
        #: Octets the client may send now, and octets to be given back.
        self.left = self._size
        self.unreturned = 0
        #: Off: nothing is given back, the window closes.
        self.replenish = True

    def start(self) -> bytes:
        """What makes the window larger than the protocol's."""
        extra = self._size - frames.DEFAULT_WINDOW
        return frames.pack_window_update(0, extra) if extra else b""

    def use(self, length: int) -> bool:
        """Count what arrived; False where it is more than was allowed."""
        self.left -= length
        self.unreturned += length
        return self.left >= 0

    def refill(self, *, at_once: bool = False) -> bytes:
        """What gives the window back once half of it is used."""
        if not self.unreturned or not self.replenish or (not at_once and self.unreturned * 2 < self._size):
            return b""
        length, self.unreturned = self.unreturned, 0
        self.left += length
        return frames.pack_window_update(0, length)
