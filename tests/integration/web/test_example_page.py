"""The server of the example page for Web Push: its files, what the page may ask for, and who else may not."""

import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from worker.demo.page import LARGEST, ChatError, Page
from worker.providers.web.vapid import new_key_pair

KEYS = new_key_pair()


class Chat:
    """Writes down what the page asks for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def public_key(self) -> str:
        return KEYS.public

    def subscribe(self, subscription: Mapping[str, Any]) -> None:
        if "endpoint" not in subscription:
            raise ChatError("device.subscription.endpoint: missing")
        self.asked.append(("subscribe", subscription["endpoint"]))

    def unsubscribe(self, endpoint: str) -> None:
        self.asked.append(("unsubscribe", endpoint))

    def send(self) -> None:
        self.asked.append("send")

    def close(self) -> None:
        self.asked.append("close")


@pytest.fixture
def chat() -> Chat:
    return Chat()


@pytest.fixture
def page(chat: Chat) -> Iterator[Page]:
    served = Page(chat)
    yield served
    served.close()
    assert chat.asked[-1] == "close"


def ask(
    page: Page, method: str, path: str, body: str | None = None, **changed: str | None
) -> tuple[int, dict[str, str], bytes]:
    """An answer: status, header fields, body. `changed`: header fields that the page would send otherwise."""
    authority = page.url.removeprefix("http://")
    headers: dict[str, str | None] = {"host": authority, "origin": page.url, "content-type": "application/json"}
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    connection = http.client.HTTPConnection(authority, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True)
        if body is not None and "content-length" not in headers:
            headers["content-length"] = str(len(body))
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(None if body is None else body.encode())
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_it_gives_out_its_files_with_a_strict_policy(page: Page) -> None:
    for path, kind in (
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/sw.js", "text/javascript"),
        ("/page.css", "text/css"),
    ):
        status, headers, body = ask(page, "GET", path)
        assert (status, headers["content-type"].partition(";")[0]) == (200, kind)
        assert body
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
    assert json.loads(ask(page, "GET", "/config.json")[2]) == {"public_key": KEYS.public}


@pytest.mark.parametrize("path", ["/index.html/..", "/../page.py", "/%2e%2e/page.py", "/web/app.js", "/?a"])
def test_it_gives_out_nothing_else(page: Page, path: str) -> None:
    assert ask(page, "GET", path)[0] == 404


def test_the_page_subscribes_tries_and_ends_it(page: Page, chat: Chat) -> None:
    assert ask(page, "POST", "/subscription", '{"endpoint": "https://push.example/1"}')[0] == 204
    assert ask(page, "POST", "/message", "{}")[0] == 204
    assert ask(page, "DELETE", "/subscription", '{"endpoint": "https://push.example/1"}')[0] == 204
    assert chat.asked == [("subscribe", "https://push.example/1"), "send", ("unsubscribe", "https://push.example/1")]


def test_localhost_is_its_name_as_well(page: Page) -> None:
    name = page.url.removeprefix("http://").replace("127.0.0.1", "localhost")
    assert ask(page, "GET", "/", host=name)[0] == 200
    assert ask(page, "POST", "/message", "{}", host=name, origin=f"http://{name}")[0] == 204


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"host": "chat.example.com"}, id="a name that somebody points here"),
        pytest.param({"host": None}, id="no name"),
        pytest.param({"origin": "http://chat.example.com"}, id="from a page elsewhere"),
        pytest.param({"origin": "http://127.0.0.1:1"}, id="from another port"),
        pytest.param({"origin": "null"}, id="from a sandbox"),
        pytest.param({"origin": None}, id="nobody says from where"),
        pytest.param({"content_type": "text/plain"}, id="as a form sends it"),
    ],
)
def test_others_change_nothing(page: Page, chat: Chat, changed: dict[str, str | None]) -> None:
    assert ask(page, "POST", "/message", "{}", **changed)[0] in (400, 403)
    assert ask(page, "POST", "/subscription", '{"endpoint": "https://push.example/1"}', **changed)[0] in (400, 403)
    assert chat.asked == []


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_elsewhere_does_not_ask_for_the_key(page: Page, site: str) -> None:
    assert ask(page, "GET", "/config.json", sec_fetch_site=site)[0] == 403
    assert ask(page, "GET", "/", sec_fetch_site=site)[0] == 200


def test_a_name_that_somebody_points_here_reads_nothing(page: Page) -> None:
    assert ask(page, "GET", "/config.json", host="chat.example.com")[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/subscription", "not JSON", 400),
        ("POST", "/subscription", "[]", 400),
        ("POST", "/subscription", "[" * 5000, 400),
        ("POST", "/subscription", '{"keys": {}}', 409),
        ("DELETE", "/subscription", "{}", 400),
        ("DELETE", "/message", "{}", 400),
        ("POST", "/elsewhere", "{}", 404),
        ("POST", "/message", " " * (LARGEST + 1), 413),
        ("PUT", "/message", "{}", 501),
    ],
)
def test_what_it_cannot_take_it_refuses(page: Page, chat: Chat, method: str, path: str, body: str, status: int) -> None:
    found, headers, _ = ask(page, method, path, body)
    assert found == status
    assert headers["connection"] == "close"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert chat.asked == []
