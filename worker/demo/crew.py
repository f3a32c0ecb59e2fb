"""The processes of a system that ends with its starter: workers, and for the demo beat and Flower."""

import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from worker.process.supervisor import Child, stop_all

#: Seconds that all of them together have to end.
GRACE: Final = 20.0


class Crew:
    """Commands of ours by the names of their processes. Each has a log of its own in `logs`, where that is given."""

    def __init__(
        self, environ: Mapping[str, str], commands: Mapping[str, Sequence[str]], *, logs: Path | None = None
    ) -> None:
        self._logs = logs
        self._lock = threading.Lock()
        #: How often a process ended by itself.
        self.deaths = 0
        self._last: deque[str] = deque(maxlen=8)
        base = (sys.executable, "-P", "-m", "worker.cli._child")
        path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), environ.get("PYTHONPATH"))))
        self._children = [
            Child(name, [*base, *command], {**environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path}, self._heard)
            for name, command in commands.items()
        ]

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self._children if child.pid is not None]

    def last_words(self) -> str:
        """What they said last."""
        with self._lock:
            return "\n".join(self._last)

    def tend(self) -> None:
        """Starts again who died."""
        for child in self._children:
            child.tend()

    def start(self) -> None:
        for child in self._children:
            child.start()

    def stop(self) -> None:
        """Ends all of them, also after a start that did not come to its end."""
        stop_all(self._children, GRACE)

    def _heard(self, name: str, line: str) -> None:
        with self._lock:
            if self._logs is not None:
                with (self._logs / f"{name}.log").open("a") as log:
                    log.write(line + "\n")
            self._last.append(f"{name}: {line}")
            self.deaths += line.startswith("ended with exit code")


class DemoCrew(Crew):
    """Everybody but the engines and the simulators."""

    def __init__(self, logs: Path, environ: Mapping[str, str], *, workers: int) -> None:
        port = _free_port()
        self.flower_url = f"http://127.0.0.1:{port}"
        super().__init__(environ, _commands(workers, port), logs=logs)


def _commands(workers: int, flower_port: int) -> dict[str, list[str]]:
    urgent = {
        f"urgent-{n}": ["worker", "--lane", "urgent", "--name", f"urgent-{n}", "--concurrency", "4"]
        for n in range(1, workers + 1)
    }
    return urgent | {
        "bulk": ["worker", "--lane", "bulk", "--concurrency", "4"],
        "beat": ["beat"],
        "flower": ["flower", "--port", str(flower_port)],
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
