"""The accounts of what a process has delivered recently, for a server that may have lost them."""

from collections import deque
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Final

#: What Python needs for one, apart from its octets.
_OVERHEAD: Final = 128


class RecentAccounts:
    """Those of the last `seconds`, as many of the newest as fit into `octets`. Threads may share it.

    `clock` gives seconds from anywhere.
    """

    def __init__(self, clock: Callable[[], float], *, seconds: float, octets: int) -> None:
        self._clock, self._seconds, self._room = clock, seconds, octets
        self._kept: deque[tuple[float, bytes]] = deque()
        self._lock = Lock()

    def add(self, documents: Iterable[bytes]) -> None:
        now = self._clock()
        with self._lock:
            for document in documents:
                self._kept.append((now, document))
                self._room -= len(document) + _OVERHEAD
            self._forget(now)

    def all(self) -> list[bytes]:
        """The oldest first."""
        with self._lock:
            self._forget(self._clock())
            return [document for _, document in self._kept]

    def _forget(self, now: float) -> None:
        kept = self._kept
        while kept and (self._room < 0 or kept[0][0] <= now - self._seconds):
            self._room += len(kept.popleft()[1]) + _OVERHEAD
