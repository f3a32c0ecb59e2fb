"""Looks at a run: the memory of every process while it lasts, and the simulator's record once it is over."""

import contextlib
import re
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import psutil

from tests.chaos.account import Accepted
from tests.chaos.crew import Crew
from worker.simulator import ControlClient

EVERY: Final = 2.0
#: Requests read at once.
PAGE: Final = 20_000
_BADGE: Final = re.compile(r'"badge":(\d+)')


class Sample(NamedTuple):
    """Memory of one process at one moment: resident megabytes, and its age in seconds."""

    name: str
    pid: int
    age: float
    megabytes: float


class Watch:
    """A thread that looks every two seconds.

    The record is read at the end, and a page at a time: a simulator that gives it out answers nobody meanwhile.
    """

    def __init__(self, control: ControlClient, crew: Crew, others: Mapping[str, int]) -> None:
        self._control, self._crew, self._others = control, crew, others
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.accepted: list[Accepted] = []
        #: Connection -> when requests arrived on it that got no answer.
        self.unanswered: defaultdict[int, list[float]] = defaultdict(list)
        #: Ids that were answered `BadDeviceToken`.
        self.refused: set[str] = set()
        self.samples: list[Sample] = []
        #: How many times longer than its own CPU time a piece of work took, at each look: what others leave of the machine.
        self.slowness: list[float] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, and reads what the simulator has recorded."""
        self._stop.set()
        self._thread.join(60)
        seen = 0
        while page := self._control.requests(after=seen, limit=PAGE):
            seen = page[-1]["number"]
            for entry in page:
                self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        at, connection, answered = entry["at"] / 1000, entry["connection"], entry["answered"]
        if not answered:
            self.unanswered[connection].append(at)
        if entry["reason"] == "BadDeviceToken":
            self.refused.add(entry["apns_id"])
        if entry["accepted"]:
            found = _BADGE.search(entry["payload"] or "")
            badge = int(found[1]) if found else None
            self.accepted.append(Accepted(entry["apns_id"], entry["token"], at, answered, connection, badge))

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            self._weigh()
            self.slowness.append(_slowness())

    def _weigh(self) -> None:
        for name, pid in (self._crew.pids() | dict(self._others)).items():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                age = time.time() - process.create_time()
                self.samples.append(Sample(name, pid, age, process.memory_info().rss / 2**20))


def _slowness() -> float:
    wall, cpu = time.perf_counter(), time.thread_time()
    while time.thread_time() - cpu < 0.01:
        pass
    return (time.perf_counter() - wall) / (time.thread_time() - cpu)
