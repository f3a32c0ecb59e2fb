"""The place of this process among the workers that share the partitions' leads: it asks, core/spread.py decides."""

import logging
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from config.seldom import Seldom
from worker.core import spread
from worker.process.partitions import PartitionRuntime
from worker.process.runtime import Runtime
from worker.reports import signs
from worker.reports.faults import sentence
from worker.state import redis
from worker.state.leader_hint import LeaderHint

log = logging.getLogger(__name__)

#: Seconds between two looks at the workers, and after which a silent one counts no more.
LOOK: Final = 1.0
_SILENT: Final = 8.0
#: Seconds after handing over in which this process does not try again.
HANDED_OVER: Final = 3.0


class _Choice(NamedTuple):
    """The worker that is to lead a partition, and since when; '': none is known."""

    worker: str = ""
    since: float = 0.0


class Spread:
    """With one partition it asks nothing: whoever gets the lease leads.

    One thread calls `look`. The leader of a partition asks the server of that partition alone: others may be away meanwhile.
    """

    def __init__(self, runtime: Runtime, name: str) -> None:
        self._runtime, self._name, self._seldom = runtime, name, Seldom(log)
        self._choices: Sequence[_Choice] = ()
        #: By partition: since when nobody leads it, and when this process handed it over last.
        self._nobody: dict[int, float] = {}
        self._handed: dict[int, float] = {}

    def look(self) -> None:
        """Chooses a worker for each partition among those that live. If Redis does not say which, the choices stay."""
        if len(self._runtime.partitions) == 1:
            return
        now, before = time.monotonic(), self._choices
        try:
            known = {one.name for one in signs.read(self._runtime.fleet) if one.age <= _SILENT}
        except redis.Error as fault:
            self._seldom.warning("the workers are not known, who leads stays", extra={"fault": sentence(fault)})
            return
        choices = spread.chosen(known | {self._name}, len(self._runtime.partitions))
        self._choices = [
            before[at] if before and before[at].worker == worker else _Choice(worker, now)
            for at, worker in enumerate(choices)
        ]

    def may_try(self, of: PartitionRuntime) -> bool:
        """Whether this process tries to lead the partition now. May raise what stands for a Redis that is away."""
        choice = self._choice(of.index).worker
        if len(self._runtime.partitions) == 1 or choice == self._name:
            self._nobody.pop(of.index, None)
            return True
        now = time.monotonic()
        if LeaderHint(of.partition).read() is not None:
            self._nobody.pop(of.index, None)
            return False
        return spread.may_try(self._name, choice, now - self._nobody.setdefault(of.index, now))

    def hand_over(self, partition: int) -> str | None:
        """The worker that is to lead the partition from now on in place of this one; None: this one goes on."""
        choice, now = self._choice(partition), time.monotonic()
        since_last = now - self._handed.get(partition, float("-inf"))
        if not choice.worker or not spread.hands_over(self._name, choice.worker, now - choice.since, since_last):
            return None
        self._handed[partition] = now
        self._nobody.pop(partition, None)
        return choice.worker

    def _choice(self, partition: int) -> _Choice:
        return self._choices[partition] if self._choices else _Choice()
