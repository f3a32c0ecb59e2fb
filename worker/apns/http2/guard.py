"""Counts frames that cost us something and bring nothing, so that a hostile server is told off."""

from typing import Final

from worker.apns.http2.errors import ConnectionFaultError
from worker.apns.http2.frames import ErrorCode

#: Frames without use that are borne within `PERIOD` seconds.
MAX_IDLE_FRAMES: Final = 10_000
PERIOD: Final = 10.0


class Guard:
    """A budget of useless frames for each period. The owner sets `now` (seconds of a steady clock)."""

    __slots__ = ("_count", "_since", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._since = 0.0
        self._count = 0

    def count(self) -> None:
        """One more; raises `ConnectionFaultError` when it is one too many."""
        if self.now - self._since > PERIOD:
            self._since, self._count = self.now, 0
        self._count += 1
        if self._count > MAX_IDLE_FRAMES:
            raise ConnectionFaultError(ErrorCode.ENHANCE_YOUR_CALM, "flood of control frames")
