"""What a run says while it lasts: how far it is, what is on its way, and how long it can take at most."""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Final, Self

import psycopg

from tests.chaos.system import System
from worker.state.redis import Unavailable

#: Seconds between two lines.
EVERY: Final = 15.0


class Progress:
    """A thread that gives `say` a line every so many seconds: the stage, and what is on its way in the system."""

    def __init__(self, say: Callable[[str], None], system: System, *, every: float = EVERY) -> None:
        self._say, self._system, self._every = say, system, every
        self._began, self._stop = monotonic(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._stage = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def at(self, stage: str) -> None:
        """The stage from now on; said at once."""
        self._stage = stage
        self.tell(stage)

    def tell(self, what: str) -> None:
        """A line with the seconds since the beginning."""
        self._say(f"{monotonic() - self._began:6.0f} s  {what}")

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self.tell(f"{self._stage}; {left_in(self._system)}")


def left_in(system: System) -> str:
    """What is on its way, in words; who does not answer is named."""
    try:
        return ", ".join(f"{what} {n:,}" for what, n in system.on_its_way().items() if n) or "nothing on its way"
    except psycopg.OperationalError:
        return "Postgres does not answer"
    except Unavailable:
        return "Redis does not answer"
    except (psycopg.Error, OSError) as fault:
        return f"unknown, {type(fault).__name__}"
