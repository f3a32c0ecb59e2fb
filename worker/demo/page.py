"""Serves the example page for Web Push on loopback: its files, the subscription of a browser, and a message to try it.

Pages elsewhere can send requests here, because the browser that shows them is on this machine. So a request has to call the
server by its own name, which keeps out names that somebody points here. One that changes something has to come from the page.
"""

import json
import logging
import re
import sys
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Protocol

log = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
#: Octets of a body, at most: a subscription has some 500.
LARGEST: Final = 8192
_FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/sw.js": ("sw.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; style-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
#: Where a browser says that a request comes from: the page, or the person.
_HERE: Final = frozenset(("same-origin", "none"))
_LENGTH: Final = re.compile(r"[0-9]{1,9}")
_DIRECTORY: Final = Path(__file__).parent / "web"


class ChatError(ValueError):
    """A request that cannot be fulfilled; the text says why."""


class Chat(Protocol):
    """What a chat server does for the page. Its methods raise `ChatError`."""

    def public_key(self) -> str:
        """What browsers subscribe with, in base64url."""

    def subscribe(self, subscription: Mapping[str, Any]) -> None: ...
    def unsubscribe(self, endpoint: str) -> None: ...
    def send(self) -> None:
        """A message to whoever has subscribed."""

    def close(self) -> None: ...


class Page:
    """The server, in threads of its own until `close`, which closes `chat` too."""

    def __init__(self, chat: Chat, port: int = 0) -> None:
        """`port` 0: a free one."""
        self._server = _Server(chat, port)
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="page", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server.chat.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, chat: Chat, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.chat = chat
        #: As a request calls it.
        self.names = frozenset(f"{name}:{self.server_port}" for name in (HOST, "localhost"))

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(fault := sys.exception(), OSError):
            log.error("the page could not answer", exc_info=fault)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "Carillon"
    sys_version = ""
    #: Seconds that a client may be silent.
    timeout = 10.0

    def do_GET(self) -> None:
        if not self._is_called_by_name():
            self._end(HTTPStatus.FORBIDDEN)
        elif self.path == "/config.json" and self.headers.get("Sec-Fetch-Site", "none") not in _HERE:
            # It makes the app.
            self._end(HTTPStatus.FORBIDDEN)
        elif self.path == "/config.json":
            self._do(
                lambda: self._end(HTTPStatus.OK, json.dumps({"public_key": self.server.chat.public_key()}).encode())
            )
        elif self.path in _FILES:
            name, kind = _FILES[self.path]
            self._end(HTTPStatus.OK, (_DIRECTORY / name).read_bytes(), kind)
        else:
            self._end(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        self._change()

    def do_DELETE(self) -> None:
        self._change()

    def _change(self) -> None:
        if not (self._is_called_by_name() and self._is_from_the_page()):
            self._end(HTTPStatus.FORBIDDEN)
            return
        length = self.headers.get("Content-Length", "")
        if not _LENGTH.fullmatch(length) or int(length) > LARGEST:
            self._end(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        try:
            document = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            document = None
        chat = self.server.chat
        match self.command, self.path, document:
            case "POST", "/subscription", dict():
                self._do(lambda: chat.subscribe(document))
            case "DELETE", "/subscription", {"endpoint": str(endpoint)}:
                self._do(lambda: chat.unsubscribe(endpoint))
            case "POST", "/message", dict():
                self._do(chat.send)
            case _, "/subscription" | "/message", _:
                self._end(HTTPStatus.BAD_REQUEST)
            case _:
                self._end(HTTPStatus.NOT_FOUND)

    def _is_called_by_name(self) -> bool:
        return self.headers.get("Host") in self.server.names

    def _is_from_the_page(self) -> bool:
        """Browsers say where a request comes from, and no page elsewhere may send this type unasked."""
        return (
            self.headers.get("Origin") == f"http://{self.headers['Host']}"
            and self.headers.get("Content-Type") == "application/json"
        )

    def _do(self, work: Any) -> None:
        """Does the work; unless that answers, its end is the answer."""
        try:
            work()
        except ChatError as fault:
            self._end(HTTPStatus.CONFLICT, json.dumps({"error": str(fault)}).encode())
        else:
            if self.command != "GET":
                self._end(HTTPStatus.NO_CONTENT)

    def _end(self, status: int, body: bytes = b"", kind: str = "application/json") -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        if status >= HTTPStatus.BAD_REQUEST:
            # Its body may not have been read.
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library refuses by itself is answered as everything else."""
        self._end(code)

    def log_message(self, *args: Any) -> None:
        """Nothing is written: a path may have anything in it."""
