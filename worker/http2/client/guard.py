"""Limits the frames of a server that cost work and carry no answer; a flood closes the connection."""

from typing import Final

from worker.http2.client.errors import ConnectionFaultError
from worker.http2.frames import ErrorCode

#: Seconds of one period.
PERIOD: Final = 10.0
#: The least that a frame counts, in octets: reading one takes as long as decoding so many octets of a header block.
FRAME: Final = 64
#: Octets that are allowed in a period: 10,000 small frames, or half a second of decoding.
BUDGET: Final = 10_000 * FRAME
#: Octets that each request adds to this, for the frames of an answer: window updates, a body in pieces, a reset.
PER_REQUEST: Final = 8 * FRAME


class Guard:
    """The count of one connection. The owner sets `now` (seconds of a steady clock) and `opened`, its requests so far."""

    __slots__ = ("_counted_from", "_next_from", "_since", "_spent", "now", "opened")

    def __init__(self, opened: int = 0) -> None:
        self.now = 0.0
        self.opened = opened
        self._since = 0.0
        self._spent = 0
        # Answers may come a period later than their requests.
        self._counted_from = self._next_from = opened

    def charge(self, octets: int = 0) -> None:
        """Counts a frame of so many octets. Raises `ConnectionFaultError` if it is one too many."""
        if self.now - self._since > PERIOD:
            self._since, self._spent = self.now, 0
            self._counted_from, self._next_from = self._next_from, self.opened
        self._spent += max(octets, FRAME)
        if self._spent > BUDGET + PER_REQUEST * (self.opened - self._counted_from):
            raise ConnectionFaultError(ErrorCode.ENHANCE_YOUR_CALM, "flood of control frames")
