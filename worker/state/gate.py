"""Keeps the threads of a process from all waiting for one server that does not answer."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Final

import redis

#: Calls that may wait for an answer at once, and seconds for which these may have none before others are refused.
_AT_ONCE: Final = 2
_PATIENCE: Final = 0.25


class Gate:
    """Lets few calls of a server wait at once. Raises `redis.ConnectionError` where these get no answer soon.

    While they get answers others wait for their turn, however many these are.
    """

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._changed, self._patience = threading.Condition(), patience
        #: The calls that wait: their threads, and when they began.
        self._waiting: list[tuple[int, float]] = []

    def __enter__(self) -> None:
        with self._changed:
            while len(self._waiting) >= _AT_ONCE:
                left = self._waiting[-1][1] + self._patience - time.monotonic()
                if left <= 0:
                    raise redis.ConnectionError("the partition's server does not answer others")
                self._changed.wait(left)
            self._waiting.append((threading.get_ident(), time.monotonic()))

    def __exit__(self, *_: object) -> None:
        with self._changed:
            mine = threading.get_ident()
            self._waiting.remove(next(one for one in reversed(self._waiting) if one[0] == mine))
            self._changed.notify()


class GateOfServer:
    """The gate of whatever server has a partition at that moment: `server` names it. Partitions share `gates`, by server."""

    def __init__(self, gates: defaultdict[Hashable, Gate], server: Callable[[], Hashable]) -> None:
        self._gates, self._server, self._mine = gates, server, threading.local()

    def __enter__(self) -> None:
        gate = self._gates[self._server()]
        gate.__enter__()
        vars(self._mine).setdefault("entered", []).append(gate)

    def __exit__(self, *_: object) -> None:
        self._mine.entered.pop().__exit__()
