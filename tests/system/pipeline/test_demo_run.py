"""The demo from the outside: a small one balances, one in which something goes wrong says so and ends with 1."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tests.processes import PATIENCE, ROOT, environ, until, words
from worker.demo.expectation import read_all
from worker.demo.generator import generate
from worker.demo.show import Wish, steady_of
from worker.embedded import Engines
from worker.simulator import Answer, Rule, Script
from worker.simulator.faults import Reset

pytestmark = pytest.mark.slow
SMALL = Wish(users=400, channels=40, messages=300)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Where the demo makes its directory. Every process that it starts has it in its environment."""
    with tempfile.TemporaryDirectory(prefix="demo-") as directory:
        Path(directory).chmod(0o755)  # where it runs as root, the database runs as somebody else
        yield Path(directory)


def left(temporary: Path) -> list[str]:
    """The command lines of what the demo started and is still there."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(temporary) and words(process):
                found.append(" ".join(words(process)))
        except psutil.Error:
            continue
    return found


def start(temporary: Path, *more: str) -> subprocess.Popen[str]:
    wish = ("--users", str(SMALL.users), "--channels", str(SMALL.channels), "--messages", str(SMALL.messages))
    command = [sys.executable, "-m", "worker.cli", "demo", *wish, "--workers", "1", "--json", *more]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=environ() | {"TMPDIR": str(temporary)}
    )


def finish(demo: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    try:
        out, shown = demo.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        demo.terminate()
        out, shown = demo.communicate(timeout=PATIENCE)
    assert out, shown
    return demo.returncode, json.loads(out.splitlines()[-1]), shown


def test_a_small_demo_balances_and_what_it_kept_can_be_asked_about(temporary):
    code, account, shown = finish(start(temporary, "--keep"))
    assert code == 0, shown
    assert account["balances"] is True
    assert [account[name] for name in ("lost", "duplicates", "unexpected", "wrong_content")] == [0, 0, 0, 0]
    assert account["messages"] == SMALL.messages
    assert account["accepted"] > 1000
    assert account["skipped_pushes"]["no_silent_push"] > 0
    assert account["kinds"].keys() == {"apns", "fcm", "web"}
    for kind in account["kinds"].values():
        assert kind["expected"] == kind["accepted"] > 100
        assert kind["tried_again"]
        assert kind["retired"]
    assert account["retired"]["Unregistered"] > 0
    assert account["kinds"]["fcm"]["retired"]["UNREGISTERED"] > 0
    assert account["kept"] > 0
    assert account["tried_again"]
    assert account["latency_ms"]["steady"]["p50"] > 0
    assert account["pushes_per_second"] > 0
    assert "The account balances" in shown
    assert left(temporary) == []
    engines = Engines(Path(account["data_dir"]))
    engines.start()  # once, for all that is asked
    try:
        explain(shown, environ(data_dir=account["data_dir"]))
    finally:
        engines.stop()


def explain(shown: str, kept: dict[str, str]) -> None:
    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "worker.cli", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=kept, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    asked = next(line for line in shown.splitlines() if "a reply in a thread" in line).split()
    assert asked[:2] == ["carillon", "why"]
    done = ask(*asked[1:5])
    assert done.returncode == 0
    assert "not part of the thread" in done.stdout
    assert "accepted by APNs" in done.stdout
    letters = [json.loads(line) for line in ask("dead-letters", "--json").stdout.splitlines()]
    assert [letter["event"] for letter in letters] == ["mistake-2", "mistake-1"]
    assert "no provider 'no such provider'" in letters[0]["error"]
    shown_letter = json.loads(ask("dead-letters", "show", str(letters[1]["id"]), "--json").stdout)
    assert json.loads(shown_letter["document"])["id"] == "mistake-1"
    assert ask("why", "never-published", "--app", "demo").returncode == 1


def test_a_demo_in_which_a_push_is_lost_and_another_comes_twice_says_so(temporary):
    world = generate(
        SMALL.seed,
        app="demo",
        users=SMALL.users,
        channels=SMALL.channels,
        messages=SMALL.messages,
        steady=steady_of(SMALL.messages),
        now_ms=1_795_000_000_000,
    )
    devices = [device for reading in read_all(world) for some in reading.notified.values() for device in some]
    lost, twice = list(
        dict.fromkeys(device.token for device in devices if (device.kind, device.nature) == ("apns", "live"))
    )[:2]
    script = Script(
        rules=(
            # For good and without a fault of the device: the sender must give it up.
            Rule(token=lost, count=1, answer=Answer("PayloadTooLarge")),
            # It was taken, and nobody said so: the sender must send it again, and a device would show it once.
            Rule(token=twice, count=1, fault=Reset(code="INTERNAL_ERROR")),
        )
    )
    file = temporary / "script.json"
    file.write_bytes(msgspec.json.encode(script))
    code, account, shown = finish(start(temporary, "--script", str(file)))
    assert code == 1, shown
    assert (account["lost"], account["duplicates"], account["unexpected"]) == (1, 1, 0)
    assert account["balances"] is False
    assert "The account does not balance" in shown
    assert list(temporary.iterdir()) == [file]
    assert left(temporary) == []


def test_an_interrupted_demo_leaves_nothing_behind(temporary):
    demo = start(temporary)
    until("the workers are started", lambda: any("worker.cli._child" in command for command in left(temporary)))
    demo.send_signal(signal.SIGINT)
    out, shown = demo.communicate(timeout=PATIENCE)
    assert (demo.returncode, out) == (130, ""), shown
    assert "nothing is left running" in shown
    assert list(temporary.iterdir()) == []
    assert left(temporary) == []
