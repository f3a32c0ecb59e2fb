"""A transaction pooler before the tests' Postgres, which gives each transaction another server session, as PgBouncer does.

It refuses `options` at start-up and greets its clients with a number of its own. What is set in a server session stays in it:
the next client finds prepared statements, `SET`, `LISTEN` and session locks, or does not.
"""

import contextlib
import os
import queue
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg

_SSL_REQUEST, _GSS_REQUEST, _CANCEL = 80877103, 80877104, 80877102
_REPORTED = ("server_version", "server_encoding", "client_encoding", "DateStyle", "integer_datetimes", "TimeZone")


class _Ended(Exception):
    """One of the two sides has gone."""


class _Session:
    """One session at the server, begun by psycopg and then spoken to directly."""

    def __init__(self, postgres_url: str) -> None:
        # The descriptor of libpq must not be read by libpq any more: it stays open, and unused.
        self._db = psycopg.connect(postgres_url, autocommit=True)
        parameters = {name: self._db.pgconn.parameter_status(name.encode()) for name in _REPORTED}
        self.greeting = b"".join(
            _message(b"S", name.encode() + b"\0" + (parameters[name] or b"") + b"\0") for name in _REPORTED
        )
        self.socket = socket.socket(fileno=os.dup(self._db.fileno()))
        self.socket.setblocking(True)

    def close(self) -> None:
        self.socket.close()
        self._db.close()


class Pooler:
    """Listens on `port` until it is closed; `sessions` at the server are handed round."""

    def __init__(self, postgres_url: str, sessions: int) -> None:
        self._url = postgres_url
        self._idle: queue.Queue[_Session] = queue.Queue()
        made = [_Session(postgres_url) for _ in range(sessions)]
        self._greeting = made[0].greeting
        for session in made:
            self._idle.put(session)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._clients: set[socket.socket] = set()
        self._closed = False
        threading.Thread(target=self._accept, name="pooler", daemon=True).start()

    @property
    def url(self) -> str:
        parts = urlsplit(self._url)
        return urlunsplit(
            parts._replace(netloc=f"{parts.username}@127.0.0.1:{self._listener.getsockname()[1]}", query="")
        )

    def close(self) -> None:
        self._closed = True
        self._listener.close()
        for client in list(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), name="pooled", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._clients.add(client)
        try:
            self._greet(client)
            while True:
                kind, message = _read(client)
                if kind == b"X":
                    return
                self._transaction(client, kind, message)
        except (_Ended, OSError):
            pass
        finally:
            self._clients.discard(client)
            client.close()

    def _greet(self, client: socket.socket) -> None:
        while True:
            (length,) = struct.unpack("!i", _exactly(client, 4))
            body = _exactly(client, length - 4)
            (code,) = struct.unpack_from("!i", body)
            if code == _CANCEL:
                raise _Ended
            if code not in (_SSL_REQUEST, _GSS_REQUEST):
                break
            client.sendall(b"N")
        asked = body[4:].rstrip(b"\0").split(b"\0")[::2]
        if b"options" in asked:
            client.sendall(_message(b"E", b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"))
            raise _Ended
        number = _message(b"K", os.urandom(8))
        client.sendall(_message(b"R", struct.pack("!i", 0)) + self._greeting + number + _message(b"Z", b"I"))

    def _transaction(self, client: socket.socket, kind: bytes, message: bytes) -> None:
        """One transaction of the client, which it has begun with this message, in whatever session is free."""
        session = self._idle.get(timeout=10)
        try:
            session.socket.sendall(message)
            open_requests = int(kind in b"QS")
            while True:
                readable, _, _ = select.select([client, session.socket], [], [])
                if session.socket in readable:
                    kind, message = _read(session.socket)
                    client.sendall(message)
                    if kind == b"Z":
                        open_requests -= 1
                        if message[-1:] == b"I" and open_requests == 0:
                            break
                elif client in readable:
                    kind, message = _read(client)
                    if kind == b"X":
                        raise _Ended
                    session.socket.sendall(message)
                    open_requests += int(kind in b"QS")
        except BaseException:  # ending the session undoes its settings
            session.close()
            if not self._closed:
                self._idle.put(_Session(self._url))
            raise
        self._idle.put(session)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _read(peer: socket.socket) -> tuple[bytes, bytes]:
    """The kind of the next message, and all of it."""
    head = _exactly(peer, 5)
    return head[:1], head + _exactly(peer, struct.unpack("!i", head[1:])[0] - 4)


def _exactly(peer: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = peer.recv(size - len(found))
        if not more:
            raise _Ended
        found += more
    return found


@contextmanager
def pooler(postgres_url: str, *, sessions: int = 4) -> Iterator[str]:
    """The URL of a pooler before this Postgres."""
    made = Pooler(postgres_url, sessions)
    try:
        yield made.url
    finally:
        made.close()
