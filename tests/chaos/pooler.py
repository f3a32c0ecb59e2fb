"""PgBouncer in transaction mode, in front of the system's Postgres."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

#: Debian puts it where a user's PATH does not look.
_PLACES: Final = "/usr/sbin:/usr/local/sbin"


def installed() -> str | None:
    """The program, or None."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path=_PLACES)


@contextmanager
def pooled(directory: Path, postgres_url: str) -> Iterator[str]:
    """The URL of a pooler with few server sessions, so that many clients share each. Raises RuntimeError without PgBouncer."""
    program = installed()
    if program is None:
        raise RuntimeError("PgBouncer is not installed: apt install pgbouncer")
    given = conninfo_to_dict(postgres_url)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = directory / "pgbouncer"
    home.mkdir()
    home.chmod(0o777)
    users = home / "users.txt"
    users.write_text(f'"{given["user"]}" "{given.get("password", "")}"\n')
    keys = ("host", "port", "dbname", "user", "password")
    target = " ".join(f"{key}='{given[key]}'" for key in keys if given.get(key))
    (home / "pgbouncer.ini").write_text(
        f"[databases]\ncarillon = {target}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"auth_type = trust\nauth_file = {users}\nunix_socket_dir =\npool_mode = transaction\ndefault_pool_size = 6\n"
        f"max_client_conn = 200\nlogfile = {home}/log\nserver_login_retry = 1\n"
    )
    command = [program, "-u", "nobody", str(home / "pgbouncer.ini")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"postgresql://{given['user']}@127.0.0.1:{port}/carillon"
            _await(url)
            yield url
        finally:
            process.terminate()


def _await(url: str) -> None:
    ends = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(url, connect_timeout=2, prepare_threshold=None).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.1)
