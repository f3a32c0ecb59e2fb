"""A value that is read at most so often, whoever asks."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Cached(Generic[T]):
    """What `read` returned, at most `seconds` old. One thread reads at a time, and nobody waits longer than `patience`."""

    def __init__(
        self,
        read: Callable[[], T],
        *,
        seconds: float,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._seconds, self._patience, self._clock = read, seconds, patience, clock
        self._lock = threading.Lock()
        self._value: Future[T] | None = None
        self._until = 0.0

    def begin(self) -> Future[T]:
        """The value that there is, or that is being read; begins to read where there is none or it is too old."""
        with self._lock:
            value = self._value
            if value is None or (value.done() and self._clock() >= self._until):
                value = self._value = Future()
                threading.Thread(target=self._fill, args=(value,), name="carillon-reading", daemon=True).start()
            return value

    def get(self) -> T:
        """Raises what `read` raised, and `TimeoutError` while a reading takes too long."""
        return self.begin().result(self._patience)

    def _fill(self, value: Future[T]) -> None:
        try:
            found = self._read()
        except BaseException as fault:  # noqa: BLE001 - whoever asked gets it
            self._until = self._clock() + self._seconds
            value.set_exception(fault)
        else:
            self._until = self._clock() + self._seconds
            value.set_result(found)
