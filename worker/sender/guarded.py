"""HTTP/1.1 requests to a URL that somebody else chose: only to public addresses, and every wait has an end.

A name is resolved here and the address that was checked is the one that is connected to, so a name that changes its mind between
a check and a connection gains nothing. TLS still asks for the name.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from threading import local
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

import httpcore

from worker.core.addresses import Network, permitted

#: Addresses of a host, the preferred first. Raises `OSError` for a host that has none.
Resolve = Callable[[str, int], Sequence[str]]
SocketOptions = Iterable[Any]
#: Bytes that are written in one wait: a TLS record.
_RECORD: Final = 16 * 1024
#: Networks where a host that the operator chose may be, such as a proxy.
_ANYWHERE: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class ForbiddenAddress(Exception):
    """Requests may go to no address of the host. `found`: these addresses."""

    def __init__(self, found: Sequence[str] = ()) -> None:
        super().__init__("forbidden address")
        self.found = found


class UnknownHost(httpcore.ConnectError):
    """The host has no address, or the resolver does not answer."""


#: What a request may raise that got no answer.
FAULTS: Final = (
    ForbiddenAddress,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    OSError,
)


def resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Deadline:
    """When the request of a thread must be over, whatever its server does."""

    def __init__(self) -> None:
        self._mine = local()

    @contextmanager
    def within(self, seconds: float) -> Any:
        self._mine.ends = time.monotonic() + seconds
        try:
            yield
        finally:
            del self._mine.ends

    def left(self) -> float:
        """Seconds, at most those that the thread has left; a thread without a deadline has none left."""
        return max(0.0, getattr(self._mine, "ends", 0.0) - time.monotonic())


class GuardedBackend(httpcore.NetworkBackend):
    def __init__(self, allowed: Sequence[Network], deadline: Deadline, resolve: Resolve = resolve) -> None:
        self._allowed, self._deadline, self._resolve = tuple(allowed), deadline, resolve
        self._network: Final = httpcore.SyncBackend()

    def check(self, host: str, port: int) -> list[str]:
        """The addresses that may be connected to. Raises `UnknownHost` and `ForbiddenAddress`."""
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError):
            raise UnknownHost from None
        addresses = [address for address in found if permitted(address, self._allowed)]
        if not addresses:
            raise ForbiddenAddress(found)
        return addresses

    def check_known(self, host: str, port: int) -> None:
        """Checks a host that a proxy will look up. Raises `ForbiddenAddress` if this machine finds only forbidden addresses."""
        with suppress(UnknownHost):
            self.check(host, port)

    def anywhere(self) -> Self:
        """The same network with no address forbidden, for a host that an operator named."""
        return type(self)(_ANYWHERE, self._deadline, self._resolve)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self.check(host, port)
        fault: Exception = httpcore.ConnectTimeout()
        for address in addresses:
            if not (left := self._deadline.left()):
                break
            try:
                stream = self._network.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                fault = failed
            else:
                return _BoundedStream(stream, self._deadline)
        raise fault

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: SocketOptions | None = None
    ) -> httpcore.NetworkStream:
        raise ForbiddenAddress


class _BoundedStream(httpcore.NetworkStream):
    """A stream whose waits all end at the thread's deadline, also if the server sends one byte at a time."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _RECORD):
            self._stream.write(buffer[start : start + _RECORD], self._left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._left(httpcore.ConnectTimeout))
        return _BoundedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _left(self, fault: type[Exception]) -> float:
        if not (left := self._deadline.left()):
            raise fault
        return left


def new_pool(
    context: ssl.SSLContext, network: GuardedBackend, *, proxy: str | None, kept: int, idle: float
) -> httpcore.ConnectionPool:
    """Keeps so many connections open, each for `idle` seconds without a request, and nothing of what a server says: it has no
    cookies, and follows no redirect. `proxy`, the URL of an HTTP proxy, looks names up by itself: ask `check_known` first.
    """
    common: dict[str, Any] = {
        "ssl_context": context,
        "max_connections": None,
        "max_keepalive_connections": kept,
        "keepalive_expiry": idle,
    }
    if proxy is None:
        return httpcore.ConnectionPool(network_backend=network, **common)
    parts = urlsplit(proxy)
    user = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
    place = f"http://{parts.netloc.rpartition('@')[2]}"
    return httpcore.HTTPProxy(place, proxy_auth=user, network_backend=network.anywhere(), **common)
