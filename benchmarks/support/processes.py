"""Child processes of a benchmark, by pid, and what they cost."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

ROOT: Final = Path(__file__).parents[2]
#: Linux: the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG: Final = 1
#: Seconds that a child has to go by itself.
GRACE: Final = 15.0


@dataclass
class Children:
    """Started processes, each in a session of its own; `stop` ends them and everything they started."""

    log: Path
    environ: Mapping[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *module: str, cpu: int | None = None) -> int:
        """Runs `python -m` with these arguments, on one core where `cpu` is given; its pid."""
        return self.run(sys.executable, "-m", *module, cpu=cpu)

    def run(self, *command: str, cpu: int | None = None) -> int:
        """Runs a program, on one core where `cpu` is given; its pid."""
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **self.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - a benchmark starts its children from its one thread
            )
        self.started.append(child)
        if cpu is not None:
            pin(child.pid, cpu)
        return child.pid

    def check(self) -> None:
        """Raises RuntimeError where one has ended."""
        for child in self.started:
            if child.poll() is not None:
                raise RuntimeError(f"a process of the benchmark ended with {child.returncode}:\n{tail(self.log)}")

    def stop(self) -> None:
        """SIGTERM to all; what is left of any session after the grace, or when this is interrupted, is killed."""
        families = [process for child in self.started for process in _family(child.pid)]
        ends = time.monotonic() + GRACE
        try:
            for child in self.started:
                child.terminate()
            for child in self.started:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(max(0.0, ends - time.monotonic()))
        finally:
            for child in self.started:
                child.kill()
                child.wait()
            for process in families:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self.started.clear()


def _end_with_parent() -> None:
    """In a new child, where the system can: SIGTERM once the benchmark is gone, however it went."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def tail(log: Path, lines: int = 30) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def pin(pid: int, cpu: int) -> None:
    """Binds a process to one core, where the system can."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(pid, {cpu})


def cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU used so far by processes, the children they have and those they had."""
    total = 0.0
    for pid in pids:
        for process in _with_children(pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


def _with_children(pid: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        yield psutil.Process(pid)
        yield from _family(pid)


def costs(groups: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """CPU seconds so far by group of processes; this process itself is the `publisher` where no group is."""
    own = os.times()
    return {"publisher": own.user + own.system} | {name: cpu_seconds(pids) for name, pids in groups.items()}


def end_on_sigterm() -> None:
    """A benchmark that is stopped unwinds, and so stops what it started."""

    def end(*_: object) -> None:
        sys.exit(143)

    signal.signal(signal.SIGTERM, end)
