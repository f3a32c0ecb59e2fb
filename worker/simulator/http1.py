"""The server half of HTTP/1.1 (RFC 9112) for clients without HTTP/2: one request after the other, with a length.

It has what `Connection` and the faults use of `ServerConnection`. The streams are 1, 3, 5 …; a reset ends the connection.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from worker.http2 import frames
from worker.http2.server.header_blocks import Shape
from worker.http2.server.limits import ReceiveWindow
from worker.http2.server.request import Request
from worker.simulator.heads import Fields

#: Octets of a head, and fields in it.
MAX_HEAD: Final = 65_536
_HOP: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"host"})


class Http1Connection:
    """The protocol state of one connection."""

    takes_answers = False

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._rest = b""
        self._out: list[bytes] = []
        self._last = False
        self.open: set[int] = set()
        self.last_stream_id = 0
        self.last_allowed = frames.MAX_STREAM_ID
        self.error: str | None = None
        self.pings = self.refused = 0
        self.window = ReceiveWindow(0)

    def start(self) -> None:
        """Queue nothing: the client begins."""

    def take(self) -> bytes:
        """What is to be written now."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def write(self, data: bytes) -> None:
        """Queue bytes as they are, for faults."""
        self._out.append(data)

    def receive(self, data: bytes) -> list[Request]:
        """Complete requests in what arrived."""
        requests: list[Request] = []
        self._rest += data
        while self.error is None and (found := self._next()) is not None:
            requests.append(found)
        return requests

    def _next(self) -> Request | None:
        head, mark, rest = self._rest.partition(b"\r\n\r\n")
        if not mark:
            if len(head) > MAX_HEAD:
                return self._refuse(431)
            return None
        first, *lines = head.split(b"\r\n")
        words = first.split(b" ")
        pairs = [line.partition(b":") for line in lines]
        fields = [(name.lower(), value.strip()) for name, _, value in pairs]
        named = dict(fields)
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return self._refuse(400)
        if b"transfer-encoding" in named:
            return self._refuse(411)
        length = named.get(b"content-length", b"0")
        if not length.isdigit():
            return self._refuse(400)
        if int(length) > self._max_body:
            return self._refuse(413)
        if len(rest) < int(length):
            if named.get(b"expect", b"").lower() == b"100-continue" and not rest:
                self._out.append(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        self._last = self._last or named.get(b"connection", b"").lower() == b"close" or words[2] == b"HTTP/1.0"
        body, self._rest = rest[: int(length)], rest[int(length) :]
        pseudo = [
            (b":method", words[0]),
            (b":scheme", b"https"),
            (b":authority", named.get(b"host", b"")),
            (b":path", words[1]),
        ]
        self.last_stream_id = self.last_stream_id + 2 if self.last_stream_id else 1
        self.open.add(self.last_stream_id)
        plain = [(name, value) for name, value in fields if name not in _HOP]
        return Request(self.last_stream_id, Shape((*pseudo, *plain)), (), body)

    def _refuse(self, status: int) -> Request | None:
        self._out.append(head(status) + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.error = f"answered {status}"
        return None

    def respond(self, stream_id: int, block: bytes, body: bytes = b"") -> None:
        """Answer a request."""
        self.respond_headers(stream_id, block + b"content-length: %d\r\n" % len(body), end_stream=False)
        self.respond_body(stream_id, body)

    def respond_headers(self, stream_id: int, block: bytes, *, end_stream: bool) -> None:
        """Queue the head of an answer. If its body follows later, the answer ends with the connection."""
        if b"content-length" not in block and not block.startswith(b"HTTP/1.1 1"):
            self._last = True
        self._out.append(block + (b"connection: close\r\n\r\n" if self._last else b"\r\n"))

    def respond_body(self, stream_id: int, body: bytes) -> None:
        """End an answer."""
        self._out.append(body)
        self.forget(stream_id)

    def respond_with_trailers(self, stream_id: int, block: bytes, body: bytes, trailers: bytes) -> None:
        """Send no trailers, because they need chunks."""
        self.respond(stream_id, block, body)

    def reset(self, stream_id: int, code: int) -> None:
        """End the connection, because there are no streams."""
        self.error = "reset"

    def forget(self, stream_id: int) -> None:
        """The request has its answer."""
        self.open.discard(stream_id)
        if self._last and not self.open:
            self.error = self.error or "the client or a fault wanted the last answer"

    def go_away(self, last_stream_id: int, code: int, debug: bytes = b"") -> None:
        """The next answer is the last one."""
        self._last = True
        self.last_allowed = min(self.last_allowed, last_stream_id)

    def change_settings(self, settings: Mapping[int, int]) -> None:
        """Do nothing: there are no settings."""

    def reopen_window(self) -> None:
        """Do nothing: there is no window."""


def head(status: int, fields: Fields = ()) -> bytes:
    """The status line and fields of an answer, to which the length and the end of the head are added."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [b"%b: %b\r\n" % (name, value) for name, value in fields]
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase.encode()) + b"".join(lines)
