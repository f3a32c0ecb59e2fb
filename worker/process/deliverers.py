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

    def work(self, deliver: Callable[[], object], seconds: float) -> bool:
        """Delivers batches until `deliver` finds none, or so many seconds have passed. Returns whether others have to go on."""
        own, ends = threading.get_ident(), self._clock() + seconds
        self._took_at[own] = self._clock()
        try:
            while True:
                more = bool(deliver())
                with self._lock:
                    now = self._took_at[own] = self._clock()
                    more, self._missed = more or self._missed, False
                    if not more or now > ends:
                        # In the same step in which it found nothing more, so that no wake-up is missed.
                        del self._took_at[own]
                        return more
        finally:
            self._took_at.pop(own, None)

    def _are_enough(self) -> bool:
        since = self._clock() - PATIENCE
        return sum(at >= since for at in self._took_at.values()) >= ENOUGH
