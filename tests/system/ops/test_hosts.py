"""Services on odd hosts: strangers' user ids, nothing writable, few files, odd locales and time zones, signals, PID 1."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest
import redis

from config.secrets import generate_key
from tests.processes import PATIENCE, ROOT, Running, carillon, environ, free_port, until
from tests.programs import needs
from worker.process import host

COMMAND = [sys.executable, "-m", "worker.cli"]
SERVICES = [
    ["worker"],
    ["beat"],
    ["flower", "--port", str(free_port())],
    ["dashboard", "--port", str(free_port())],
    ["outbox", "relay"],
]


@pytest.fixture
def env(redis_url: str, postgres_url: str) -> dict[str, str]:
    return environ(redis_url=redis_url, postgres_url=postgres_url, secret_keys=generate_key())


@pytest.fixture
def reachable(postgres_url: str) -> Iterator[None]:
    """The engine's socket, for whoever has another user id."""
    [directory] = parse_qs(urlsplit(postgres_url).query)["host"]
    path = [*Path(directory).glob(".s.PGSQL.*[0-9]"), Path(directory), *Path(directory).parents]
    modes = {each: each.stat().st_mode for each in path}
    for each, mode in modes.items():
        each.chmod(mode | (0o666 if each.is_socket() else 0o011))
    yield
    for each, mode in modes.items():
        each.chmod(mode)


def works(env: dict[str, str], prefix: list[str]) -> bool:
    """A message passes through the worker, asked for by a command on the same host."""
    command = [*prefix, *COMMAND, "health", "--lane", "urgent", "--timeout", "5"]
    return subprocess.run(command, env=env, cwd=ROOT, check=False).returncode == 0


def script(text: str) -> list[str]:
    return ["sh", "-c", f'{text} exec "$@"', "sh"]


#: It may read what the tests' own user may, and write nothing.
STRANGER = [
    *("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--no-new-privs"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
]
READ_ONLY = ["unshare", "--mount", *script("mount --make-rprivate / && mount -o remount,ro,bind / &&")]
HOSTS = {
    "a user without a name, no HOME, nothing writable, POSIX, a time zone that is not there": (
        [*READ_ONLY, *STRANGER],
        {"HOME": None, "TMPDIR": "/nonexistent", "TZ": "bogus"}
        | {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ),
    "64 files, HOME not writable, -OO, Latin 1, a quarter of an hour off": (
        ["prlimit", "--nofile=64:64"],
        {"HOME": "/proc", "PYTHONOPTIMIZE": "2", "PYTHONIOENCODING": "latin-1", "TZ": "Pacific/Chatham"},
    ),
    "no input and no output, warnings are errors, safe path, 1 GiB of addresses, another locale": (
        ["prlimit", f"--as={1 << 30}", *script("exec <&- >&-;")],
        {"PYTHONWARNINGS": "error", "PYTHONSAFEPATH": "1", "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
        | {"LC_ALL": "xx_YY.UTF-8", "TZ": ":/etc/localtime"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("prefix", "odd"), HOSTS.values(), ids=list(HOSTS))
def test_a_worker_works_on_an_odd_host(
    prefix: list[str], odd: dict[str, str | None], env: dict[str, str], reachable: None
) -> None:
    for program in {"setpriv", "unshare", "prlimit"} & {*prefix}:
        needs(program)
    if os.geteuid() and {"setpriv", "unshare"} & {*prefix}:
        pytest.skip("needs root")
    env = {name: value for name, value in (env | odd).items() if value is not None}
    with Running([*prefix, *COMMAND, "worker"], env) as worker:
        until("a message passes", lambda: works(env, prefix) or worker.process.poll() is not None)
        assert worker.end(signal.SIGTERM) == 0, worker.output()
        assert "Traceback" not in worker.output()


@pytest.mark.parametrize("command", SERVICES, ids=lambda words: words[0])
def test_too_few_files_are_refused_in_a_sentence(command: list[str], env: dict[str, str]) -> None:
    done = limited("--nofile=40:40", command, env)
    assert (done.returncode, done.stdout) == (1, "")
    assert "may open 40 files, and needs 64: raise it with ulimit -n" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_too_small_an_address_space_is_refused_in_a_sentence(env: dict[str, str]) -> None:
    done = limited(f"--as={700 << 20}", ["worker"], env)
    assert done.returncode == 1
    assert "700 MiB of address space (ulimit -v)" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def limited(limit: str, command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = [needs("prlimit"), limit, *COMMAND, *command]
    return subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_a_soft_limit_of_files_is_raised_as_far_as_it_may_be() -> None:
    """A terminal of macOS begins with 256."""
    code = (
        "import resource; from worker.process import host; host.check_files();"
        " print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    for limit, raised in (("256:8192", "4096 8192"), ("256:1000", "1000 1000"), ("8192:8192", "8192 8192")):
        words = [needs("prlimit"), f"--nofile={limit}", sys.executable, "-c", code]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.split() == raised.split()


def test_a_directory_that_nobody_may_look_into_is_no_obstacle(tmp_path: Path, env: dict[str, str]) -> None:
    shut = tmp_path / "shut"
    shut.mkdir()
    words = [*COMMAND, "app", "list"]
    command = [*script(f"chmod 0 {shut};"), *words]
    python_path = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=shut, env=env | python_path, capture_output=True, text=True, check=False)
    shut.chmod(0o700)
    assert done.returncode == 0, done.stderr


class Silent:
    """A Redis that takes connections and says nothing: who asks it is still at its start."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._kept: list[socket.socket] = []
        self.asked = threading.Event()
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                self._kept.append(self._server.accept()[0])
            except OSError:
                return
            self.asked.set()

    def close(self) -> None:
        self._server.close()
        for each in self._kept:
            each.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP])
def test_a_process_leaves_with_0_before_it_has_ways_of_its_own(number: signal.Signals) -> None:
    """Also twice, also between two programs of one process."""
    code = (
        "import os, sys; from worker.process import host\n"
        "if len(sys.argv) == 1: host.take_signals(); host.hold_signals(); print('held', flush=True); sys.stdin.read()\n"
        "if len(sys.argv) == 1: os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:], 'again'])\n"
        "host.take_signals(); sys.exit('it went on')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        process.send_signal(number)
        process.communicate()
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", SERVICES[:3], ids=lambda words: words[0])
def test_a_service_that_is_starting_leaves_with_0(command: list[str], postgres_url: str) -> None:
    silent = Silent()
    env = environ(redis_url=f"redis://127.0.0.1:{silent.port}", postgres_url=postgres_url, secret_keys=generate_key())
    with Running([*COMMAND, *command], env) as service:
        assert silent.asked.wait(PATIENCE), service.output()
        assert service.end(signal.SIGTERM) == 0, service.output()
        assert "Traceback" not in service.output()
    silent.close()


@pytest.mark.slow
def test_signals_to_a_worker(env: dict[str, str], redis_url: str) -> None:
    """SIGHUP: it begins again under its pid. SIGQUIT, as SIGTERM and SIGINT: it finishes and leaves."""
    with Running([*COMMAND, "worker"], env) as worker:
        until("it is ready", lambda: worker.said("ready."))
        worker.process.send_signal(signal.SIGHUP)
        until("it begins again", lambda: worker.output().count("ready.") == 2)
        assert worker.said("asked to begin again (SIGHUP)")
        worker.process.send_signal(signal.SIGQUIT)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(PATIENCE) == 0
    assert worker.said("signal=SIGQUIT")
    assert "ERROR" not in worker.output() and "shutdown" not in worker.output()


@pytest.mark.slow
def test_a_worker_as_process_1_hears_signals_and_buries_orphans(env: dict[str, str], redis_url: str) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    prefix = [needs("unshare"), "--pid", "--fork", "--mount-proc", "--kill-child"]
    with Running([*prefix, *COMMAND, "worker"], env) as outside:
        until("it is ready", lambda: outside.said("ready."))
        [first] = psutil.Process(outside.process.pid).children()
        orphan = ["sh", "-c", "exec 3<&0; sh -c 'read word' <&3 & exit 0"]
        reading, writing = os.pipe()
        subprocess.run([needs("nsenter"), f"--target={first.pid}", "--pid", *orphan], stdin=reading, check=True)
        until("the orphan is its child", lambda: len(first.children()) == 1)
        os.close(reading)
        os.close(writing)
        until("and buried when it has ended", lambda: not first.children())
        first.send_signal(signal.SIGTERM)
        assert outside.process.wait(PATIENCE) == 0, outside.output()


def test_what_runs_until_it_is_stopped() -> None:
    assert all(host.is_service(command) for command in [*SERVICES, ["up", "--port", "1"]])
    for words in ([], ["migrate"], ["outbox", "status"], ["outbox"], ["worker", "--help"], ["publish", "worker"]):
        assert not host.is_service(words)


def test_help_in_every_usual_and_unusual_locale(env: dict[str, str]) -> None:
    for odd in ({"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "ascii"}):
        done = carillon("push", "apn", "-h", env=env | odd)
        assert (done.returncode, done.stderr) == (0, "")


def test_beat_keeps_time_for_whoever_runs_it(env: dict[str, str], redis_url: str) -> None:
    """Also `celery beat`: health looks for a sign of its ticks."""
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "beat"]
    with Running(command, env) as beat, redis.Redis.from_url(redis_url) as client:
        until("there is a sign of life", lambda: bool(client.exists("carillon:beat")))
        assert beat.end(signal.SIGTERM) == 0
