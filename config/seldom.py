"""Log lines that an outage would repeat each second: each once a minute, with the number of those that were left out."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

#: Seconds between two lines that are alike, and kinds of lines that are kept apart.
SECONDS: Final = 60.0
_KINDS: Final = 1_000


class Seldom:
    """Logs to one logger. Shared by threads. Lines are alike if message and `about` are; `clock` gives seconds."""

    #: By logger, message and `about`, for the whole process: when such a line was logged last, and how many were left out since.
    last: ClassVar[dict[tuple[str, str, str], tuple[float, int]]] = {}
    _lock: ClassVar = threading.Lock()

    def __init__(self, log: logging.Logger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock

    def warning(self, message: str, *args: object, about: str = "", extra: Mapping[str, Any] | None = None) -> None:
        self._write(logging.WARNING, message, args, about, extra)

    def error(self, message: str, *args: object, about: str = "", extra: Mapping[str, Any] | None = None) -> None:
        self._write(logging.ERROR, message, args, about, extra)

    def exception(self, message: str) -> None:
        """With the traceback of the exception that is handled; other exceptions are other lines."""
        fault = sys.exc_info()[0]
        self._write(logging.ERROR, message, (), "" if fault is None else fault.__name__, None, traceback=True)

    def _write(
        self,
        level: int,
        message: str,
        args: tuple[object, ...],
        about: str,
        extra: Mapping[str, Any] | None,
        *,
        traceback: bool = False,
    ) -> None:
        left_out = self._take((self._log.name, message, about))
        if left_out is not None:
            more = {"more": left_out} if left_out else {}
            self._log.log(
                level, message, *args, extra={**(extra or {}), **more}, exc_info=traceback or None, stacklevel=3
            )

    def _take(self, kind: tuple[str, str, str]) -> int | None:
        """How many lines of the kind were left out before this one; None: this one is left out too."""
        now = self._clock()
        with self._lock:
            at, left_out = self.last.get(kind, (-SECONDS, 0))
            if now - at < SECONDS:
                self.last[kind] = at, left_out + 1
                return None
            if len(self.last) >= _KINDS:
                self.last.clear()
            self.last[kind] = now, 0
            return left_out
