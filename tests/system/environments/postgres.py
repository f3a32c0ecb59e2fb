"""A PostgreSQL that asks for passwords, of any version that is here, for the tests beside it."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from tests.processes import PATIENCE, free_port
from tests.programs import missing
from worker.embedded.postgres import binaries
from worker.embedded.unprivileged import becoming, ordinary_user

OWNER = "owner"
PASSWORD = "p@ss:w/o#r%d ?&=+[x]'\\"

#: Its owner comes in by the socket; everybody else needs a password, or has a way of its own that a test asks for.
_HBA = f"""\
local all {OWNER} trust
local replication {OWNER} trust
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""


def of_the_wheel(name: str) -> Path:
    """The programs of a version in the wheel: `pginstall18` or `pginstall` (16)."""
    return binaries().parents[1] / name / "bin"


def of_debian() -> Path:
    """The programs of Debian's newest, which has TLS; without one the test is skipped."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else missing("postgresql")


class PostgresServer:
    """One server on a socket and a port of 127.0.0.1. `options` are settings as on its command line."""

    def __init__(self, home: Path, programs: Path, **options: str) -> None:
        self._home, self._programs, self._options = home, programs, options
        self._user = ordinary_user()
        self.socket_dir, self.data, self.port = home / "run", home / "data", free_port()
        self.socket_dir.mkdir()
        if self._user is not None:
            for directory in (home, self.socket_dir):
                os.chown(directory, self._user.pw_uid, self._user.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None

    def make(self, *options: str) -> None:
        """A new cluster."""
        self.run(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            OWNER,
            "--auth=trust",
            "--no-sync",
            *(options or ("-E", "UTF8", "--locale=C")),
        )
        (self.data / "pg_hba.conf").write_text(_HBA)

    def keep(self, name: str, content: bytes) -> None:
        """A file in the data directory, for the server alone."""
        file = self.data / name
        file.write_bytes(content)
        file.chmod(0o600)
        if self._user is not None:
            os.chown(file, self._user.pw_uid, self._user.pw_gid)

    def standby(self, home: Path) -> "PostgresServer":
        """A replica of this server, not started."""
        made = PostgresServer(home, self._programs, **self._options)
        source = ("-h", str(self.socket_dir), "-p", str(self.port), "-U", OWNER)
        made.run("pg_basebackup", "-D", str(made.data), *source, "-R", "-c", "fast")
        return made

    def run(self, program: str, *arguments: str) -> None:
        """One of its programs, to its end."""
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            preexec_fn=self._become(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.socket_dir),
            "fsync": "off",
            "shared_buffers": "16MB",
            **self._options,
        }
        log = (self._home / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [
                    str(self._programs / "postgres"),
                    "-D",
                    str(self.data),
                    *(w for n, v in options.items() for w in ("-c", f"{n}={v}")),
                ],
                stdout=log,
                stderr=log,
                preexec_fn=self._become(),  # noqa: PLW1509 - as above
            )
        ends = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < ends and self._process.poll() is None, (self._home / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(PATIENCE)
            self._process = None

    def sql(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows of the last statement, as the owner."""
        rows: list[tuple[Any, ...]] = []
        with psycopg.connect(self.url(database), autocommit=True) as db:
            for statement in statements:
                cursor = db.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def url(self, database: str, role: str = OWNER, **options: str) -> str:
        """By the socket; a role that is not the owner has `PASSWORD`."""
        password = "" if role == OWNER else f":{quote(PASSWORD, safe='')}"
        more = "".join(f"&{name}={quote(value, safe='')}" for name, value in options.items())
        return f"postgresql://{role}{password}@/{database}?host={quote(str(self.socket_dir), safe='')}&port={self.port}{more}"

    def tcp_url(self, database: str, role: str, **options: str) -> str:
        """By its port."""
        more = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
        return f"postgresql://{role}:{quote(PASSWORD, safe='')}@localhost:{self.port}/{database}?{more}".rstrip("?")

    def role(self, name: str, *settings: str, attributes: str = "") -> None:
        """A role that may log in, with `ALTER ROLE … SET …` for each setting."""
        password = PASSWORD.replace("'", "''")
        self.sql(
            f"SET standard_conforming_strings = on; CREATE ROLE {name} LOGIN PASSWORD '{password}' {attributes}",
            *(f"ALTER ROLE {name} SET {setting}" for setting in settings),
        )

    def database(self, name: str, owner: str = OWNER, *options: str) -> None:
        self.sql(f"CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 {' '.join(options)}")

    def _become(self) -> Any:
        return becoming(self._user, self._programs / "postgres", self.data)

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            return True
        return False
