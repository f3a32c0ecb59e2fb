"""Keeps child processes alive, passes on what they print, and stops them all. Knows nothing of Carillon."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

#: Seconds between a child's death and its next start, so that a child that cannot run does not use up the machine.
RESTART_PAUSE: Final = 1.0

#: A child that lives shorter than this, in seconds, failed to start; after so many such starts in a row it is given up.
SHORT_LIFE: Final = 10.0
FUTILE_STARTS: Final = 5

Say = Callable[[str, str], None]


class Child:
    """A command that should be running. Its output lines go to `say(name, line)`."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], say: Say) -> None:
        self.name = name
        self._command = tuple(command)
        self._environ = dict(environ)
        self._say = say
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._due = 0.0
        self._began_at = 0.0
        #: Starts in a row that failed.
        self._futile = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Starts it in its own session: a Ctrl-C goes only to the supervisor, which stops its children in order."""
        self._began_at = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._pass_on, args=(self._process,), daemon=True)
        self._reader.start()

    def tend(self) -> None:
        """Starts it again some time after it died, unless its start failed several times in a row."""
        if self._process is None or self._process.poll() is None or self._futile == FUTILE_STARTS:
            return
        if not self._due:
            failed = self._process.returncode > 0 and time.monotonic() - self._began_at < SHORT_LIFE
            self._futile = self._futile + 1 if failed else 0
            if self._futile == FUTILE_STARTS:
                self._say(
                    self.name, f"failed to start {FUTILE_STARTS} times and is not tried again; its lines above say why"
                )
                return
            self._say(self.name, f"ended with exit code {self._process.returncode}, starting it again")
            self._due = time.monotonic() + RESTART_PAUSE
        elif time.monotonic() >= self._due:
            self._due = 0.0
            self._close()
            self.start()

    def ask_to_stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, deadline: float) -> None:
        """Waits until `deadline` (monotonic), then kills it."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._say(self.name, "did not stop in time and is killed")
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.join(5)
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
        self._process = None

    def _pass_on(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._say(self.name, line.rstrip("\n"))


def stop_all(children: Sequence[Child], grace: float) -> None:
    """Asks all at once to stop, waits `grace` seconds for all together, then kills the remaining ones."""
    deadline = time.monotonic() + grace
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.wait(deadline)
