"""The processes of the system, supervised as operations would: one that dies is started again a second later."""

import os
import re
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Final

import psutil

from tests.chaos.hostile import NAMES
from worker.process.supervisor import Child, stop_all

#: Both lanes have two workers, so that one killed is not the lane gone.
COMMANDS: Final[dict[str, list[str]]] = {
    "urgent": ["worker", "--lane", "urgent", "--name", "urgent", "--concurrency", "4"],
    "bulk": ["worker", "--lane", "bulk", "--name", "bulk", "--concurrency", "4"],
    "all": ["worker", "--lane", "all", "--name", "all", "--concurrency", "4"],
    "beat": ["beat"],
    "relay": ["outbox", "relay"],
}
WORKERS: Final = ("urgent", "bulk", "all")
#: Seconds that all of them together have to end.
GRACE: Final = 30.0
_FIELDS: Final = re.compile(r"  \w+=.*")
CONCLUDED: Final = re.compile(r"(\d\d):(\d\d):(\d\d\.\d+) .*  batch (?:delivered|not delivered|done).*  batch=(\w+)")
_ENDED: Final = re.compile(r"ended with exit code (-?\d+)")


class Crew:
    """Everybody but the engines and the simulator. What each says goes to a file of its own."""

    def __init__(self, logs: Path, environ: dict[str, str]) -> None:
        self._logs, self._lock, self._stop = logs, threading.Lock(), threading.Event()
        logs.mkdir(parents=True, exist_ok=True)
        root = str(Path(__file__).parents[2])
        environ = environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join((str(NAMES), root))}
        base = (sys.executable, "-m", "worker.cli._child")
        self._children = {
            name: Child(name, [*base, *command], environ, self._hear) for name, command in COMMANDS.items()
        }
        self._files = {name: (logs / f"{name}.log").open("a") for name in COMMANDS}
        self._tending = threading.Thread(target=self._tend, name="supervisor", daemon=True)
        #: Worker -> when it finished a batch, UNIX seconds in their order.
        self.worked: defaultdict[str, list[float]] = defaultdict(list)
        #: Batch -> when a worker had written down what became of it, UNIX seconds.
        self.concluded: defaultdict[str, list[float]] = defaultdict(list)
        #: (name, when) of each kill that hit a running process.
        self.kills: list[tuple[str, float]] = []
        #: Exit codes other than those of a kill or of a stop that was asked for, be it before the process could take the wish.
        self.failures: Counter[str] = Counter()
        #: How often a worker began again by itself because its consumer gave up or went deaf.
        self.begun_again = 0
        self._errors: Counter[str] = Counter()

    def start(self) -> None:
        for child in self._children.values():
            child.start()
        self._tending.start()

    def stop(self) -> None:
        self._stop.set()
        self._tending.join(10)
        stop_all(list(self._children.values()), GRACE)
        for file in self._files.values():
            file.close()

    def pids(self) -> dict[str, int]:
        return {name: pid for name, child in self._children.items() if (pid := child.pid) is not None}

    def kill(self, name: str) -> bool:
        """`kill -9`; False where it was dead already."""
        with self._lock:
            pid = self._children[name].pid
            try:
                if pid is None or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                    return False
                os.kill(pid, signal.SIGKILL)
            except (psutil.NoSuchProcess, ProcessLookupError):
                return False
            self.kills.append((name, time.time()))
            return True

    def restart(self, name: str) -> bool:
        """SIGTERM, and back it comes; whether it ended within the grace of a deployment."""
        with self._lock:
            pid = self._children[name].pid
            self._children[name].ask_to_stop()
        ends = time.monotonic() + GRACE
        while time.monotonic() < ends:
            if self._children[name].pid != pid:
                return True
            time.sleep(0.1)
        return False

    def errors(self) -> dict[str, int]:
        """What was logged as an error, without its fields, and how often."""
        return dict(self._errors)

    def _tend(self) -> None:
        while not self._stop.wait(0.1):
            with self._lock:
                for child in self._children.values():
                    child.tend()

    def _hear(self, name: str, line: str) -> None:
        self._files[name].write(line + "\n")
        self._files[name].flush()
        if concluded := CONCLUDED.match(line):
            self.concluded[concluded[4]].append(said_at(concluded, time.time()))
        if "  batch delivered" in line:
            self.worked[name].append(time.time())
        elif " ERROR " in line or " CRITICAL " in line:
            self._errors[f"{name}: {_FIELDS.sub('', line[13:])[:120]}"] += 1
            self.begun_again += "the process begins again" in line
        elif (ended := _ENDED.search(line)) and int(ended[1]) not in (0, -signal.SIGKILL, -signal.SIGTERM):
            self.failures[f"{name} ended with {ended[1]}"] += 1


def said_at(clock: re.Match[str], heard_at: float) -> float:
    """UNIX seconds of a line that was heard a little later; its first three groups are the local time of day."""
    day = 86_400.0
    of_day = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    return heard_at - (heard_at + time.localtime(heard_at).tm_gmtoff - of_day) % day
