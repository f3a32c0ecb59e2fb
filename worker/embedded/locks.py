"""Advisory file locks, which the kernel releases when their holder ends. Knows no engine."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final, Self

#: Seconds between two attempts at a lock that somebody else holds.
PAUSE: Final = 0.02


class FileLock:
    """One `flock` on one file. Threads must not share it: the lock belongs to the open file, not to the caller."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def open(self) -> Self:
        """Opens or creates the file. Programs that this process executes do not inherit the descriptor."""
        if self._fd is None:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self

    def try_shared(self) -> bool:
        """Tries to get the shared lock; whether it is held now."""
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Tries to get the exclusive lock; whether it is held now. On failure a shared lock that was held may be lost."""
        return self._try(fcntl.LOCK_EX)

    def shared(self, timeout: float) -> bool:
        """Tries `try_shared` until it succeeds, for at most `timeout` seconds."""
        return self._until(fcntl.LOCK_SH, timeout)

    def exclusive(self, timeout: float) -> bool:
        """Tries `try_exclusive` until it succeeds, for at most `timeout` seconds."""
        return self._until(fcntl.LOCK_EX, timeout)

    def release(self) -> None:
        """Releases the lock and closes the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _until(self, kind: int, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while not self._try(kind):
            if time.monotonic() > deadline:
                return False
            time.sleep(PAUSE)
        return True

    def _try(self, kind: int) -> bool:
        self.open()
        assert self._fd is not None
        try:
            fcntl.flock(self._fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
