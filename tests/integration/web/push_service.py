"""A push service over HTTP/1.1, on the server of the standard library: it keeps what it got and answers as a test says."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.integration.apns.h2_server import server_context


@dataclass
class Got:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Say:
    status: int = 201
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class OldService:
    """A context manager; `answer` decides the answer to each request."""

    def __init__(self, answer: Callable[[Got], Say] = lambda _: Say()) -> None:
        self.got: list[Got] = []
        self.answer = answer

    def __enter__(self) -> Self:
        context, self.ca = server_context(alpn="http/1.1")
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="old-service")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that speaks another protocol, or breaks off, is what some tests are about."""


def _handler(service: OldService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            got = Got(self.path, headers, body)
            service.got.append(got)
            said = service.answer(got)
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    return Handler
