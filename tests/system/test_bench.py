"""`carillon bench` at its smallest size: what it measures is not judged here."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.processes import PATIENCE

_ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_bench_measures_every_cost_says_what_a_load_needs_and_leaves_nothing():
    load = ("--messages-per-second", "20000", "--apps", "500", "--kinds", "apns=60,fcm=30,web=10")
    command = [sys.executable, "-m", "worker.cli", "bench", "--seconds", "0.5", *load, "--json"]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        Path(directory).chmod(0o755)  # where it runs as root, the database runs as somebody else
        done = subprocess.run(
            command,
            cwd=_ROOT,
            env=os.environ | {"TMPDIR": directory},
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE,
            stdin=subprocess.DEVNULL,
        )
        assert list(Path(directory).iterdir()) == []
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {point["sort"] for point in found["points"]} == {"event", "few", "many", "direct", "apns", "fcm", "web"}
    assert found["costs"]["message"]["worker"] > 0
    assert set(found["costs"]["push"]) == {"apns", "fcm", "web"}
    assert found["load"]["pushes_per_second"] == pytest.approx(20_000 * 49)
    assert found["worker_processes"] > 1
    assert "Worker processes" in done.stderr


@pytest.mark.parametrize("kinds", ["apns", "apns=x", "sms=1", "apns=0", "apns=-1,fcm=2"])
def test_kinds_that_are_no_parts_are_refused_before_anything_starts(kinds: str):
    command = [sys.executable, "-m", "worker.cli", "bench", "--kinds", kinds]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 2
    assert "--kinds" in done.stderr
