"""What a process that runs until it is stopped needs from its host: signals from its first moment on, limits, orphans as PID 1.

Imports nothing heavy: it comes before everything else.
"""

import atexit
import os
import resource
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Final, TextIO

from worker.core.errors import WorkerError

#: Signals by which people, supervisors and terminals ask a process to stop. Python's own for Ctrl-C is kept until later.
STOPS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
#: Commands that run until they are stopped.
_SERVICES: Final = (["worker"], ["beat"], ["flower"], ["up"], ["engines"], ["outbox", "relay"])
#: Files, sockets among them, that a process of ours may need.
_FILES: Final = 64
#: Files that it asks for if the host allows them: a terminal of macOS begins with 256.
_WISHED_FILES: Final = 4_096
#: Bytes of address space for the stacks of a worker's threads and what it imports.
_ADDRESS_SPACE: Final = 1 << 30
_PID_1: Final = 1
#: Seconds between two looks at whether a signal came.
_LOOK: Final = 0.05


class HostError(WorkerError):
    """The host gives this process too little; the text says what and how to give more."""


class Stop:
    """Whether the process was asked to stop, and by which signal. It has no lock, because a handler may interrupt the holder."""

    def __init__(self) -> None:
        self.signal = ""

    def heed(self, number: int, _frame: FrameType | None = None) -> None:
        """A handler of signals."""
        self.signal = signal.Signals(number).name

    def is_set(self) -> bool:
        return bool(self.signal)

    def wait(self, seconds: float) -> bool:
        """Waits until somebody asks, at most so long; whether somebody has."""
        ends = time.monotonic() + seconds
        while not self.signal and (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK))
        return self.is_set()


def is_service(arguments: Sequence[str]) -> bool:
    """Whether the command line is that of a process which runs until it is stopped."""
    return any(list(arguments[: len(words)]) == words for words in _SERVICES) and not {"-h", "--help"} & {*arguments}


def take_signals() -> None:
    """From here to its end the process leaves with exit code 0 when it is asked to, until it has ways of its own.

    A process without handlers would be killed by the signal, and as PID 1 would not hear it at all.
    """
    on_stop(_leave, STOPS)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    atexit.register(_ignore)


def disown_orphans() -> None:
    """For a process that starts no other: PID 1 becomes the parent of what a killed probe leaves, and the kernel buries it."""
    if os.getpid() == _PID_1:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def on_stop(handler: Callable[[int, FrameType | None], None], stops: Iterable[signal.Signals]) -> None:
    """Handles these signals. A SIGHUP that is ignored, as under nohup, stays so."""
    for each in stops:
        if each != signal.SIGHUP or signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, handler)


def hold_signals() -> None:
    """Signals wait for the program that is executed next."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)


def check_files() -> None:
    """Takes as many files as it may. Raises `HostError` where a process would run short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = _WISHED_FILES if hard == resource.RLIM_INFINITY else min(_WISHED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wished:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))
        soft = wished
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        raise HostError(
            f"this process may open {soft} files, and needs {_FILES}: raise it with ulimit -n, LimitNOFILE= of systemd, or"
            " --ulimit nofile= of a container"
        )


def check_address_space() -> None:
    """Raises `HostError` where a worker's threads would not find room."""
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if space != resource.RLIM_INFINITY and space < _ADDRESS_SPACE:
        raise HostError(
            f"this process may have {space >> 20} MiB of address space (ulimit -v), and its threads need {_ADDRESS_SPACE >> 20}:"
            " limit its memory with a control group instead, as MemoryMax= of systemd and containers do"
        )


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(os.EX_OK)


def _ignore() -> None:
    """A second signal finds the process on its way out."""
    for each in (*STOPS, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)


def at_terminal(stream: TextIO | None) -> bool:
    """Whether somebody sits before this standard stream, which Python has as None in a process that began with it closed."""
    return stream is not None and not stream.closed and stream.isatty()
