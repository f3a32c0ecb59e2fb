"""A background thread of a worker process."""

import threading
from abc import ABC, abstractmethod


class BackgroundThread(ABC):
    """A subclass does its work in `_run`, which has to return soon after `_stop` is set."""

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def fault(self) -> str | None:
        """That the thread has ended though nobody stopped it."""
        return None if self._thread.is_alive() or self._stop.is_set() else f"{self._thread.name} has ended"

    def stop(self) -> None:
        """Lets the thread finish its current step and begin no other."""
        self._stop.set()

    def join(self, timeout: float = 10.0) -> None:
        if self._thread.is_alive():
            self._thread.join(timeout)

    @abstractmethod
    def _run(self) -> None: ...
