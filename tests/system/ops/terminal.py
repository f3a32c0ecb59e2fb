"""A shell in a pseudo-terminal, typed into line by line. Helper of the tests beside it."""

import os
import pty
import re
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from tests.processes import PATIENCE

_END = re.compile(r"\r?\n=end=(\d+)=")


class Terminal:
    """A person's terminal of 100 columns. `type` returns what the commands print; `start` leaves one running."""

    def __init__(self, cwd: Path, environ: Mapping[str, str]) -> None:
        pid, self._fd = pty.fork()
        if pid == 0:
            os.chdir(cwd)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it would be ignored
            os.execve("/bin/sh", ["sh"], dict(environ) | {"PS1": "", "PS2": "", "TERM": "xterm", "COLUMNS": "100"})
        self.pid = pid
        self.output = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                got = os.read(self._fd, 65536)
            except OSError:
                return
            if not got:
                return
            self.output += got.decode(errors="replace")

    def start(self, line: str) -> None:
        os.write(self._fd, f"{line}\n".encode())

    def type(self, line: str, seconds: float = PATIENCE) -> tuple[int, str]:
        """The exit code of one line, and what was shown since it was typed."""
        before = len(self.output)
        self.start(line)
        self.start("printf '\\n=%s=%d=\\n' end $?")
        ends = time.monotonic() + seconds
        while (found := _END.search(self.output, before)) is None:
            assert time.monotonic() < ends, f"no end of {line!r}:\n{self.output[before:]}"
            time.sleep(0.02)
        return int(found[1]), self.output[before : found.start()].replace("\r\n", "\n")

    def interrupt(self) -> None:
        os.write(self._fd, b"\x03")

    def close(self) -> None:
        try:
            os.kill(self.pid, signal.SIGHUP)
            os.waitpid(self.pid, 0)
        finally:
            os.close(self._fd)
