"""How long an expansion takes: it ends well within its leases, and renews them meanwhile."""

from collections.abc import Callable, Sequence
from typing import Final

from worker.state.journal import Journal, Opened

#: The part of its lease after which an expansion begins with no further message, and renews what it still has in hand.
PART: Final = 1 / 4


class Patience:
    """`pause` is called between two steps: on the bulk lane it lets urgent messages pass."""

    def __init__(
        self,
        journal: Journal,
        opened: Sequence[Opened],
        clock: Callable[[], float],
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal, self._opened, self._clock, self._pause = journal, opened, clock, pause
        self._part = journal.lease * PART
        self._ends = self._renews = clock() + self._part

    @property
    def over(self) -> bool:
        """Whether it took so long that other messages are better left for later."""
        return self._clock() > self._ends

    def alive(self) -> bool:
        """Called between two steps: pauses, and renews the leases of its messages when they need it.

        Returns whether it is not `over`.
        """
        self._pause()
        now = self._clock()
        if now > self._renews:
            self._journal.renew_messages(self._opened)
            self._renews = self._clock() + self._part
        return now <= self._ends
