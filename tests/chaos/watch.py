"""Looks at a run: the memory of every process while it lasts, and the simulator's record once it is over."""

import contextlib
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import psutil

from tests.chaos.account import Accepted, Connection
from tests.chaos.crew import Crew
from worker.simulator import ControlClient

EVERY: Final = 2.0
#: Requests read at once.
PAGE: Final = 20_000
#: In the words of each kind: `badge` in `aps`, a text in Android's `data`, `app_badge` of a browser.
_BADGE: Final = re.compile(r'badge":"?(\d+)')
#: What Android tells a repeat by, and whose message it is where a service carries no id of a notification.
_DATA_ID: Final = re.compile(r'"data":\{"id":"([^"]+)"')
_EVENT: Final = re.compile(r'"event":"([^"]+)"')
#: What a service says of a token that may be good.
_REFUSALS: Final = ("BadDeviceToken", "SENDER_ID_MISMATCH", "VapidKeyMismatch")


class Sample(NamedTuple):
    """Memory of one process at one moment: resident megabytes, and its age in seconds."""

    name: str
    pid: int
    age: float
    megabytes: float


class Watch:
    """A thread that looks every two seconds.

    The records are read at the end, and a page at a time: a simulator that gives it out answers nobody meanwhile.
    """

    def __init__(
        self, controls: Mapping[str, ControlClient], crew: Crew, others: Callable[[], Mapping[str, int]]
    ) -> None:
        """`controls` by kind of simulator; `others` gives processes besides the crew's."""
        self._controls, self._crew, self._others = controls, crew, others
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.accepted: list[Accepted] = []
        #: Connection -> when requests arrived on it that got no answer.
        self.unanswered: defaultdict[Connection, list[float]] = defaultdict(list)
        #: Ids whose token was refused.
        self.refused: set[str] = set()
        self.samples: list[Sample] = []
        #: How many times longer than its own CPU time a piece of work took, at each look: what others leave of the machine.
        self.slowness: list[float] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, and reads what the simulators have recorded. Raises RuntimeError where one has forgotten some."""
        self._stop.set()
        self._thread.join(60)
        for kind, control in self._controls.items():
            seen, read, total = 0, 0, control.counts()["total"]
            while page := control.requests(after=seen, limit=PAGE):
                seen, read = page[-1]["number"], read + len(page)
                for entry in page:
                    self._take(kind, entry)
            if read < total:
                raise RuntimeError(f"the record of {kind} has {read} of {total} requests: give it more room")

    def _take(self, kind: str, entry: dict[str, Any]) -> None:
        at, connection, answered = entry["at"] / 1000, (kind, entry["connection"]), entry["answered"]
        if not answered:
            self.unanswered[connection].append(at)
        payload = entry["payload"] or ""
        id = entry["apns_id"] if kind == "apns" else identity(entry["token"], payload)
        if entry["reason"] in _REFUSALS:
            self.refused.add(id)
        if entry["accepted"]:
            self.accepted.append(Accepted(id, entry["token"], at, answered, connection, badge_in(payload)))

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            self._weigh()
            self.slowness.append(_slowness())

    def _weigh(self) -> None:
        for name, pid in (self._crew.pids() | dict(self._others())).items():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                age = time.time() - process.create_time()
                self.samples.append(Sample(name, pid, age, process.memory_info().rss / 2**20))


def identity(token: str, payload: str) -> str:
    """What tells a notification from others at a service that knows no id of it; '' of a payload that nobody can read."""
    if found := _DATA_ID.search(payload):
        return found[1]
    found = _EVENT.search(payload)
    return "" if found is None else of_event(found[1], token)


def badge_in(payload: str) -> int | None:
    """The number for the icon, in whatever words; None where nothing is said of it."""
    found = _BADGE.search(payload)
    return int(found[1]) if found else None


def of_event(event: str, token: str) -> str:
    """The same of what has no id of its own: the message, and whose device it is."""
    return f"{event} {token}"


def _slowness() -> float:
    wall, cpu = time.perf_counter(), time.thread_time()
    while time.thread_time() - cpu < 0.01:
        pass
    return (time.perf_counter() - wall) / (time.thread_time() - cpu)
