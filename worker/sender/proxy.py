"""A tunnel through an HTTP proxy (CONNECT, RFC 9110 §9.3.6), for networks that allow no direct connection."""

import asyncio
import base64
import re
import socket
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import unquote, urlsplit

#: Octets of a proxy's answer that are read.
_MOST: Final = 16_384
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: |\r)")
#: Statuses that an immediate new try does not change: a rule or a password of the proxy.
_LASTING: Final = frozenset((400, 401, 403, 405, 407))


class ProxyError(Exception):
    """The proxy opens no tunnel. `cause` is a fixed phrase; `lasting` means that an immediate new try would fail as well."""

    def __init__(self, cause: str, *, lasting: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Proxy:
    """The address of the proxy, and the user for it. `repr` shows no password."""

    host: str
    port: int
    #: The value of `proxy-authorization`.
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """A proxy from `http://user:password@host:port`. Raises `ValueError`, whose text does not show the URL."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        else:
            if parts.scheme == "http" and host and port != 0 and parts.path in ("", "/") and not parts.query:
                return cls(host, port or 80, _basic(parts.username, parts.password))
        raise ValueError("a URL such as http://user:password@proxy.example.org:3128 is needed")


def _basic(user: str | None, password: str | None) -> str | None:
    if user is None:
        return None
    secret = f"{unquote(user)}:{unquote(password or '')}".encode()
    return f"Basic {base64.b64encode(secret).decode()}"


async def open_tunnel(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Makes a tunnel to `host` and `port` over a connection to the proxy. Raises `ProxyError` or `OSError`."""
    loop = asyncio.get_running_loop()
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode())
    head = bytearray()
    while b"\r\n\r\n" not in head:
        octets = await loop.sock_recv(sock, 4096)
        head += octets
        if not octets or len(head) > _MOST:
            raise ProxyError("proxy: ended the connection" if not octets else "proxy: not an HTTP proxy")
    status = _STATUS.match(head)
    if status is None or not head.endswith(b"\r\n\r\n"):
        raise ProxyError("proxy: not an HTTP proxy", lasting=True)
    number = int(status[1])
    if number == 407:
        raise ProxyError("proxy: wants another user or password", lasting=True)
    if not 200 <= number < 300:
        raise ProxyError(f"proxy: refused with {number}", lasting=number in _LASTING)
