"""A small HTTP server for what scrapers and probes ask: GET and HEAD of a few paths, in threads of its own.

It is bounded against whoever finds its port: connections, octets of a request, and the seconds that one may take.
"""

import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final, NamedTuple, Self

log = logging.getLogger(__name__)

#: Connections at once; further ones are closed without a word.
MOST: Final = 16
#: Seconds for a client to send its request, and again to take the answer.
PATIENCE: Final = 5.0
#: Octets of a request with its fields. No body is read.
LARGEST: Final = 8_192
#: Ports that are tried, from the one that is asked for.
PORTS: Final = 20
#: Seconds between two checks of whether it was closed.
_LOOK: Final = 0.2
TEXT: Final = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    body: bytes
    status: int = HTTPStatus.OK
    content_type: str = TEXT


#: Makes the answer to a request for one path. It has to bound its own waits.
Page = Callable[[], Answer]


class NoPortError(OSError):
    """None of the ports can be listened on; the text says why."""


class Server:
    """Serves `pages` by path from `serve` until `close`."""

    def __init__(self, pages: Mapping[str, Page], *, address: str, port: int, ports: int = PORTS) -> None:
        """Listens on the first of `ports` ports from `port` that is free; port 0 is any free one. Raises `NoPortError`."""
        self._listener = _listen(pages, address, port, ports)
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(_LOOK,), name="carillon-http", daemon=True
        )

    @property
    def port(self) -> int:
        return int(self._listener.server_address[1])

    @property
    def url(self) -> str:
        host = str(self._listener.server_address[0])
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def start(self) -> Self:
        self._thread.start()
        return self

    def close(self) -> None:
        """Answers nobody any more, and frees the port."""
        if self._thread.is_alive():
            self._listener.shutdown()
            self._thread.join(PATIENCE)
        self._listener.server_close()


def _listen(pages: Mapping[str, Page], address: str, port: int, ports: int) -> "_Listener":
    fault: OSError | None = None
    for each in range(port, min(port + (ports if port else 1), 65_536)):
        try:
            family, *_ = socket.getaddrinfo(address, each, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            return _Listener(family, (address, each), pages)
        except OSError as failed:
            fault = failed
    last = port + ports - 1 if port else port
    which = f"port {port}" if last == port else f"none of the ports {port} to {last}"
    raise NoPortError(f"{which} of {address} can be listened on: {fault and fault.strerror}")


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = MOST

    def __init__(self, family: int, address: tuple[str, int], pages: Mapping[str, Page]) -> None:
        self.address_family = family
        self.pages = pages
        self._room = threading.BoundedSemaphore(MOST)
        super().__init__(address, _Connection)
        #: Pages of a browser reach this machine's own addresses by a name of their making.
        self.own_names_only = _is_loopback(str(self.server_address[0]))

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        log.debug("a connection ended with a fault")


class _Connection(socketserver.BaseRequestHandler):
    """One request, one answer."""

    server: _Listener
    request: socket.socket

    def handle(self) -> None:
        head = self._head()
        if head is None:
            return
        method, target, host = head
        answer = self._answer(method, target, host)
        reason = HTTPStatus(answer.status).phrase
        fields = (
            f"HTTP/1.1 {answer.status} {reason}\r\nContent-Type: {answer.content_type}\r\n"
            f"Content-Length: {len(answer.body)}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
            f"{'Allow: GET, HEAD' + chr(13) + chr(10) if answer.status == HTTPStatus.METHOD_NOT_ALLOWED else ''}"
            "Connection: close\r\n\r\n"
        )
        # The time limit of `sendall` is that of the whole.
        self.request.settimeout(PATIENCE)
        self.request.sendall(fields.encode() + (b"" if method == "HEAD" else answer.body))

    def _head(self) -> tuple[str, str, str] | None:
        """The method, the path and the host that the request names; None if none came in time, or too much."""
        ends, received = time.monotonic() + PATIENCE, b""
        while b"\r\n\r\n" not in received:
            left = ends - time.monotonic()
            if left <= 0 or len(received) > LARGEST:
                return None
            self.request.settimeout(left)
            try:
                piece = self.request.recv(LARGEST)
            except OSError:
                return None
            if not piece:
                return None
            received += piece
        first, *lines = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return "", "", ""
        parts = (line.partition(":") for line in lines)
        fields = {name.strip().lower(): value.strip() for name, _, value in parts}
        return words[0], words[1].partition("?")[0], fields.get("host", "")

    def _answer(self, method: str, path: str, host: str) -> Answer:
        if not method:
            return Answer(b"this is no request of HTTP/1.1\n", HTTPStatus.BAD_REQUEST)
        if method not in ("GET", "HEAD"):
            return Answer(b"only GET and HEAD\n", HTTPStatus.METHOD_NOT_ALLOWED)
        if self.server.own_names_only and not _is_own(host):
            return Answer(b"this server is known by its own addresses alone\n", HTTPStatus.MISDIRECTED_REQUEST)
        page = self.server.pages.get(path)
        if page is None:
            listed = "\n".join(("there is:", *sorted(self.server.pages)))
            return Answer(f"{listed}\n".encode(), HTTPStatus.NOT_FOUND)
        try:
            return page()
        except Exception:  # a probe gets an answer, whatever the fault
            log.exception("page failed", extra={"path": path})
            return Answer(b"failed, see the log\n", HTTPStatus.INTERNAL_SERVER_ERROR)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _is_own(host: str) -> bool:
    """Whether a Host field names this machine: without one it is no browser's."""
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    return not host or name.lower() == "localhost" or _is_loopback(name)
