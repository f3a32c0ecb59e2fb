"""A company's own API: an HTTPS server in a thread, which keeps what it got and answers as the test says."""

import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from worker.simulator.certificates import make_identity


@dataclass
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def recipients(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.document["recipients"]
        return found

    @property
    def users(self) -> list[str]:
        return [one["user"] for one in self.recipients]


@dataclass
class Say:
    """An answer."""

    status: int = 200
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    #: Sent as it is, instead of the document.
    raw: bytes | None = None
    #: Set: pieces of the body go out one by one, until it says that this is enough.
    drip: Callable[[], bool] | None = None


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is what some tests are about."""


class Receiver:
    """`answer` decides the answer to each request."""

    def __init__(self, directory: Path, host: str = "127.0.0.1") -> None:
        identity = make_identity(directory, ["localhost", "hooks.example.com", "127.0.0.1"])
        self.ca = identity.ca.read_text()
        self.ca_path = identity.ca
        self.got: list[Got] = []
        self.answer: Callable[[Got], Say]
        self.says()
        #: Connections that were accepted, TLS or not.
        self.connections = 0
        self._server = _Quiet((host, 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def says(self, *answer: Any, **fields: Any) -> None:
        """The same to everybody from now on: the arguments of a `Say`."""
        self.answer = lambda _: Say(*answer, **fields)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/push"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler's self is another
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                receiver.connections += 1
                self.request.settimeout(10)
                super().setup()

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                got = Got(self.path, {k.lower(): v for k, v in self.headers.items()}, content)
                receiver.got.append(got)
                say = receiver.answer(got)
                if say.drip is not None:
                    self._drip(say)
                    return
                body = say.raw if say.raw is not None else json.dumps(say.document or {}).encode()
                self.send_response(say.status)
                for name, value in say.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _drip(self, say: Say) -> None:
                assert say.drip is not None
                self.send_response(say.status)
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                while not say.drip():
                    self.wfile.write(b" ")

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


def answered(got: Got, **by_user: str) -> Say:
    """Results for the users that are named."""
    results = [{"id": one["id"], "status": by_user[one["user"]]} for one in got.recipients if one["user"] in by_user]
    return Say(document={"results": results})
