"""How far another clock is off."""

import time
from collections.abc import Callable


def skew(ask: Callable[[], float], now: Callable[[], float] = time.time) -> float:
    """Seconds by which the clock that is asked is ahead of ours, however long asking took: no more than is certain."""
    began = now()
    theirs = ask()
    return max(0.0, theirs - now()) + min(0.0, theirs - began)
