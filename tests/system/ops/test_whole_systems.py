"""The whole system as a developer and as ops start it: `carillon up`, and the Procfile under honcho."""

import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.processes import Running, carillon, environ, free_port, until, using, words
from tests.system.ops.flowers import AUTH, asked, page

pytestmark = pytest.mark.slow


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "data"
    yield directory
    left = using(directory)
    for process in left:
        process.kill()
    assert not left


def flower(port: int, path: str) -> Any:
    return json.loads(page(port, path))


def up(data_dir: Path, port: int) -> Running:
    # A port of its own: the usual one may be taken by another system that begins at the same time.
    ports = ["--port", str(port), "--dashboard-port", str(free_port())]
    return Running([sys.executable, "-m", "worker.cli", "up", *ports], environ(data_dir=str(data_dir)))


def children(data_dir: Path, *wanted: str) -> list[psutil.Process]:
    return [process for process in using(data_dir) if {"worker.cli._child", *wanted} <= set(words(process))]


def signed_in(dashboard: str, password: str) -> bool:
    form = {"name": "carillon", "password": password, "next": "/apps"}
    answer = httpx.post(f"{dashboard}/sign-in", data=form, headers={"Origin": dashboard}, follow_redirects=True)
    return answer.status_code == 200 and "role admin" in answer.text


def test_up_runs_everything_restarts_what_dies_and_leaves_nothing_behind(data_dir: Path) -> None:
    port = free_port()
    with up(data_dir, port) as running:
        until("it says that everything is up", lambda: running.said("everything is up"))
        until("it says where", lambda: running.said("Ctrl-C ends all of it"))
        for address in (f"http://127.0.0.1:{port}", "redis://default:", "postgresql://"):
            assert running.said(address)
        password, of_dashboard = re.findall(r"user carillon, password (\S+)", running.output())
        [dashboard] = re.findall(r"Dashboard (http://\S+)", running.output())
        assert signed_in(dashboard, of_dashboard) and not signed_in(dashboard, password)
        assert asked(port, "/api/workers", auth=None)[0] == 401
        assert asked(port, "/api/workers", auth=f"carillon:{password}")[0] == 200

        health = carillon("health", "--flower", f"http://127.0.0.1:{port}", env=environ(data_dir=str(data_dir)))
        assert (health.returncode, health.stdout.count("ok ")) == (0, 1)
        health = carillon("health", "--timeout", "60", env=environ(data_dir=str(data_dir)))
        assert (health.returncode, health.stdout.count("ok ")) == (0, 13), health.stdout

        (worker,) = children(data_dir, "worker", "bulk")
        worker.kill()
        until("it says that the worker died", lambda: running.said("ended with exit code"))
        until("there is another", lambda: bool(children(data_dir, "worker", "bulk")))
        until(
            "and it works",
            lambda: carillon("health", "--lane", "bulk", env=environ(data_dir=str(data_dir))).returncode == 0,
        )

        assert running.end(signal.SIGINT) == 0, running.output()
    assert using(data_dir) == []


def test_when_up_is_killed_nothing_of_it_stays(data_dir: Path) -> None:
    with up(data_dir, free_port()) as running:
        until("its children run", lambda: len(children(data_dir)) == 6)
        running.process.kill()
        until("everything has gone", lambda: using(data_dir) == [])


def test_the_procfile_boots_under_honcho_and_a_task_passes_through(data_dir: Path) -> None:
    port = free_port()
    env = environ(data_dir=str(data_dir)) | {"FLOWER_PORT": str(port), "FLOWER_BASIC_AUTH": AUTH}
    env |= {"DASHBOARD_PORT": str(dashboard := free_port())}
    with Running([sys.executable, "-m", "honcho", "start", "-c", "all=1,worker=2"], env) as running:
        wanted = (
            "health",
            "--timeout",
            "20",
            "--engines",
            "--lane",
            "all",
            "--beat",
            "--flower",
            f"http://127.0.0.1:{port}",
            "--dashboard",
            f"http://127.0.0.1:{dashboard}",
        )
        until(
            "every part gives a sign of life",
            lambda: running.process.poll() is None and carillon(*wanted, env=env).returncode == 0,
        )

        until("Flower knows each worker", lambda: len(flower(port, "/api/workers?status=1")) == 3)
        queues = {q["name"] for w in flower(port, "/api/workers?refresh=1").values() for q in w["active_queues"]}
        assert queues == {"carillon.urgent", "carillon.bulk"}

        def seen() -> bool:
            tasks = flower(port, "/api/tasks?taskname=carillon.fan_out").values()
            return any(task["state"] == "SUCCESS" and task["args"] == "(chat)" for task in tasks)

        assert carillon("app", "create", "chat", env=env).returncode == 0
        event = ("--app", "chat", "--channel", "general", "--sender", "leia", "--text", "hello")
        assert carillon("publish", *event, env=env).returncode == 0
        until("Flower has seen what became of a message", seen)
        running.end(signal.SIGTERM)
        until("everything has gone", lambda: using(data_dir) == [])
