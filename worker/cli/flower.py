"""`carillon flower`."""

import os
import secrets
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from worker.cli._paths import given_path
from worker.cli._ports import need_port
from worker.cli._terminal import echo

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_USER: Final = "carillon"
#: Flower's own variables that turn on authentication.
_AUTHENTICATION: Final = ("FLOWER_BASIC_AUTH", "FLOWER_AUTH")
_FILE: Final = "FLOWER_BASIC_AUTH_FILE"
#: What Flower keeps in memory, about 5 kB a task, and what its list shows: a variable of its own decides otherwise.
_DEFAULTS: Final = {
    "FLOWER_MAX_TASKS": "10000",
    "FLOWER_MAX_WORKERS": "500",
    "FLOWER_TASKS_COLUMNS": "name,args,result,state,received,runtime,worker,uuid",
}
#: Milliseconds between two savings of what is kept over a restart.
_SAVED: Final = 60_000
#: Seconds.
_NEVER: Final = 10 * 365 * 86_400
#: Seconds that it may take to leave.
_PATIENCE: Final = 5.0
_HARMLESS: Final = ("GET", "HEAD", "OPTIONS")


def flower(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5555,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="Host name by which browsers reach it; repeatable. Default: on loopback only this machine's."
        ),
    ] = None,
    auth_file: Annotated[
        Path | None,
        typer.Option(envvar=_FILE, metavar="FILE", parser=given_path, help="A file with user:password, one a line."),
    ] = None,
    db: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", parser=given_path, help="A file for what it knows, so that it outlives a restart."
        ),
    ] = None,
) -> None:
    """Run Flower, where ops watch workers, tasks and queues. Flower's own FLOWER_* variables are heeded.

    It can stop workers, so it always asks for a password: that of the file, of FLOWER_BASIC_AUTH, or one made here and printed.
    """
    from config.settings import get_settings
    from worker.cli._engines import tell_part
    from worker.process.host import check_files, disown_orphans

    check_files()
    disown_orphans()
    get_settings()  # their faults are reported before anything is started
    tell_part(postgres=False)
    if auth_file is not None:
        os.environ["FLOWER_BASIC_AUTH"] = _read(auth_file)
    kept = _kept(db)
    need_port(address, port)
    if not configured():
        if address not in _LOOPBACK:
            sys.exit(
                f"carillon: on {address} Flower needs a password that you know: set FLOWER_BASIC_AUTH=user:password, or"
                f" {_FILE} to a file with it"
            )
        os.environ["FLOWER_BASIC_AUTH"] = made = credentials()
        echo(f"Flower's password, made for this run: {made} (FLOWER_BASIC_AUTH sets one)")
    # It would answer everybody.
    os.environ.pop("FLOWER_UNAUTHENTICATED_API", None)
    os.environ.pop(_FILE, None)
    _guard((*_LOOPBACK, *(name or ())) if name or address in _LOOPBACK else None)

    from worker.embedded import attach_redis
    from worker.metrics.engines import of_carillon
    from worker.process import exporter
    from worker.process.celery_app import app, refuse_unusable

    refuse_unusable(keys=False)
    url = exporter.start("flower", lambda settings: of_carillon(attach_redis(settings), None))
    if url is not None:  # it logs warnings alone
        echo(f"serves metrics and probes  part=flower  url={url}")
    # Handing out again what a dead worker had is the workers' business: a Flower may be kept from writing to queues.
    app.conf.broker_transport_options = app.conf.broker_transport_options | {"visibility_timeout": _NEVER}
    for variable, value in _DEFAULTS.items():
        os.environ.setdefault(variable, value)
    where = (f"--port={port}", f"--address={address}")
    app.start(["flower", *where, *kept, "--purge_offline_workers=300", "--logging=warning"])


def _kept(db: Path | None) -> list[str]:
    if db is None:
        return []
    try:
        directory = db.parent.stat()
    except OSError as fault:
        sys.exit(f"carillon: --db: {db.parent}: {fault.strerror}")
    if directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH):  # whoever writes the file runs code here: it is unpickled
        sys.exit(
            f"carillon: --db: others may write to {db.parent}, and Flower runs what is there: chmod go-w {db.parent}"
        )
    return ["--persistent=True", f"--db={db}", f"--state_save_interval={_SAVED}"]


def configured() -> bool:
    """Whether the environment says who may come in."""
    return any(os.environ.get(name) for name in (*_AUTHENTICATION, _FILE))


def credentials() -> str:
    """A user and a new password."""
    return f"{_USER}:{secrets.token_urlsafe(18)}"


def refusal(method: str, headers: Any, host: str, names: tuple[str, ...] | None) -> str | None:
    """Why a request is not for this server, or None. `host` is the host that it names, without port; `names`: the server's.

    A page in a browser may send requests to this machine, with the password that the browser remembers.
    """
    if names is not None and host.strip("[]").lower() not in names:
        return f"this Flower is not known as {host}; if it is meant to be: carillon flower --name {host}"
    if method in _HARMLESS:
        return None
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site is not None and site not in ("same-origin", "none"):
        return "the request comes from another site"
    if origin is not None and urlsplit(origin).netloc != headers.get("Host"):
        return "the request comes from another origin"
    return None


def _guard(names: tuple[str, ...] | None) -> None:
    """Every request passes `refusal` before Flower's own handlers see it."""
    import flower.command
    from tornado.web import RequestHandler

    class Refused(RequestHandler):
        def initialize(self, reason: str) -> None:
            self._why = reason

        def check_xsrf_cookie(self) -> None:
            pass

        def prepare(self) -> None:
            self.set_status(403)
            self.set_header("Content-Type", "text/plain; charset=UTF-8")
            self.finish(f"{self._why}\n")

    class Guarded(flower.command.Flower):  # type: ignore[misc] # it has no types
        def start(self) -> None:
            try:
                super().start()
            except (KeyboardInterrupt, SystemExit):
                # Its threads may wait for a broker that does not answer, without end.
                threading.Thread(target=_leave_in_time, daemon=True).start()
                raise

        def find_handler(self, request: Any, **options: Any) -> Any:
            reason = refusal(request.method, request.headers, request.host_name, names)
            if reason is not None:
                return self.get_handler_delegate(request, Refused, {"reason": reason})
            return super().find_handler(request, **options)

    flower.command.Flower = Guarded


def _leave_in_time() -> None:
    time.sleep(_PATIENCE)
    os._exit(os.EX_OK)


def _read(file: Path) -> str:
    """What Flower takes in its variable: `user:password`, comma separated."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as fault:
        sys.exit(f"carillon: {file}: cannot be read: {getattr(fault, 'strerror', None) or 'it is no text'}")
    if not lines or not all(0 < line.find(":") < len(line) - 1 and "," not in line for line in lines):
        sys.exit(f"carillon: {file}: has to have user:password in each line, without commas")
    return ",".join(lines)
