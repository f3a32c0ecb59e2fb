"""Celery's own commands with our app: what works, and what is refused in words."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery

from config.celeryconfig import celery_config
from config.secrets import generate_key
from config.settings import Settings
from tests.processes import PATIENCE, ROOT, Running, environ, until

CELERY = [sys.executable, "-m", "celery", "-A", "worker.app"]


@pytest.fixture
def env(redis_url: str, postgres_url: str) -> dict[str, str]:
    return environ(redis_url=redis_url, postgres_url=postgres_url, secret_keys=generate_key())


@pytest.fixture
def worker(env: dict[str, str]) -> Iterator[Running]:
    with Running([sys.executable, "-m", "worker.cli", "worker", "--name", "one"], env) as running:
        until("it is ready", lambda: running.said("ready."))
        yield running


def celery(env: dict[str, str], *arguments: str) -> str:
    """What it says on both streams."""
    command = [*CELERY, *arguments]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.stdout + done.stderr


@pytest.mark.slow
def test_remote_control_of_a_worker(worker: Running, env: dict[str, str]) -> None:
    assert "1 node online" in celery(env, "status")
    client = Celery("client", set_as_current=False)
    client.conf.update(celery_config(Settings(), env["CARILLON_REDIS_URL"]))
    for command, arguments, said in (
        ("ping", {}, "pong"),
        ("active_queues", {}, "carillon.bulk"),
        ("stats", {}, "'max-concurrency': 64"),
        ("pool_grow", {"n": 2}, "start another worker"),
        ("autoscale", {"max": 2, "min": 1}, "start or stop workers"),
        ("time_limit", {"task_name": "carillon.tick", "soft": 3}, "threads have no time limits"),
        ("pool_restart", {}, "send SIGHUP to the process"),
        ("rate_limit", {"task_name": "carillon.canary", "rate_limit": "100/s"}, "new rate limit set"),
    ):
        replies = client.control.broadcast(command, arguments=arguments, reply=True, timeout=30, limit=1)
        assert said in str(replies)
    client.close()
    assert "it finishes what is in work and leaves" in celery(env, "control", "shutdown")
    assert worker.process.wait(PATIENCE) == 0
    assert "Traceback" not in worker.output() and "ERROR" not in worker.output()


@pytest.mark.slow
def test_workers_in_the_background_write_the_log_file_that_they_were_given(tmp_path: Path, env: dict[str, str]) -> None:
    """As `celery multi` and `--detach` start them."""
    pid, log = tmp_path / "one.pid", tmp_path / "one.log"
    celery(env, "worker", "--detach", f"--pidfile={pid}", f"--logfile={log}", "-B", "--purge", "-P", "prefork")
    try:
        until("the log says that it is ready", lambda: log.exists() and "ready." in log.read_text())
        with redis.Redis.from_url(env["CARILLON_REDIS_URL"]) as client:
            until("its beat gives signs of life", lambda: bool(client.exists("carillon:beat")))
    finally:
        os.kill(int(pid.read_text()), signal.SIGTERM)
    until("it has left", lambda: not pid.exists())
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("option", ["--autoscale=3,1", "--max-tasks-per-child=4", "--time-limit=5"])
def test_an_option_for_processes_is_refused(option: str, env: dict[str, str]) -> None:
    done = subprocess.run(
        [*CELERY, "worker", option], env=env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"carillon: threads do not know {option.partition('=')[0]}: ")
    assert "Traceback" not in done.stderr
