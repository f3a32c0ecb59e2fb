"""Log lines for dead letters: app, event and reason, a bounded number a second. Never a document."""

import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from worker.database.ledger import DeadLetter

log = logging.getLogger(__name__)

#: Lines a second of one process; the next line has the number of those left out.
LINES: Final = 10
#: Longest reason that is logged.
_LONGEST: Final = 300


class _Budget:
    """Counts the lines that may still be written in this second, and those that were left out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._second, self._left, self._unlogged = -1, LINES, 0

    def take(self) -> int | None:
        """The number of lines left out before this one; None: leave this one out too."""
        with self._lock:
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._left = second, LINES
            if not self._left:
                self._unlogged += 1
                return None
            self._left -= 1
            unlogged, self._unlogged = self._unlogged, 0
            return unlogged


_budget: Final = _Budget()


def log_letters(letters: Sequence["DeadLetter"]) -> None:
    """Logs the letters; call it after they are stored."""
    for letter in letters:
        unlogged = _budget.take()
        if unlogged is None:
            continue
        fields: dict[str, object] = {
            "app": letter.app,
            "event": letter.event_id,
            "entry": letter.entry,
            "reason": letter.error[:_LONGEST],
        }
        if unlogged:
            fields["more"] = unlogged
        log.warning("event dead-lettered: see carillon dead-letters", extra=fields)
