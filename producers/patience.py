"""Decides how long a call retries. Does not wait itself."""

from collections.abc import Callable
from random import random
from time import monotonic
from typing import Final

from producers.errors import PublishError

#: Seconds before the second retry. The first is immediate, because an idle connection is often only stale.
_FIRST: Final = 0.05
_LONGEST: Final = 1.0


class AwayError(Exception):
    """Redis gave no answer, or one that asks to try again. The text is the cause, without data."""


class Patience:
    """The tries of one call: the remaining time, and the pause before the next try."""

    def __init__(self, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._seconds = seconds
        self._end = clock() + seconds
        self._tries = 0

    def left(self) -> float:
        """Seconds until the call gives up, never quite zero: to a socket, zero means not to wait at all."""
        return max(self._end - self._clock(), 0.001)

    def pause(self, away: AwayError, chance: Callable[[], float] = random) -> float:
        """Seconds to wait before the next try, or `PublishError` where there is no time for one."""
        self._tries += 1
        longest = 0.0 if self._tries == 1 else min(_FIRST * 2 ** (self._tries - 2), _LONGEST)
        pause = longest * (0.5 + chance() / 2)
        if self._clock() + pause >= self._end:
            raise self.over(away) from away
        return pause

    def over(self, away: AwayError | None) -> PublishError:
        """What to raise when the time is up."""
        cause = f": {away}" if away else ""
        return PublishError(
            f"Redis did not confirm it in {self._seconds:g} s and {max(self._tries, 1)} tries{cause}. "
            "See that it runs and can be reached, then publish the same event again: its id makes that harmless"
        )
