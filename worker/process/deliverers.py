"""The threads of one process that deliver urgent batches of a partition, each one batch after another."""

import threading
import time
from collections.abc import Callable
from typing import Final

#: Threads that are enough for whatever is ready, while each takes a batch every `PATIENCE` seconds.
ENOUGH: Final = 3
PATIENCE: Final = 0.25


class Deliverers:
    """`clock` gives seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: When each thread took its batch.
        self._took_at: dict[int, float] = {}
        self._missed = False
        #: How many others were ready when the last batch was taken. Who made others ready since has woken somebody for them.
        self._others = 0
        self._lock = threading.Lock()

    def take_over(self) -> bool:
        """Whether threads that deliver now take what is ready soon. They look once more before they end."""
        with self._lock:
            self._missed = self._are_enough()
            return self._missed

    def is_left(self) -> bool:
        """Whether those who took over what is ready do not get on, as at a silent provider: others have to take it.

        Says so once.
        """
        with self._lock:
            left = self._missed and not self._are_enough()
            self._missed = self._missed and not left
            return left

    def note(self, others: int) -> None:
        """A thread took a batch while so many others were ready, or found that none was."""
        self._others = others

    def work(self, deliver: Callable[[], object], seconds: float) -> bool:
        """Delivers batches until none is ready, or so many seconds have passed. Returns whether others have to go on.

        `deliver` returns whether its batch made others ready, and calls `note`.
        """
        own, ends = threading.get_ident(), self._clock() + seconds
        with self._lock:
            self._took_at[own] = self._clock()
        try:
            while True:
                more = bool(deliver())
                with self._lock:
                    now = self._took_at[own] = self._clock()
                    more, self._missed = more or self._missed or self._others > 0, False
                    if not more or now > ends:
                        # In the same step in which it found nothing more, so that no wake-up is missed.
                        del self._took_at[own]
                        return more
        finally:
            with self._lock:
                self._took_at.pop(own, None)

    def _are_enough(self) -> bool:
        since = self._clock() - PATIENCE
        return sum(at >= since for at in self._took_at.values()) >= ENOUGH
