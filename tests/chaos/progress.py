"""What a run says while it lasts: how far it is, what is on its way, and how long it can take at most."""

from collections.abc import Callable
from time import monotonic
from typing import Final

import psycopg

from tests.chaos.repeated import Repeated
from tests.chaos.system import System
from worker.state.redis import Unavailable

#: Seconds between two lines.
EVERY: Final = 15.0


class Progress(Repeated):
    """Gives `say` a line every so many seconds: the stage, and what is on its way in the system."""

    def __init__(self, say: Callable[[str], None], system: System, *, every: float = EVERY) -> None:
        super().__init__("progress", every)
        self._say, self._system, self._began, self._stage = say, system, monotonic(), ""

    def at(self, stage: str) -> None:
        """The stage from now on; said at once."""
        self._stage = stage
        self.tell(stage)

    def tell(self, what: str) -> None:
        """A line with the seconds since the beginning."""
        self._say(f"{monotonic() - self._began:6.0f} s  {what}")

    def turn(self) -> None:
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
