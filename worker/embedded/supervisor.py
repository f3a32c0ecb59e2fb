"""`python -m worker.embedded.supervisor DATA_DIR`: owns both engines until no process uses them.

Exits with 0 once they are ready, and leaves the supervisor running in the background; or with 1 and the reason on standard error.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

from worker.embedded.home import Home, Urls
from worker.embedded.locks import FileLock
from worker.embedded.postgres import Postgres
from worker.embedded.valkey import Valkey

READY_TIMEOUT: Final = 60.0
#: Seconds for which an engine that ends at once is started again: what a killed engine left may take a moment to disappear.
RETRY_TIMEOUT: Final = 15.0
POLL: Final = 0.02
#: Seconds between two checks of the engines and of their users.
PERIOD: Final = 0.1

Engine = Postgres | Valkey


def main() -> int:
    """Starts the supervisor in the background and waits until it is ready or has failed."""
    home = Home.at(Path(sys.argv[1]))
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with os.fdopen(reading) as report:
            reason = report.read()
        sys.stderr.write(reason)
        return 1 if reason else 0
    os.close(reading)
    os.setsid()  # a Ctrl-C in the terminal is not meant for the engines
    _detach_output(home)
    report = os.fdopen(writing, "w")
    try:
        keep(home, report.close)
    except Exception as error:  # whatever it was, the waiting command must get the reason
        if report.closed:
            raise
        report.write(f"the embedded engines did not start: {error}")
        report.close()
    return 0


def keep(home: Home, ready: Callable[[], None]) -> None:
    """Runs both engines until it is stopped or no user is left. Calls `ready` once, when both accept connections."""
    stop = threading.Event()

    def asked(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    mine = FileLock(home.supervisor_lock)
    if not mine.exclusive(READY_TIMEOUT):
        raise RuntimeError(f"another supervisor holds {home.supervisor_lock}")
    home.withdraw()
    postgres, valkey = Postgres(home), Valkey(home)
    engines: tuple[Engine, ...] = (postgres, valkey)
    try:
        for engine in engines:
            engine.start()
        for engine in engines:
            _await(engine)
        home.publish(Urls(valkey.url, postgres.url))
        ready()
        _watch(home, engines, stop)
    finally:
        home.withdraw()
        for engine in reversed(engines):
            engine.stop()


def _watch(home: Home, engines: tuple[Engine, ...], stop: threading.Event) -> None:
    users = FileLock(home.users_lock)
    while not stop.wait(PERIOD):
        # Held until this process ends: a new user waits, then starts new engines.
        if users.try_exclusive():
            return
        for engine in engines:
            if not engine.alive():
                engine.start()
                time.sleep(PERIOD)


def _await(engine: Engine) -> None:
    began = time.monotonic()
    while not engine.ready():
        waited = time.monotonic() - began
        if waited > READY_TIMEOUT:
            raise RuntimeError(f"{type(engine).__name__} was not ready within {READY_TIMEOUT:.0f} s")
        if not engine.alive():
            if waited > RETRY_TIMEOUT:
                raise RuntimeError(f"{type(engine).__name__} ends as soon as it is started")
            engine.start()
        time.sleep(POLL)


def _detach_output(home: Home) -> None:
    log = os.open(home.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main())
