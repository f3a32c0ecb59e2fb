"""Flower never answers whom it does not know, also not on this machine: any page in a browser here can send it requests."""

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.processes import Running, carillon, environ, free_port, until
from tests.system.ops.flowers import AUTH, asked
from worker.cli.flower import refusal
from worker.state.redis import connect

SEND = "/api/task/send-task/carillon.fan_out"
EVENTS = b'{"kwargs": {"events": []}}'
EVIL = {"Origin": "http://evil.example", "Content-Type": "text/plain"}

Start = Callable[..., tuple[int, Running]]


@pytest.fixture
def start(postgres_url: str, redis_url: str, tmp_path: Path) -> Iterator[Start]:
    """Starts `carillon flower` on a free port, and waits until it answers."""
    running: list[Running] = []

    def starting(*arguments: str, **variables: str) -> tuple[int, Running]:
        port = free_port()
        env = environ(redis_url=redis_url, postgres_url=postgres_url) | variables
        command = [sys.executable, "-m", "worker.cli", "flower", "--port", str(port), *arguments]
        running.append(Running(command, env, tmp_path))
        until("Flower answers", lambda: asked(port, "/healthcheck", auth=None) == (200, b"OK"))
        return port, running[-1]

    yield starting
    for one in running:
        one.__exit__(None, None, None)


def test_a_password_is_made_printed_once_and_asked_for(start: Start, redis_url: str) -> None:
    port, flower = start(FLOWER_UNAUTHENTICATED_API="true")
    (made,) = re.findall(r"made for this run: (\S+) ", flower.output())
    for path in ("/", "/tasks", "/api/tasks", "/api/workers"):
        assert asked(port, path, auth=None)[0] == 401
        assert asked(port, path, auth="carillon:guessed")[0] == 401
        assert asked(port, path, auth=made)[0] == 200
    for headers in (EVIL, {}):
        assert asked(port, SEND, auth=None, body=EVENTS, headers=headers)[0] in (401, 403)
    # A page elsewhere, in a browser that remembers the password.
    assert asked(port, SEND, auth=made, body=EVENTS, headers=EVIL)[0] == 403
    assert asked(port, SEND, auth=made, body=EVENTS, headers={"Sec-Fetch-Site": "cross-site"})[0] == 403
    status, said = asked(port, "/api/tasks", auth=made, headers={"Host": "evil.example:5555"})
    assert status == 403
    assert b"not known as evil.example" in said
    with connect(redis_url) as client:
        assert client.llen("carillon:carillon.urgent") == 0
    assert flower.output().count(made.partition(":")[2]) == 1


def test_a_password_comes_from_a_file_and_other_names_when_asked_for(start: Start, tmp_path: Path) -> None:
    (file := tmp_path / "users").write_text(f"{AUTH}\nother:word\n")
    port, flower = start("--name", "flower.example.com", FLOWER_BASIC_AUTH_FILE=str(file))
    own = {"Host": "flower.example.com", "Origin": "http://flower.example.com"}
    assert asked(port, "/api/workers", headers=own)[0] == 200
    assert asked(port, "/api/workers", auth="other:word", headers=own)[0] == 200
    assert asked(port, "/api/workers", auth=None, headers=own)[0] == 401
    assert asked(port, SEND, body=b"{}", headers=own | {"Content-Type": "application/json"})[0] == 200
    assert "made for this run" not in flower.output()


@pytest.mark.parametrize("text", ["", "no colon", "user:", ":word", "a:b,c"])
def test_a_file_without_a_user_and_a_password_is_refused(tmp_path: Path, text: str) -> None:
    (file := tmp_path / "users").write_text(text)
    done = carillon("flower", "--auth-file", str(file), env=environ(redis_url="redis://127.0.0.1:1"))
    assert done.returncode == 1
    assert "user:password" in done.stderr


def test_what_it_knows_outlives_a_restart_where_a_file_is_named(start: Start, tmp_path: Path, redis_url: str) -> None:
    def tasks(port: int) -> dict[str, Any]:
        return dict(json.loads(asked(port, "/api/tasks")[1]))

    kept = ("--db", str(tmp_path / "known"))
    port, flower = start(*kept, FLOWER_BASIC_AUTH=AUTH)
    with Celery("chat", broker=redis_url, set_as_current=False) as chat:
        chat.conf.broker_transport_options = {"global_keyprefix": "carillon:"}
        fields = {"uuid": "1", "name": "carillon.deliver", "args": "(chat/apns)"}
        with chat.connection() as broker:
            events = chat.events.Dispatcher(broker, hostname="urgent-1@host")
            until("Flower has heard", lambda: events.send("task-received", **fields) or "1" in tasks(port))
    flower.end(signal.SIGTERM)
    port, _ = start(*kept, FLOWER_BASIC_AUTH=AUTH)
    assert tasks(port)["1"]["args"] == "(chat/apns)"


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    done = carillon("flower", "--db", str(tmp_path / "known"), env=environ(redis_url="redis://127.0.0.1:1"))
    assert done.returncode == 1
    assert "others may write" in done.stderr


LOOPBACK = ("127.0.0.1", "localhost", "::1")


@pytest.mark.parametrize(
    ("method", "headers", "host", "well"),
    [
        pytest.param("POST", {}, "127.0.0.1", True, id="a program"),
        pytest.param("GET", {"Sec-Fetch-Site": "cross-site"}, "127.0.0.1", True, id="a link from elsewhere"),
        pytest.param("POST", {"Sec-Fetch-Site": "same-origin"}, "localhost", True, id="its own page"),
        pytest.param("POST", {"Sec-Fetch-Site": "same-site"}, "localhost", False, id="another port"),
        pytest.param("POST", {"Host": "[::1]:1", "Origin": "http://[::1]:1"}, "[::1]", True, id="IPv6"),
        pytest.param("POST", {"Host": "localhost:1", "Origin": "http://localhost:2"}, "localhost", False, id="origin"),
        pytest.param("POST", {"Host": "localhost:1", "Origin": "null"}, "localhost", False, id="a sandboxed frame"),
        pytest.param("GET", {}, "evil.example", False, id="a name that was bound anew"),
        pytest.param("GET", {}, "LOCALHOST", True, id="in capitals"),
    ],
)
def test_requests_of_other_pages_are_refused(method: str, headers: dict[str, str], host: str, well: bool) -> None:
    assert (refusal(method, headers, host, LOOPBACK) is None) is well
    if headers or well:
        assert refusal("GET", headers, host, None) is None
