"""The embedded engines: started once, shared, stopped with the last user, and whole again after any crash."""

import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from config.settings import load
from tests.processes import ROOT, until, using, words
from worker.embedded import Engines, Urls, engines, running
from worker.embedded.engines import answering
from worker.embedded.unprivileged import reachable

pytestmark = pytest.mark.slow
USER = """
import sys, time
from pathlib import Path
from worker.embedded import Engines
engines = Engines(Path(sys.argv[1]))
print(engines.start().redis, flush=True)
sys.stdin.read()
engines.stop()
"""


def pids(data_dir: Path) -> dict[str, int]:
    """By engine. One that the supervisor is just starting again has none."""
    found = {}
    for engine in ("postgres", "valkey"):
        with suppress(FileNotFoundError):
            found[engine] = int((data_dir / "pids" / engine).read_text().split()[0])
    return found


@contextmanager
def use(data_dir: Path) -> Iterator[Engines]:
    """The engines, which a failure stops too."""
    made = Engines(data_dir)
    try:
        yield made
    finally:
        made.stop()


def nothing_runs(data_dir: Path) -> bool:
    return not using(data_dir)


def supervisor(data_dir: Path) -> psutil.Process:
    (found,) = [process for process in using(data_dir) if "worker.embedded.supervisor" in words(process)]
    return found


def command(data_dir: Path) -> subprocess.Popen[str]:
    """Another command that uses the engines until its input ends."""
    arguments = [sys.executable, "-c", USER, str(data_dir)]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def address(user: subprocess.Popen[str]) -> str:
    assert user.stdout is not None
    return user.stdout.readline().strip()


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A directory with a short path: PostgreSQL's socket is in it, whatever the path of the tests' own directories."""
    with tempfile.TemporaryDirectory(prefix="carillon-") as parent:
        directory = Path(parent) / "data"
        yield directory
        for process in using(directory):
            if USER in words(process):  # of a test that failed
                process.kill()
        until("every engine has stopped", lambda: nothing_runs(directory))


def test_both_engines_work_and_are_gone_afterwards(data_dir: Path) -> None:
    with engines(load({"CARILLON_DATA_DIR": str(data_dir)})) as urls:
        assert answering(urls)
        assert not nothing_runs(data_dir)
    assert nothing_runs(data_dir)


def test_what_was_written_is_there_at_the_next_start_under_the_same_address(data_dir: Path) -> None:
    settings = load({"CARILLON_DATA_DIR": str(data_dir)})
    with engines(settings) as first:
        with redis.Redis.from_url(first.redis) as client:
            client.set("kept", "yes")
        with psycopg.connect(first.postgres) as connection:
            connection.execute("CREATE TABLE kept (n int)")
    with engines(settings) as second:
        with redis.Redis.from_url(second.redis) as client:
            assert client.get("kept") == b"yes"
        with psycopg.connect(second.postgres) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    assert (first.redis, first.postgres) == (second.redis, second.postgres)


def test_configured_engines_are_used_and_none_is_started(data_dir: Path) -> None:
    environ = {"CARILLON_REDIS_URL": "redis://r", "CARILLON_POSTGRES_URL": "postgresql://p"}
    with engines(load(environ | {"CARILLON_DATA_DIR": str(data_dir)})) as urls:
        assert (urls.redis, urls.postgres) == ("redis://r", "postgresql://p")
    assert not data_dir.exists()


def test_commands_that_start_at_once_share_the_engines_and_the_last_one_stops_them(data_dir: Path) -> None:
    users = [command(data_dir) for _ in range(3)]
    addresses = {address(user) for user in users}
    assert len(addresses) == 1
    for user in users[:2]:
        user.communicate("")
    (remaining,) = addresses
    with redis.Redis.from_url(remaining) as client:
        assert client.ping()
    users[2].communicate("")
    assert [user.returncode for user in users] == [0, 0, 0]
    assert nothing_runs(data_dir)


def test_a_killed_user_leaves_no_engine_behind(data_dir: Path) -> None:
    user = command(data_dir)
    assert address(user)
    user.kill()
    user.communicate()
    until("the supervisor has noticed", lambda: nothing_runs(data_dir))


def test_a_killed_supervisor_is_replaced_and_its_engines_with_it(data_dir: Path) -> None:
    with use(data_dir) as first, use(data_dir) as second:
        before = first.start()
        orphans = pids(data_dir)
        supervisor(data_dir).kill()
        until("its lock is free", lambda: running(data_dir) is None)
        until("its engines go on without it", lambda: answering(before))
        after = second.start()
        assert answering(after)
        assert not set(orphans.values()) & set(pids(data_dir).values())
        first.stop()
        assert answering(after)
        second.stop()
        assert nothing_runs(data_dir)


def test_engines_orphaned_by_their_supervisor_are_stopped_by_the_last_user(data_dir: Path) -> None:
    with use(data_dir) as user:
        user.start()
        supervisor(data_dir).kill()
    assert nothing_runs(data_dir)


@pytest.mark.parametrize("engine", ["postgres", "valkey"])
def test_a_crashed_engine_comes_back_at_the_same_address(data_dir: Path, engine: str) -> None:
    with use(data_dir) as user:
        urls = user.start()
        crashed = pids(data_dir)[engine]
        os.kill(crashed, signal.SIGKILL)
        until("a new one has taken its place", lambda: pids(data_dir).get(engine, crashed) != crashed)
        until("it answers", lambda: answering(urls))


def test_everything_killed_at_once_is_recovered(data_dir: Path) -> None:
    user = command(data_dir)
    assert address(user)
    # A supervisor that outlives its last user begins to stop the engines.
    for pid in (supervisor(data_dir).pid, user.pid, *pids(data_dir).values()):
        os.kill(pid, signal.SIGKILL)
    user.communicate()
    with engines(load({"CARILLON_DATA_DIR": str(data_dir)})) as urls:
        assert answering(urls)


@pytest.mark.skipif(
    os.geteuid() != 0 or not reachable(Path(sys.executable).resolve()),
    reason="only root can become somebody else, and that one must reach this Python",
)
def test_an_ordinary_user_starts_engines_too(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        arguments = [sys.executable, "-B", "-c", USER, f"{home}/data"]
        done = subprocess.run(
            arguments,
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            input="",
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("redis://")
        assert nothing_runs(Path(home))


@pytest.mark.skipif(os.geteuid() != 0, reason="closed directories are closed to others than root")
def test_root_needs_to_open_no_directory_for_the_database(data_dir: Path) -> None:
    data_dir.parent.chmod(0o700)
    with engines(load({"CARILLON_DATA_DIR": str(data_dir)})) as urls:
        assert answering(urls)
        assert psutil.Process(pids(data_dir)["postgres"]).uids().effective == pwd.getpwnam("nobody").pw_uid
    assert data_dir.parent.stat().st_mode & 0o777 == 0o700


def test_a_data_directory_with_a_very_long_path_answering(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 100) / ("b" * 100)
    with engines(load({"CARILLON_DATA_DIR": str(deep)})) as urls:
        assert answering(urls)
    assert nothing_runs(deep)


def test_addresses_do_not_show_in_a_repr() -> None:
    assert repr(Urls("redis://:secret@h", "postgresql://u:secret@h")) == "Urls()"
