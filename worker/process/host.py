"""What a long-running process needs from its host: signal handlers from the start, limits, and reaping of orphans as PID 1.

Imports nothing slow, because it runs before everything else.
"""

import atexit
import ctypes
import os
import resource
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final, TextIO

from worker.core.errors import WorkerError

#: Signals by which people, supervisors and terminals ask a process to stop. Python's own handler for Ctrl-C is replaced later.
STOPS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
#: Commands that run until they are stopped.
_SERVICES: Final = (
    ["worker"],
    ["beat"],
    ["flower"],
    ["metrics", "--serve"],
    ["dashboard"],
    ["up"],
    ["engines"],
    ["outbox", "relay"],
)
#: Files, including sockets, that a process of ours may need.
_FILES: Final = 64
#: Files that it asks for if the host allows them: a terminal of macOS begins with 256.
_WISHED_FILES: Final = 4_096
#: The GNU C library reserves 64 MiB of addresses for each thread that allocates, up to eight times for each core. Python runs one
#: thread at a time, so these few are enough for a worker's eighty.
_ARENAS: Final = 4
_M_ARENA_MAX: Final = -8
#: Bytes of address space for the stacks of a worker's threads and what it imports.
_ADDRESS_SPACE: Final = 1 << 30
_PID_1: Final = 1


class HostError(WorkerError):
    """The host gives this process too little; the text says what and how to give more."""


class Stop:
    """Whether the process was asked to stop, and by which signal. It has no lock, because a handler may interrupt the holder."""

    def __init__(self) -> None:
        self.signal = ""
        #: Has something once it is set. Of the standard library's queues only this one may be filled by a handler.
        self._heeded: SimpleQueue[None] = SimpleQueue()

    def heed(self, number: int, _frame: FrameType | None = None) -> None:
        """A handler of signals."""
        self.signal = signal.Signals(number).name
        self._heeded.put(None)

    def is_set(self) -> bool:
        return bool(self.signal)

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until the process is asked to stop, but no longer than this, if it is given; returns whether it was asked."""
        with suppress(Empty):
            self._heeded.get(timeout=seconds)
            self._heeded.put(None)  # for who waits next
        return self.is_set()


def is_service(arguments: Sequence[str]) -> bool:
    """Whether the command line is that of a process that runs until it is stopped."""
    return any(list(arguments[: len(words)]) == words for words in _SERVICES) and not {"-h", "--help"} & {*arguments}


def take_signals() -> None:
    """From now on the process exits with code 0 when it is asked to stop, until it installs its own handlers.

    Without a handler the signal would kill the process, and PID 1 would not get it at all.
    """
    on_stop(_leave, STOPS)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    atexit.register(_ignore)


def disown_orphans() -> None:
    """Lets the kernel reap orphans, such as those of a killed probe under PID 1. For a process that starts no other."""
    if os.getpid() == _PID_1:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def on_stop(handler: Callable[[int, FrameType | None], None], stops: Iterable[signal.Signals]) -> None:
    """Handles these signals. An ignored SIGHUP, as under nohup, stays ignored."""
    for each in stops:
        if each != signal.SIGHUP or signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, handler)


def hold_signals() -> None:
    """Blocks signals, so that they wait for the program that is executed next."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)


def check_files() -> None:
    """Raises this process's limit of open files as far as it may. Raises `HostError` if that is too few."""
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


def fit_address_space() -> None:
    """Bounds what the threads that begin from now on reserve. Raises `HostError` if a worker's would not fit nevertheless."""
    with suppress(OSError, AttributeError):  # another C library has nothing to bound
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if space != resource.RLIM_INFINITY and space < _ADDRESS_SPACE:
        raise HostError(
            f"this process may have {space >> 20} MiB of address space (ulimit -v), and its threads need {_ADDRESS_SPACE >> 20}:"
            " limit its memory with a control group instead, as MemoryMax= of systemd and containers do"
        )


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(os.EX_OK)


def _ignore() -> None:
    """A second signal has no effect: the process is exiting."""
    for each in (*STOPS, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)


def at_terminal(stream: TextIO | None) -> bool:
    """Whether this standard stream is a terminal. It is None in a process that was started with it closed."""
    return stream is not None and not stream.closed and stream.isatty()
