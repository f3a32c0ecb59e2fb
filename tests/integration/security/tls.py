"""TLS in front of engines whose binaries have none: what a client meets is a real handshake, certificate and all.

The embedded Valkey and PostgreSQL are built without OpenSSL. A front ends TLS on a port of 127.0.0.1 and passes the bytes on,
as stunnel does; for PostgreSQL it answers the client's SSLRequest first, as that server does.
"""

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from worker.simulator.certificates import Identity

#: Length 8, code 80877103: https://www.postgresql.org/docs/current/protocol-message-formats.html
_SSL_REQUEST: Final = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


class Front:
    """A TLS port before one server, a thread for each connection. `opened` connects to the server behind.

    `lingers`: seconds before it closes what its client has closed.
    """

    def __init__(
        self, identity: Identity, opened: Callable[[], socket.socket], *, postgres: bool = False, lingers: float = 0
    ) -> None:
        self._opened, self._postgres, self._lingers = opened, postgres, lingers
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(identity.certificate, identity.key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._listen)]
        self._stopping = False
        self.port: int = self._listener.getsockname()[1]
        #: Handshakes that went well, and connections that asked for no TLS or broke it off.
        self.secured, self.refused = 0, 0

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._stopping = True
        for thread in list(self._threads):
            thread.join(20)
        self._listener.close()

    def _listen(self) -> None:
        while not self._stopping:
            if select.select([self._listener], [], [], 0.05)[0]:
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, plain: socket.socket) -> None:
        with plain:
            plain.settimeout(10)
            try:
                if self._postgres:
                    if plain.recv(8) != _SSL_REQUEST:
                        raise ConnectionError("no TLS asked for")
                    plain.sendall(b"S")
                secure = self._context.wrap_socket(plain, server_side=True)
            except OSError:
                self.refused += 1
                return
            self.secured += 1
            with secure, self._opened() as behind:
                try:
                    self._pass_on(secure, behind)
                except OSError:
                    return
                time.sleep(self._lingers)

    def _pass_on(self, secure: ssl.SSLSocket, behind: socket.socket) -> None:
        while not self._stopping:
            ready, _, _ = ([secure], [], []) if secure.pending() else select.select([secure, behind], [], [], 0.05)
            for source in ready:
                data = source.recv(65536)
                if not data:
                    return
                (behind if source is secure else secure).sendall(data)


def tcp(port: int) -> Callable[[], socket.socket]:
    return lambda: socket.create_connection(("127.0.0.1", port))


def unix(path: str) -> Callable[[], socket.socket]:
    def connect() -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        return client

    return connect


def postgres_socket(url: str) -> str:
    """The socket's path of an embedded server."""
    from psycopg.conninfo import conninfo_to_dict

    found: dict[str, Any] = conninfo_to_dict(url)
    return f"{found['host']}/.s.PGSQL.5432"
