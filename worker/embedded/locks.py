"""Advisory file locks that the kernel releases when their holder ends. Knows no engine."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final, Self

#: Seconds between two attempts at a lock that somebody else holds.
PAUSE: Final = 0.02


class FileLock:
    """One `flock` on one file. Not for threads to share: a lock belongs to the open file, not to the caller."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def open(self) -> Self:
        """Open the file, creating it. The descriptor does not reach programs that this process executes."""
        if self._fd is None:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self

    def try_shared(self) -> bool:
        """Whether the shared lock is now held."""
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Whether the exclusive lock is now held; a shared one held before may be lost on failure."""
        return self._try(fcntl.LOCK_EX)

    def shared(self, timeout: float) -> bool:
        """`try_shared` until it succeeds, for `timeout` seconds at most."""
        return self._until(fcntl.LOCK_SH, timeout)

    def exclusive(self, timeout: float) -> bool:
        """`try_exclusive` until it succeeds, for `timeout` seconds at most."""
        return self._until(fcntl.LOCK_EX, timeout)

    def release(self) -> None:
        """Give the lock back and close the file."""
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
