"""The place of this process among the workers that share the partitions' leads: it asks, core/spread.py decides."""

import threading
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from worker.core import spread
from worker.process.runtime import Runtime
from worker.reports import signs
from worker.state import redis
from worker.state.leader_hint import LeaderHint

#: Seconds for which the workers are known, and after which a silent one counts no more.
_KNOWN: Final = 1.0
_SILENT: Final = 8.0
#: Seconds after handing over in which this process does not try again.
HANDED_OVER: Final = 3.0


class Place(NamedTuple):
    """What one partition is to this process now. `choice`: the worker that is to lead it."""

    may_try: bool
    hands_over: bool
    choice: str


class Spread:
    """Shared by the leaders of a process. With one partition it asks nothing: whoever gets the lease leads."""

    def __init__(self, runtime: Runtime, name: str) -> None:
        self._runtime, self._name = runtime, name
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._choices: Sequence[str] = ()
        #: By partition: since when its choice is what it is, since when nobody leads it, and when it was handed over last.
        self._since: dict[int, float] = {}
        self._nobody: dict[int, float] = {}
        self._handed: dict[int, float] = {}

    def of(self, partition: int) -> Place:
        """May raise what stands for a Redis that is away."""
        if len(self._runtime.partitions) == 1:
            return Place(may_try=True, hands_over=False, choice=self._name)
        now = time.monotonic()
        with self._lock:
            if now - self._asked_at >= _KNOWN:
                self._ask(now)
            choice = self._choices[partition]
            nobody_for = now - self._nobody.get(partition, now)
            since_last = now - self._handed.get(partition, float("-inf"))
            over = spread.hands_over(self._name, choice, now - self._since[partition], since_last)
        return Place(spread.may_try(self._name, choice, nobody_for), over, choice)

    def hands_over(self, partition: int) -> None:
        """This process does so now."""
        self._handed[partition] = time.monotonic()

    def _ask(self, now: float) -> None:
        known = {one.name for one in signs.read(self._runtime.fleet) if one.age <= _SILENT}
        choices = spread.chosen(known | {self._name}, len(self._runtime.partitions))
        for partition, of in enumerate(self._runtime.partitions):
            if not self._choices or self._choices[partition] != choices[partition]:
                self._since[partition] = now
            try:
                led = LeaderHint(of.partition).read() is not None
            except redis.Unavailable:  # its server is away: its own leader sees that
                led = True
            if led:
                self._nobody.pop(partition, None)
            else:
                self._nobody.setdefault(partition, now)
        self._choices, self._asked_at = choices, now
