"""Servers that we did not write, each on a free port of 127.0.0.1 for the length of a `with`."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.apns.h2_server import H2Server, Request
from tests.processes import PATIENCE
from tests.programs import needs
from tests.system.foreign_servers.mix import MIXED, notification, reply, reply_to
from worker.core.model import ACCEPTED, Answer, Response
from worker.sender.route import Endpoint
from worker.simulator.certificates import Identity

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent.parent.parent
#: Runs a command that would outlive us until our end of the pipe closes.
_UNTIL_END_OF_INPUT: Final = ("sh", "-c", '"$@" & read -r _; kill $!; wait', "sh")


@dataclass
class Running:
    """Where it is, and once the `with` has ended what it says of its own work: `requests`, and of them `mixed` ones."""

    endpoint: Endpoint
    account: dict[str, int] = field(default_factory=dict)


Start = Callable[[Identity, Path, int], AbstractContextManager[Running]]


@contextmanager
def h2(_identity: Identity, _directory: Path, _total: int) -> Iterator[Running]:
    """The `h2` library under a few lines of asyncio."""
    account = {"requests": 0, "mixed": 0}

    async def script(request: Request) -> None:
        apns_id = request.headers["apns-id"]
        answer = reply_to(request.headers[":path"], apns_id, request.body)
        account["requests"] += 1
        account["mixed"] += answer is MIXED
        more = {} if answer.retry_after is None else {"retry_after": str(answer.retry_after)}
        request.answer(answer.status, answer.document, apns_id=apns_id, **more)

    with H2Server(script, streams=500) as server:
        yield Running(server.endpoint, account)


@contextmanager
def node(
    identity: Identity, _directory: Path, _total: int, *, script: str = "server.mjs", arguments: Sequence[str] = ()
) -> Iterator[Running]:
    """Node's `http2`."""
    files = (str(HERE / script), str(identity.certificate), str(identity.key))
    with _process((needs("node"), *files, *arguments)) as process:
        assert process.stdout is not None
        running = Running(_endpoint(identity, int(process.stdout.readline())))
        yield running
        running.account = json.loads(process.communicate(timeout=PATIENCE)[0])


@contextmanager
def granian(identity: Identity, _directory: Path, _total: int) -> Iterator[Running]:
    """granian, which is Rust's hyper, with a Python application."""
    port = _free_port()
    module = (sys.executable, "-m", "tests.system.foreign_servers.granian_server")
    with _process((*module, str(identity.certificate), str(identity.key), str(port))) as process:
        _wait_listening(process, port)
        running = Running(_endpoint(identity, port))
        yield running
        running.account = json.loads(process.communicate(timeout=PATIENCE)[0])


@contextmanager
def nghttpd(identity: Identity, directory: Path, total: int, *, options: Sequence[str] = ()) -> Iterator[Running]:
    """nghttp2's server of files: an accepted notification has a file, an unregistered one a directory, others nothing."""
    _need("nghttpd")
    _lay_out(directory / "3" / "device", total)
    port = _free_port()
    command = (
        "nghttpd",
        "-a",
        "127.0.0.1",
        "-d",
        str(directory),
        *options,
        str(port),
        identity.key,
        identity.certificate,
    )
    with _process((*_UNTIL_END_OF_INPUT, *map(str, command))) as process:
        _wait_listening(process, port)
        yield Running(_endpoint(identity, port))


def of_files(number: int) -> Response:
    """What nghttpd answers, which has no reasons."""
    status = reply(number).status
    return ACCEPTED if status == 200 else Answer(301 if status == 410 else 404)


def _lay_out(directory: Path, total: int) -> None:
    """Every accepted notification's file is a link to one and the same."""
    directory.mkdir(parents=True)
    (content := directory / "content").write_bytes(b"{}")
    links = content
    for number in range(total):
        status = reply(number).status
        if status == 410:
            (directory / notification(number).token).mkdir()
        elif status == 200:
            if number % 30_000 == 0:  # a file has only so many links
                links = directory / f"content-{number}"
                links.write_bytes(b"{}")
            (directory / notification(number).token).hardlink_to(links)


@contextmanager
def _process(command: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
    """A process that ends when its standard input does, so that it never outlives us."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        try:
            yield process
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_listening(process: "subprocess.Popen[str]", port: int) -> None:
    ends = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < ends:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail("the server does not listen")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _endpoint(identity: Identity, port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port, identity.ca.read_text())


def _need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
