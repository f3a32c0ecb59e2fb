"""`carillon publish` and `python -m producers publish`, as a person at a shell meets them."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from producers.__main__ import main
from producers.events import MessageNew
from tests.integration.producers.stored import ids, stored
from tests.unit.producers.examples import MESSAGE, numbered
from tests.valkey import free_port
from worker.cli._commands import app

PROGRAMS = [
    pytest.param(["-c", "from worker.cli import main; main()"], id="carillon"),
    pytest.param(["-m", "producers"], id="python -m producers"),
]


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(params=["carillon", "python -m producers"])
def run(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `publish` with arguments, in this process."""

    def carillon(*arguments: str) -> Ran:
        result = CliRunner().invoke(app, ["publish", *arguments])
        return Ran(result.exit_code, result.stdout, result.stderr)

    def producers(*arguments: str) -> Ran:
        code = main(["publish", *arguments])
        return Ran(code, *capsys.readouterr())

    return carillon if request.param == "carillon" else producers


#: Ids that are printed of 3,000 events.
NAMED = b"".join(
    [b"3,000 accepted, 0 refused\n", *(b"  evt-%d\n" % number for number in range(20)), b"  and 2,980 more\n"]
)


def lines(count: int) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in numbered(count))


@pytest.mark.parametrize("program", PROGRAMS)
def test_standard_input_goes_where_the_environment_says(program: list[str], redis_url: str) -> None:
    environ = {**os.environ, "CARILLON_REDIS_URL": redis_url}
    command = [sys.executable, *program, "publish", "-"]
    ran = subprocess.run(command, env=environ, input=lines(3_000), capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, NAMED, b"")
    assert ids(redis_url) == [event["id"] for event in numbered(3_000)]


def test_bad_lines_are_named_and_good_ones_go_through(run: Run, redis_url: str, tmp_path: Path) -> None:
    bad = json.dumps({**MESSAGE, "message": {"id": "m", "text": 5}}).encode() + b"\n"
    (tmp_path / "events.jsonl").write_bytes(lines(2) + bad + lines(1))
    ran = run(str(tmp_path / "events.jsonl"), "--json", "--redis-url", redis_url)
    assert ran.code == 2
    expected = {"accepted": 3, "refused": 1, "stopped": None, "events": ["evt-0", "evt-1", "evt-0"]}
    assert json.loads(ran.out).items() >= expected.items()
    # Above it is the warning of a password on the command line.
    assert ran.err.splitlines()[-1] == "line 3: message.text: expected a string, got a whole number"
    assert ids(redis_url) == ["evt-0", "evt-1", "evt-0"]


def test_one_message_is_made_of_flags(run: Run, redis_url: str) -> None:
    who = ["--app", "demo", "--channel", "general", "--sender", "leia", "--sender-name", "Leia", "--text", "hello"]
    more = [
        "--mention",
        "han",
        "--mention",
        "luke",
        "--data",
        '{"place": 3}',
        "--mention-everyone",
        "--skip-push",
        "--id",
        "evt-7",
    ]
    ran = run(*who, *more, "--redis-url", redis_url)
    assert ran.code == 0
    assert ran.out.splitlines()[:2] == ["1 accepted, 0 refused", "  evt-7"]
    ((_, event),) = stored(redis_url)
    assert isinstance(event, MessageNew)
    assert (event.id, event.app, event.channel.id, event.sender.name) == ("evt-7", "demo", "general", "Leia")
    assert (event.message.text, event.message.mentioned, event.message.data) == ("hello", ["han", "luke"], {"place": 3})
    assert event.message.skip_push and event.message.mentions_everyone
    assert event.recipients is None


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        pytest.param([], "app: required; give a FILE or -, or --app", id="nothing to publish"),
        pytest.param(["--app", "demo", "--channel", "c"], "sender: required", id="no sender"),
        pytest.param(["/no/such/file"], "No such file", id="no such file"),
        pytest.param(
            ["--app", "demo", "--channel", "c", "--sender", "s", "--data", "{"],
            "data: not JSON",
            id="data that is none",
        ),
        pytest.param(["--app", "a:b", "--channel", "c", "--sender", "s"], "app: must not have a colon", id="a bad app"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(run: Run, redis_url: str, arguments: list[str], fault: str) -> None:
    ran = run(*arguments, "--redis-url", redis_url)
    assert ran.code == 2
    assert fault in ran.err
    assert ids(redis_url) == []


def test_a_redis_that_is_away_is_exit_code_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(lines(2))
    url = f"redis://:s3cret@127.0.0.1:{free_port()}/0"
    ran = run(str(tmp_path / "events.jsonl"), "--timeout", "0.2", "--redis-url", url)
    assert ran.code == 1
    assert "0 of 2 events were accepted" in ran.err
    assert "s3cret" not in ran.err


def test_a_redis_url_that_is_none_is_refused(run: Run) -> None:
    ran = run("--app", "demo", "--channel", "c", "--sender", "s", "--redis-url", "localhost")
    assert ran.code == 2
    assert "redis://" in ran.err


def test_a_terminal_sees_progress(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(lines(2_000))
    screen, terminal = pty.openpty()
    program = [sys.executable, "-c", "from worker.cli import main; main()", "publish", str(tmp_path / "events.jsonl")]
    environ = {**os.environ, "CARILLON_REDIS_URL": redis_url, "TERM": "xterm-256color", "COLUMNS": "80"}
    ran = subprocess.run(program, env=environ, stdout=subprocess.PIPE, stderr=terminal, timeout=60, check=True)
    os.close(terminal)
    shown = os.read(screen, 1 << 20)
    os.close(screen)
    assert b"2,000 accepted" in shown
    assert ran.stdout.startswith(b"2,000 accepted, 0 refused\n")
