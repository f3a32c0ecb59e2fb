"""The worker's thread that says that it lives, and for which lanes: see `worker/reports/signs.py`."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from worker.process.background_thread import BackgroundThread
from worker.process.runtime import Runtime
from worker.reports import signs
from worker.state import redis

#: Seconds between two signs.
PAUSE: Final = 3.0


class Signs(BackgroundThread):
    """`name` is that of the worker in Flower; `lanes` gives those that it works on now."""

    def __init__(self, runtime: Runtime, name: str, lanes: Callable[[], list[str]]) -> None:
        super().__init__("carillon-signs")
        self._runtime, self._name, self._lanes = runtime, name, lanes

    def _run(self) -> None:
        stopped = False
        while not stopped:
            with suppress(redis.Error):
                signs.give(self._runtime.redis, self._name, self._lanes(), time.time())
            stopped = self._stop.wait(PAUSE)
        with suppress(redis.Error):
            signs.withdraw(self._runtime.redis, self._name)
