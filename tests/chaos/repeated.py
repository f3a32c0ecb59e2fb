"""A thread that does something again and again while a block lasts."""

import threading
from typing import Self


class Repeated:
    """Calls `turn` every so many seconds, in a thread of its own. A class of this kind says what a turn is."""

    def __init__(self, name: str, every: float) -> None:
        self._every, self._stop = every, threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self.turn()

    def turn(self) -> None:
        """What is done each time."""
        raise NotImplementedError
