"""The way to the token endpoint: no redirect is followed, and no answer is larger or slower than it may be."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from worker.providers.fcm import access_token
from worker.providers.fcm.access_token import LARGEST, AccessTokenAwayError, HttpPost, TokenAnswer

Answering = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Answering], str]]:
    """Starts a server that answers every POST so; returns its URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(answering: Answering) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                answering(self)

            def log_message(self, *_: object) -> None:
                """Tests have no access log."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/token"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"{}", **fields: str) -> None:
    handler.send_response(status)
    for name, value in ({"content-length": str(len(body))} | fields).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def post(url: str) -> TokenAnswer:
    with closing(HttpPost()) as way:
        return way(url, {"grant_type": "g", "assertion": "a"})


def test_an_answer_comes_with_its_date(serve: Callable[[Answering], str]) -> None:
    answer = post(serve(lambda handler: reply(handler, 400, b'{"error": "invalid_grant"}')))
    assert (answer.status, answer.body) == (400, b'{"error": "invalid_grant"}')
    assert answer.date and answer.date.endswith("GMT")


def test_no_redirect_is_followed(serve: Callable[[Answering], str]) -> None:
    got: list[str] = []

    def other(handler: BaseHTTPRequestHandler) -> None:
        got.append(handler.path)
        reply(handler, 200)

    elsewhere = serve(other)
    answer = post(serve(lambda handler: reply(handler, 307, location=elsewhere)))
    assert answer.status == 307 and not got


def test_an_answer_that_is_too_large_is_not_read_to_its_end(serve: Callable[[Answering], str]) -> None:
    with pytest.raises(AccessTokenAwayError, match="too large"):
        post(serve(lambda handler: reply(handler, 200, b"x" * (LARGEST + 1))))


def test_the_whole_exchange_has_an_end(serve: Callable[[Answering], str], monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        """A byte at a time, each within the time that a part may take."""
        handler.send_response(200)
        handler.end_headers()
        while not done.wait(0.05):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    monkeypatch.setattr(access_token, "DEADLINE", 0.5)
    with pytest.raises(AccessTokenAwayError, match="deadline"):
        post(serve(drip))
    done.set()


def test_an_endpoint_that_is_not_there_is_said_without_the_request() -> None:
    with pytest.raises(AccessTokenAwayError, match="no answer: ConnectError") as raised:
        post("http://127.0.0.1:1/token")
    assert raised.value.__cause__ is None and raised.value.cause.startswith("access token: ")
