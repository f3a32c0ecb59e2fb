"""A system on embedded engines: found upwards, made by four commands only, with a simulator that stays itself."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from config.settings import Settings, nearest_home
from tests.processes import PATIENCE, Running, carillon, environ, until, using
from worker.cli._own_simulator import OwnSimulator
from worker.cli.up import next_steps
from worker.simulator.certificates import kept_identity
from worker.simulator.web.subscriptions import Wish, make

PROGRAM = [sys.executable, "-P", "-m", "worker.cli"]
ENGINELESS = [
    ["app", "list"],
    ["app", "create", "chat"],
    ["publish", "--app", "chat", "--channel", "general", "--sender", "leia", "--text", "hello"],
    ["why", "hello-1", "--app", "chat"],
    ["member", "add", "general", "han", "--app", "chat"],
    ["outbox", "status"],
    ["dead-letters", "list"],
    ["doctor"],
    ["health"],
    ["first-push"],
]


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = environ() | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [*PROGRAM, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_the_nearest_home_upwards_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "chat" / "server"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert nearest_home() == below / ".carillon"
    (tmp_path / ".carillon").mkdir()
    assert nearest_home() == tmp_path / ".carillon"
    (tmp_path / "chat" / ".carillon").mkdir()
    assert nearest_home() == tmp_path / "chat" / ".carillon"
    (below / ".carillon").touch()  # no directory
    assert nearest_home() == tmp_path / "chat" / ".carillon"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_the_home_of_another_user_above_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".carillon").mkdir()
    os.chown(tmp_path / ".carillon", 12345, 12345)
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert nearest_home() == tmp_path / "mine" / ".carillon"


@pytest.mark.parametrize("words", ENGINELESS, ids=[" ".join(words[:2]) for words in ENGINELESS])
def test_a_command_makes_no_system(words: list[str], tmp_path: Path) -> None:
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert f"there is no .carillon in {tmp_path} or above it" in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ENGINELESS[:3], ids=[" ".join(words[:2]) for words in ENGINELESS[:3]])
def test_a_command_starts_no_engine_of_a_system_that_rests(words: list[str], tmp_path: Path) -> None:
    (tmp_path / ".carillon").mkdir(mode=0o700)
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert (
        f"nobody runs the engines in {tmp_path}/.carillon: start them with carillon up, or carillon engines without workers"
        in done.stderr
    )
    assert using(tmp_path) == []


def test_a_simulator_keeps_its_ca_in_a_directory(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in kept_identity(tmp_path, ["localhost", "127.0.0.1"])]
    assert [path.read_bytes() for path in kept_identity(tmp_path, ["127.0.0.1", "localhost"])] == first
    other = [path.read_bytes() for path in kept_identity(tmp_path, ["localhost"])]
    assert other != first
    (tmp_path / "server.key").write_text("no key")
    assert [path.read_bytes() for path in kept_identity(tmp_path, ["localhost"])] != other


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    left = using(tmp_path / ".carillon")
    for process in left:
        process.kill()
    assert not left


def up(place: Path, *options: str) -> Running:
    env = environ() | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return Running([*PROGRAM, "up", *options], env, cwd=place)


def address(running: Running) -> str:
    until("it says how to go on", lambda: running.said("or all of it at once"))
    (found,) = re.findall(r"^carillon APNs +(\S+)", running.output(), re.MULTILINE)
    return str(found)


def use(page: str) -> None:
    """What the example page asks for, from a browser whose push service cannot be reached."""
    with httpx.Client(base_url=page, headers={"origin": page}, timeout=PATIENCE) as client:
        key = client.get("/config.json").json()["public_key"]
        [subscription] = make(0, Wish(service="mozilla", key=key))
        registered = client.post("/subscription", json=subscription)
        assert registered.status_code == 204, registered.text
        assert client.post("/message", json={}).status_code == 204
        refused = client.post("/subscription", json=subscription | {"endpoint": "https://127.0.0.1/x"})
        assert refused.status_code == 409
        assert "address in place of a host" in refused.json()["error"]
        ended = client.request("DELETE", "/subscription", json={"endpoint": subscription["endpoint"]})
        assert ended.status_code == 204
        assert client.get("/config.json").json()["public_key"] == key


@pytest.mark.slow
def test_up_leads_to_a_first_push_and_so_does_the_next_one(place: Path) -> None:
    below = place / "below"
    below.mkdir()
    with up(place) as running:
        first = address(running)
        steps = [line.strip() for line in running.lines if line.startswith("  ")]
        assert steps[0] == f"cd {place}"
        assert steps[1].startswith(". ")
        done = subprocess.run(
            ["sh", "-e", "-c", "\n".join(steps)],
            cwd="/",
            env=environ(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "1 accepted, 0 refused" in done.stdout
        assert "han gets a push" in done.stdout
        assert "warning" not in done.stderr
        assert done.stderr.count(f"carillon: the system in {place}/.carillon") == 4

        again = run("up", cwd=below)
        assert again.returncode == 1
        assert f"carillon up runs already in {place}/.carillon" in again.stderr

        shown = json.loads(run("first-push", "--text", "Hi", "--json", cwd=below).stdout)
        assert shown["payload"]["aps"]["alert"]["body"] == "Hi"
        payloads = shown["payloads"]
        assert payloads.keys() == {"apns", "fcm", "web"}
        assert payloads["fcm"]["message"]["android"]["data"]["body"] == "Hi"
        assert payloads["web"]["notification"]["body"] == "Hi"
        run("push", "remove", "simulator-fcm", "--app", "chat", "--yes", cwd=below)
        without = run("first-push", cwd=below)
        assert without.returncode == 0
        assert "No Android phone: there is no provider 'simulator-fcm'" in without.stdout
        assert not (below / ".carillon").exists()
        [page] = re.findall(r"^carillon Page +(\S+)", running.output(), re.MULTILINE)
        use(page)
        assert running.end(signal.SIGINT) == 0
    with up(place) as running:
        assert address(running) == first
        assert "The Android phone of han got this" in run("first-push", cwd=below).stdout
        assert running.end(signal.SIGINT) == 0


@pytest.mark.slow
def test_up_without_a_simulator_says_how_to_store_a_key(place: Path) -> None:
    with up(place, "--no-simulator") as running:
        until("it says how to go on", lambda: running.said("carillon push apn --app chat"))
        done = run("first-push", cwd=place)
        assert done.returncode == 2
        assert "start it again with --simulator" in done.stderr
        done = run("publish", "--app", "chat", "--channel", "c", "--sender", "leia", "--text", "x", cwd=place)
        assert done.returncode == 0
        assert "warning: nobody is notified of evt-" in done.stderr
        assert "there is no app 'chat': carillon app create chat" in done.stderr
        assert running.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("directory", "line"),
    [("/srv/a b/.carillon", "cd '/srv/a b'"), ("/srv/a b/data", "export CARILLON_DATA_DIR='/srv/a b/data'")],
)
def test_the_next_steps_find_the_system_from_anywhere(directory: str, line: str) -> None:
    own = OwnSimulator(Path(directory) / "simulator", 1, 2, 3, 4)
    steps = next_steps(own, True, Settings(data_dir=Path(directory)))
    assert steps[1] == f"  {line}"


def test_without_an_app_the_next_step_is_to_make_one() -> None:
    assert "  carillon app create chat" in next_steps(None, False, Settings())
    assert next_steps(None, True, Settings()) == ["Next, in another terminal: carillon doctor says what is missing"]


def test_a_part_alone_starts_no_engine_and_says_who_does(tmp_path: Path) -> None:
    with Running([sys.executable, "-m", "worker.cli", "beat"], environ(data_dir=str(tmp_path / "data"))) as running:
        until("it says that it waits", lambda: running.said("carillon up; waiting 30 s for that"))
        assert using(tmp_path / "data") == [psutil.Process(running.process.pid)]
        assert not (tmp_path / "data").exists()


def test_the_engines_run_alone_and_a_part_joins_them(tmp_path: Path) -> None:
    env = environ(data_dir=str(tmp_path / "data"))
    with Running([sys.executable, "-m", "worker.cli", "beat"], env) as beat:
        until("it waits", lambda: beat.said("waiting 30 s"))
        with Running([sys.executable, "-m", "worker.cli", "engines"], env) as engines:
            until("it says so", lambda: engines.said("the engines run"))
            until("beat works", lambda: "beat: ticks" in carillon("health", "--beat", env=env).stdout)
            assert engines.end(signal.SIGTERM) == 0
        assert beat.process.poll() is None, "they run as long as somebody uses them"
        beat.end(signal.SIGTERM)
    until("nothing is left", lambda: using(tmp_path / "data") == [])
