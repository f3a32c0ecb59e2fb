"""Decides how long a call retries. Does not wait itself."""

from collections.abc import Callable
from math import inf
from random import random
from time import monotonic
from typing import Final

from producers.errors import PublishError
from producers.topology import Topology
from producers.urls import Address

#: Seconds before the second retry. The first is immediate, because an idle connection is often only stale.
_FIRST: Final = 0.05
_LONGEST: Final = 1.0


class AwayError(Exception):
    """Redis gave no answer, or one that asks to try again. The text is the cause, without data."""


class Elsewhere(AwayError):
    """A node of a cluster says that another one has the slot. `asking`: for this command only."""

    def __init__(self, text: str, to: Address, *, asking: bool) -> None:
        super().__init__(text)
        self.to, self.asking = to, asking


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


#: Seconds that a call waits by itself: for one server, and where a failover is waited for, which takes twice the node timeout
#: (15 s if not set) and 2 s more.
_ONE: Final = 5.0
_FOLLOWED: Final = 32.0
#: Seconds for one try where there are several servers: one that is silent must not take the time that the others need.
_TRY: Final = 5.0
#: Redirections that are followed at once.
_AT_ONCE: Final = 5


def patience_for(seconds: float | None, *, followed: bool) -> float:
    """Seconds that a call waits. `followed`: the URL is one of Sentinels or of a cluster."""
    return (_FOLLOWED if followed else _ONE) if seconds is None else seconds


def most_of_a_try(seconds: float | None, *, followed: bool) -> float:
    """Seconds for one try. `seconds`: what the command itself waits for, if it waits."""
    return _TRY if followed and seconds is None else inf


class Redirects:
    """Where the nodes of a cluster send one command."""

    def __init__(self) -> None:
        #: Who is to be asked this time, where it is not the owner of the slot.
        self.to: Address | None = None
        self._count = 0

    def note(self, elsewhere: Elsewhere, topology: Topology, slot: int) -> None:
        """Takes what a node said about this slot."""
        self.to = elsewhere.to if elsewhere.asking else None
        self._count += 1
        if not elsewhere.asking:
            topology.moved(slot, elsewhere.to)

    def pause(self, elsewhere: Elsewhere, patience: Patience) -> float:
        """Seconds to wait before asking there, or `PublishError` where there is no time."""
        return 0.0 if self._count <= _AT_ONCE else patience.pause(elsewhere)
