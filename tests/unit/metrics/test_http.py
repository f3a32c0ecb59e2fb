"""The small HTTP server: what it answers, and that nobody can hold it up."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from worker.metrics import http as ours
from worker.metrics.http import Answer, NoPortError, Server


def fails() -> Answer:
    raise RuntimeError("a secret")


PAGES = {"/livez": lambda: Answer(b"process: ok\n"), "/broken": fails}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(PAGES, address="127.0.0.1", port=0).start()
    yield server
    server.close()


def ask(server: Server, method: str, path: str, **fields: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers=fields)
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def talk(server: Server, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while piece := client.recv(4096):
            received += piece
        return received


def test_get_and_head_of_a_page(server: Server) -> None:
    status, body, fields = ask(server, "GET", "/livez?verbose")
    assert (status, body) == (200, b"process: ok\n")
    assert fields["Content-Type"] == "text/plain; charset=utf-8" and fields["Cache-Control"] == "no-store"
    assert ask(server, "HEAD", "/livez")[:2] == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/livez", 405), ("DELETE", "/livez", 405), ("GET", "/", 404), ("GET", "/../etc/passwd", 404)],
)
def test_anything_else_is_refused(server: Server, method: str, path: str, status: int) -> None:
    assert ask(server, method, path)[0] == status


def test_a_page_that_fails_says_nothing_of_why(server: Server) -> None:
    status, body, _ = ask(server, "GET", "/broken")
    assert status == 500 and b"secret" not in body


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost", "[::1]:9", ""])
def test_its_own_names_may_be_asked(server: Server, host: str) -> None:
    assert talk(server, f"GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_page_of_a_browser_that_reaches_loopback_by_a_name_is_refused(server: Server) -> None:
    assert ask(server, "GET", "/livez", Host="rebound.example.org")[0] == 421


@pytest.mark.parametrize("request_", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET /livez\r\n\r\n"])
def test_what_is_no_request_gets_400(server: Server, request_: bytes) -> None:
    assert b" 400 " in talk(server, request_).split(b"\r\n")[0]


@pytest.mark.parametrize("request_", [b"", b"GET /livez HTTP/1.1\r\n", b"GET /" + b"x" * ours.LARGEST + b"\r\n"])
def test_an_unfinished_or_endless_request_gets_nothing(server: Server, request_: bytes) -> None:
    with suppress(ConnectionResetError):  # it had more to read
        assert talk(server, request_) == b""


def test_silent_clients_take_no_more_than_their_share_and_go(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "PATIENCE", 1.0)
    with ExitStack() as stack:
        for _ in range(ours.MOST):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        assert talk(server, b"") == b"", "one more is closed at once"
        quiet = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        assert quiet.recv(1) == b""
    for _ in range(100):
        try:
            assert ask(server, "GET", "/livez")[0] == 200
            return
        except (ConnectionError, http.client.HTTPException):
            continue
    pytest.fail("those who were silent still have their places")


def test_each_takes_the_next_free_port_and_the_last_fails_by_name() -> None:
    with ExitStack() as stack:
        first = Server(PAGES, address="127.0.0.1", port=0)
        stack.callback(first.close)
        second = Server(PAGES, address="127.0.0.1", port=first.port, ports=20)
        stack.callback(second.close)
        assert first.port < second.port < first.port + 20
        with pytest.raises(NoPortError, match=f"^port {first.port} of 127.0.0.1 can be listened on: "):
            Server(PAGES, address="127.0.0.1", port=first.port, ports=1)


def test_a_closed_server_frees_its_port() -> None:
    server = Server(PAGES, address="127.0.0.1", port=0).start()
    port = server.port
    assert ask(server, "GET", "/livez")[0] == 200
    server.close()
    again = Server(PAGES, address="127.0.0.1", port=port, ports=1)
    again.close()
