"""Log lines for what was dead-lettered: whose, which and why, a bounded number a second. Never a document."""

import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.database.ledger import DeadLetter

log = logging.getLogger(__name__)

#: Lines a second of one process; of the others their number is told with the next one.
LINES: Final = 10
#: Longest reason that is logged.
_LONGEST: Final = 300


class _Budget:
    """How many lines may still be written in this second, and how many were not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._second, self._left, self._untold = -1, LINES, 0

    def take(self) -> int | None:
        """How many were not told before this one; None: this one is not told either."""
        with self._lock:
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._left = second, LINES
            if not self._left:
                self._untold += 1
                return None
            self._left -= 1
            untold, self._untold = self._untold, 0
            return untold


_budget: Final = _Budget()


def log_letters(letters: Sequence["DeadLetter"]) -> None:
    """To be called once they are stored."""
    for letter in letters:
        untold = _budget.take()
        if untold is None:
            continue
        fields: dict[str, object] = {
            "app": letter.app,
            "event": letter.event_id,
            "entry": letter.entry,
            "reason": letter.error[:_LONGEST],
        }
        if untold:
            fields["more"] = untold
        log.warning("event dead-lettered: see carillon dead-letters", extra=fields)
