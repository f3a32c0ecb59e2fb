"""One engine's operating-system process: started, found again after its supervisor died, stopped. Knows no engine."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import psutil

from config.private import write_private

#: Seconds that an engine has to end before it is killed.
GRACE: Final = 15.0


class Process:
    """A child process. A file with its pid, start time and stop signal lets another process recognise and stop it."""

    def __init__(
        self,
        note: Path,
        command: Sequence[str],
        *,
        log: Path,
        stop_signal: signal.Signals,
        become: Callable[[], None] | None = None,
    ) -> None:
        self._note = note
        self._command = tuple(command)
        self._log = log
        self._stop_signal = stop_signal
        self._become = become
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and appends its output to the log. First stops a process that a killed supervisor left."""
        stop_leftover(self._note)
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"LC_ALL": "C"},
                preexec_fn=self._become,  # noqa: PLW1509 - the supervisor has one thread, so nothing is left locked
                start_new_session=True,
            )
        created = psutil.Process(self._child.pid).create_time()
        write_private(self._note, f"{self._child.pid} {created} {self._stop_signal.name}")

    def alive(self) -> bool:
        """Whether the child that was started is running."""
        return self._child is not None and self._child.poll() is None

    def stop(self) -> None:
        """Sends the stop signal, waits, and kills it if it does not end."""
        if self._child is None:
            return
        if self._child.poll() is None:
            self._child.send_signal(self._stop_signal)
            try:
                self._child.wait(GRACE)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self._child = None
        self._note.unlink(missing_ok=True)


def stop_leftover(note: Path) -> None:
    """Stops the process that a killed supervisor left, if its pid still belongs to that process."""
    try:
        pid, created, signal_name = note.read_text().split()
        process = psutil.Process(int(pid))
        if abs(process.create_time() - float(created)) < 1:
            stop_stranger(process, signal.Signals[signal_name])
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        pass  # nothing was left
    note.unlink(missing_ok=True)


def stop_stranger(process: psutil.Process, sig: signal.Signals) -> None:
    """Stops a process that is not our child: sends the signal, waits, and kills it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(sig)
        deadline = time.monotonic() + GRACE
        # Not `wait`: in a container PID 1 may take seconds to reap it.
        while process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                process.kill()
            time.sleep(0.02)
