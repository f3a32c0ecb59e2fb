"""A proxy for tests, on threads: it shares no code with ours."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class TunnelProxy:
    """An HTTP proxy that opens a tunnel to one port for whoever has the password, whatever host is asked for."""

    def __init__(self, port: int, *, says: bytes = b"HTTP/1.1 200 Connection established") -> None:
        self.heads: list[str] = []
        self._port, self._says = port, says
        self._threads: list[threading.Thread] = []
        self._clients: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://me:open%20sesame@127.0.0.1:{self._server.getsockname()[1]}"
        self._start(self._serve)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        # Clients keep their connections for what comes next.
        for client in list(self._clients):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(10.0)

    def _start(self, act: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=act, daemon=True))
        self._threads[-1].start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self._clients.append(client)
                self._start(lambda client=client: self._open(client))  # type: ignore[misc]

    def _open(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n") and (octets := client.recv(4096)):
                head += octets
            self.heads.append(head.decode())
            client.sendall(self._says + b"\r\n\r\n")
            if b" 200 " not in self._says:
                return
            with socket.create_connection(("127.0.0.1", self._port)) as target:
                back = threading.Thread(target=_copy, args=(target, client), daemon=True)
                back.start()
                _copy(client, target)
                back.join()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while octets := one.recv(65_536):
            other.sendall(octets)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)
