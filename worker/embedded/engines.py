"""One process's use of the embedded engines of a data directory. Starts no engine itself: the supervisor does."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from config.private import check_directory
from worker.embedded.home import Home, Urls
from worker.embedded.locks import PAUSE, FileLock
from worker.embedded.process import stop_leftover

#: Seconds for a first start, `initdb` on a slow disk included.
START_TIMEOUT: Final = 120.0
#: Seconds for both engines to write their data and end.
STOP_TIMEOUT: Final = 40.0


class EngineError(RuntimeError):
    """The embedded engines do not start; the text says why, and where their log is."""


class NobodyError(EngineError):
    """No process runs the engines of a data directory; the text says how to start them."""


@dataclass
class Engines:
    """A use of the engines in `data_dir`, from `start` to `stop`. Another process, or a fork, needs its own."""

    data_dir: Path
    _pid: int = field(default=0, init=False, repr=False)
    _use: FileLock | None = field(default=None, init=False, repr=False)

    def start(self) -> Urls:
        """The engines' URLs; starts the engines if they do not run. Raises `EngineError` when they do not start."""
        home = Home.at(self.data_dir)
        home.create()
        starting = FileLock(home.start_lock)
        if not starting.exclusive(START_TIMEOUT):
            raise EngineError(f"another command has been starting engines in {home.root} for {START_TIMEOUT:.0f} s")
        try:
            use = FileLock(home.users_lock)
            if not use.shared(STOP_TIMEOUT):  # a supervisor is stopping them: start new ones afterwards
                raise EngineError(f"the engines in {home.root} have been stopping for {STOP_TIMEOUT:.0f} s")
            try:
                urls = _running(home)
            except BaseException:
                use.release()
                raise
        finally:
            starting.release()
        self._use, self._pid = use, os.getpid()
        return urls

    def join(self) -> Urls:
        """As `start`, for engines that another process uses already. Starts none: raises `NobodyError` if none run."""
        home = Home.at(self.data_dir)
        if not home.root.is_dir() or not _used(home):
            raise NobodyError(nobody(self.data_dir))
        return self.start()

    def stop(self) -> None:
        """Ends this use. If it is the last one, returns when the engines have stopped. A second call does nothing."""
        use, self._use = self._use, None
        if use is None or self._pid != os.getpid():
            return
        use.release()
        home = Home.at(self.data_dir)
        deadline = time.monotonic() + STOP_TIMEOUT
        while time.monotonic() < deadline and not _stopped_or_used(home):
            time.sleep(PAUSE)


def _supervisor_lives(home: Home) -> bool:
    lock = FileLock(home.supervisor_lock)
    try:
        return not lock.try_shared()
    finally:
        lock.release()


def _stopped_or_used(home: Home) -> bool:
    kept = _supervisor_lives(home)
    others = FileLock(home.users_lock)
    try:
        if others.try_exclusive():
            if not kept:  # it was killed, and no user is left who would start another
                for note in home.pids.iterdir():
                    stop_leftover(note)
                home.withdraw()
            return not kept
        # Held shared: others use the engines. Held exclusively: the supervisor is stopping them.
        return not kept or others.try_shared()
    finally:
        others.release()


def _running(home: Home) -> Urls:
    """The engines' URLs; starts a supervisor if none lives. Waits for one that is being killed, then replaces it."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if not _supervisor_lives(home):
            _start_supervisor(home)
        urls = home.urls()
        if urls is not None and answering(urls):
            return urls
        time.sleep(PAUSE)
    raise EngineError(f"the engines in {home.root} do not answer; see {home.log}")


def _start_supervisor(home: Home) -> None:
    command = [sys.executable, "-P", "-m", "worker.embedded.supervisor", str(home.root)]
    # Python must find `worker` in a source tree and in an installation.
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        # A Ctrl-C in the terminal is for the command that starts it.
        start_new_session=True,
    )
    if done.returncode:
        raise EngineError(f"{done.stderr.strip() or 'the engines did not start'}\nSee {home.log}")


def nobody(data_dir: Path) -> str:
    """What to do if no engines run."""
    home = Home.at(data_dir).root
    if home.is_dir():
        return f"nobody runs the engines in {home}: start them with carillon up, or carillon engines without workers"
    return (
        f"there is no {home.name} in {home.parent} or above it: run this below the directory of your system, or begin one"
        " here with carillon up"
    )


def _used(home: Home) -> bool:
    """Whether any process uses the engines. While their supervisor stops them, none does."""
    check_directory(home.root)
    lock = FileLock(home.users_lock)
    try:
        return not lock.try_exclusive() and lock.shared(1)
    finally:
        lock.release()


def running(data_dir: Path) -> Urls | None:
    """The URLs of a data directory's engines if they run now. Starts nothing. Raises `SettingsError` as `Home.create`."""
    home = Home.at(data_dir)
    if not home.root.is_dir():
        return None
    check_directory(home.root)
    return home.urls() if _supervisor_lives(home) else None


def answering(urls: Urls) -> bool:
    """Whether both engines take a command."""
    import psycopg  # noqa: PLC0415 - half a second that a command with configured engines saves
    import redis  # noqa: PLC0415

    try:
        with (
            redis.Redis.from_url(urls.redis, socket_timeout=2, socket_connect_timeout=2) as client,
            psycopg.connect(urls.postgres, connect_timeout=5) as connection,
        ):
            return bool(client.ping()) and connection.execute("SELECT 1").fetchone() is not None
    except (redis.RedisError, psycopg.OperationalError):
        return False
