"""Keeps the threads of a process from all waiting for one server that does not answer."""

import threading
from typing import Final

import redis

#: Calls that may wait for an answer at once, and seconds that another one waits for one of them to be answered.
_AT_ONCE: Final = 2
_PATIENCE: Final = 0.25


class Gate:
    """Lets few calls of a partition wait at once. Raises `redis.ConnectionError` where these get no answer soon."""

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._free, self._patience = threading.BoundedSemaphore(_AT_ONCE), patience

    def __enter__(self) -> None:
        if not self._free.acquire(timeout=self._patience):
            raise redis.ConnectionError("the partition's server does not answer others")

    def __exit__(self, *_: object) -> None:
        self._free.release()
