"""Looks at a run while it lasts: the simulator's record, and the memory of every process."""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple

import psutil

from tests.chaos.account import Accepted
from tests.chaos.crew import Crew
from worker.apns.simulator import ControlClient

EVERY: Final = 2.0


class Sample(NamedTuple):
    """Memory of one process at one moment: resident megabytes, and its age in seconds."""

    name: str
    pid: int
    age: float
    megabytes: float


class Watch:
    """A thread that looks every two seconds."""

    def __init__(self, control: ControlClient, crew: Crew, others: Mapping[str, int]) -> None:
        self._control, self._crew, self._others = control, crew, others
        self._stop, self._lock, self._seen = threading.Event(), threading.Lock(), 0
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
        self._stop.set()
        self._thread.join(60)
        self.look()

    def look(self) -> None:
        """Brings `accepted` up to date."""
        with self._lock:
            for entry in self._control.requests(after=self._seen):
                self._seen = max(self._seen, entry["number"])
                at, connection, answered = entry["at"] / 1000, entry["connection"], entry["answered"]
                if not answered:
                    self.unanswered[connection].append(at)
                if entry["reason"] == "BadDeviceToken":
                    self.refused.add(entry["apns_id"])
                if entry["accepted"]:
                    self.accepted.append(Accepted(entry["apns_id"], entry["token"], at, answered, connection))

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            with contextlib.suppress(OSError):
                self.look()
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
