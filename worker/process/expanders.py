"""How many tasks of one process expand urgent messages at once.

Expansion mostly runs Python code, and the interpreter runs one thread at a time. More tasks would only take smaller pieces, each
with its own round trips. The running tasks also serve wake-ups that arrive meanwhile.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

#: One works while another waits for Postgres or Redis.
EXPANDERS: Final = 2


class Expanders:
    """Shared by the task threads of a process. `clock` gives seconds."""

    def __init__(self, most: int = EXPANDERS, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._working, self._missed = 0, False
        self._lock = threading.Lock()

    @property
    def room(self) -> bool:
        """Whether another task may expand."""
        return self._working < self._most

    def look_again(self) -> bool:
        """Lets a task that expands look for more once it has finished its piece; False where none does."""
        with self._lock:
            self._missed = self._working > 0
            return self._missed

    def work(self, expand: Callable[[], bool], seconds: float, *, leaves: Callable[[], bool] = lambda: False) -> bool:
        """Expands pieces until `seconds` have passed, or `leaves` says so. Does nothing if enough tasks expand already.

        `expand` returns whether there is more. Returns whether another wake-up is needed.
        """
        with self._lock:
            if self._working >= self._most:
                self._missed = True
                return False
            self._working += 1
        ends = self._clock() + seconds
        while True:
            try:
                more = expand()
            except BaseException:
                with self._lock:
                    self._working -= 1
                raise
            with self._lock:
                more, self._missed = more or self._missed, False
                if not more or leaves() or self._clock() > ends:
                    # In the same step in which it found nothing more, so that no wake-up is missed.
                    self._working -= 1
                    return more
