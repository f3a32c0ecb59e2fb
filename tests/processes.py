"""A command of ours in a process, its output read as it comes."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

ROOT = Path(__file__).parents[1]
#: Seconds for which a test waits for what takes some on a machine that does nothing else.
PATIENCE: Final = 240.0


def until(what: str, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for a condition; fail with `what` when it does not come true."""
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if condition():
            return
        asked = time.monotonic()
        assert asked < deadline, f"still not true: {what}"
        # Who asks leaves the machine to what is asked about.
        time.sleep(min(max(0.02, asked - began), 0.5))


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Returns once the condition holds; fails when it does not within `seconds`."""
    until("what was waited for", lambda: bool(condition()), seconds)


def environ(**settings: str) -> dict[str, str]:
    """This process's environment without settings of ours, and `settings` as CARILLON_ variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CARILLON_", "FLOWER_"))}
    bin_first = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    ours = {f"CARILLON_{name.upper()}": value for name, value in settings.items()}
    return kept | {"PATH": bin_first, "PYTHONUNBUFFERED": "1"} | ours


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def using(data_dir: Path) -> list[psutil.Process]:
    """The living processes that have to do with a data directory, by command line or environment."""
    wanted = str(data_dir)
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid() and (wanted in " ".join(words(process)) or wanted == _configured(process))
    ]


def words(process: psutil.Process) -> list[str]:
    """A process's command line; empty once it is dead."""
    try:
        return process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
    except psutil.Error:
        return []


def _configured(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("CARILLON_DATA_DIR")
    except psutil.Error:
        return None


def carillon(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    command = [sys.executable, "-m", "worker.cli", *arguments]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


class Running:
    """A program that runs for the length of a `with` block, and is killed at its end if it is still there."""

    def __init__(self, command: Sequence[str], env: dict[str, str], cwd: Path = ROOT) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(line.rstrip("\n") for line in iter(self.process.stdout.readline, ""))

    def said(self, text: str) -> bool:
        assert self.process.poll() is None or text in self.output(), f"it ended:\n{self.output()}"
        return any(text in line for line in list(self.lines))

    def output(self) -> str:
        return "\n".join(list(self.lines))

    def end(self, sig: signal.Signals) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(sig)
        return self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
