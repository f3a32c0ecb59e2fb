"""Programs from outside Python that a test needs, and PgBouncer as the tests run it."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qsl, urlsplit

import psycopg
import pytest

from tests.processes import PATIENCE
from worker.embedded.unprivileged import becoming, ordinary_user

#: Where Debian's packages of Node are; a project has its own from npm.
NODE_PATH = "/usr/share/nodejs"


def needs(program: str) -> str:
    """The path of the program. Without it the test is skipped, and fails where CI=true: `.ci/run` installs what is needed."""
    found = shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        missing(program)
    return found


def needs_library(program: str, *check: str) -> None:
    """The same for what a program loads: `check` are arguments with which it ends with 0 where that is there."""
    if subprocess.run([needs(program), *check], capture_output=True, check=False).returncode:
        missing(f"{program} {' '.join(check)}")


def missing(what: str) -> NoReturn:
    """Skips the test, or fails it where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed")


@contextmanager
def pgbouncer(postgres_url: str, directory: Path, *, mode: str = "transaction") -> Iterator[str]:
    """The URL of a PgBouncer in this mode, with its own defaults otherwise, before this Postgres."""
    program, parts = needs("pgbouncer"), urlsplit(postgres_url)
    host, database = dict(parse_qsl(parts.query))["host"], parts.path[1:]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = directory / "pgbouncer.ini"
    users = directory / "pgbouncer.users"
    users.write_text(f'"{parts.username}" ""\n')
    configuration.write_text(
        f"[databases]\n{database} = host={host} dbname={database} user={parts.username}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
        f"auth_file = {users}\npool_mode = {mode}\nserver_round_robin = 1\ndefault_pool_size = 6\n"
    )
    process = subprocess.Popen(
        [program, "--quiet", str(configuration)],
        stderr=subprocess.DEVNULL,
        # It refuses root, as PostgreSQL does.
        preexec_fn=becoming(ordinary_user(), configuration),  # noqa: PLW1509 - no thread of ours holds a lock at this time
    )
    url = f"postgresql://{parts.username}@127.0.0.1:{port}/{database}"
    try:
        ends = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(url, autocommit=True, prepare_threshold=None).close()
                break
            except psycopg.OperationalError:
                assert time.monotonic() < ends, "PgBouncer did not begin"
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE)
