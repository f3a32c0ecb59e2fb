"""Whatever a command is given, it ends with a sentence and an exit code: no traceback, and never 0."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from click import Context
from typer.testing import CliRunner, Result

from config.settings import get_settings
from tests.integration.cli.conftest import Cli, apn
from tests.processes import ROOT, environ
from tests.programs import needs
from worker.cli import _options
from worker.cli._commands import GROUPS, app, group_of, load, names
from worker.cli._moments import rfc3339
from worker.cli._session import table
from worker.cli._terminal import json_text
from worker.process import supervisor as _supervisor
from worker.process import ticker
from worker.process.supervisor import Child
from worker.reports.faults import MIGRATE

#: Run until they are stopped, and wait for engines that are away, or measure for a minute with engines of their own.
DAEMONS = {"up", "engines", "demo", "simulate", "worker", "beat", "flower", "dashboard", "outbox relay", "bench"}
#: Need nothing and nobody, or print what can be read.
ALONE = {"version", "secret-key", "outbox sql", "dashboard-user", "metrics"}
#: Know no app, or take one that there is none of: a dead letter's may be mistyped.
ANY_APP = {"dead-letters", "dead-letters list", "dead-letters retry", "dead-letters drop"}
AWAY = {"CARILLON_REDIS_URL": "redis://127.0.0.1:1", "CARILLON_POSTGRES_URL": "postgresql://127.0.0.1:1/x"}
#: Files that are what the command takes: an import of nothing, and events of which there are none.
FINE = {("import", "file", "empty"), ("publish", "file", "empty")}
QUICK = {"import": ("--wait", "0")}
NOT_TEXT = "\udcff"


def leaves() -> Iterator[tuple[str, Any]]:
    """Every command that can be run, with its words."""
    for name in names():
        yield from _leaves(name, load(name))


def _leaves(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    if command.invoke_without_command:
        yield path, command
    context = Context(command)
    for name in command.list_commands(context):
        yield from _leaves(f"{path} {name}", command.get_command(context, name))


EVERY = dict(leaves())


def takes_file(one: Any) -> bool:
    return "FILE" in (one.metavar or "") or one.name == "file" or one.type_descriptor.is_path


def words(path: str, *, app_name: str | None = None, file: str | None = None, only: str | None = None) -> list[str]:
    """The command with a value for each thing that it requires. `file`: for all that take one, or for `only` that."""
    made, behind = path.split(), []
    for one in EVERY[path].params:
        flag = next((flag for flag in one.opts if flag.startswith("--")), None)
        is_file = takes_file(one) and only in (None, one.name)
        if flag == "--app" and app_name is not None:
            made += [flag, app_name]
        elif flag is None and (one.required or (is_file and file is not None)):
            behind += [file if is_file and file is not None else "1"]
        elif flag is not None and is_file and file is not None:
            made += [flag, file]
        elif flag is not None and one.required:
            made += [flag, "1"]
    return [*made, *behind]


def knows(path: str, flag: str) -> bool:
    return any(flag in one.opts for one in EVERY[path].params)


def run(arguments: list[str]) -> Result:
    get_settings.cache_clear()
    done = CliRunner().invoke(app, arguments, input="")
    assert isinstance(done.exception, SystemExit), (arguments, done.exception, done.output)
    assert done.exit_code in (1, 2), (arguments, done.exit_code, done.output)
    assert "Traceback" not in done.output
    assert done.output.strip(), arguments
    return done


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Engines that nobody can reach."""
    monkeypatch.setenv("CARILLON_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("CARILLON_POSTGRES_URL", "postgresql://127.0.0.1:1/x")
    monkeypatch.chdir(tmp_path)
    yield
    get_settings.cache_clear()


@pytest.mark.parametrize("path", EVERY)
def test_an_unknown_option(away: None, path: str) -> None:
    done = run([*path.split(), "--no-such-option", "x"])
    assert done.exit_code == 2 or path == "why"


@pytest.mark.parametrize("path", EVERY)
def test_an_argument_that_is_no_text(away: None, path: str) -> None:
    assert "is not UTF-8 text" in run([*path.split(), NOT_TEXT]).stderr


@pytest.mark.parametrize("path", sorted(EVERY.keys() - DAEMONS - ALONE))
def test_no_arguments_and_no_engines(away: None, path: str) -> None:
    run([*path.split(), *(["--wait", "0"] if path == "migrate" else [])])


@pytest.mark.parametrize("path", sorted(EVERY.keys() - DAEMONS - ALONE))
def test_engines_that_are_away(away: None, path: str) -> None:
    quick = [
        word for flag, least in (("--wait", "0.1"), ("--timeout", "0.2")) if knows(path, flag) for word in (flag, least)
    ]
    as_json = ["--json"] if knows(path, "--json") else []
    done = run([*words(path), *quick, *as_json])
    if as_json:
        for line in done.stdout.splitlines():
            json.loads(line)
        assert done.stdout


@pytest.mark.parametrize("path", sorted(path for path in EVERY if words(path, file="x") != words(path)))
def test_a_file_that_is_not_there(away: None, path: str, tmp_path: Path) -> None:
    run(words(path, file=str(tmp_path / "no such file")))


HAVE_APP = [path for path in EVERY if words(path, app_name="x") != words(path) and path not in ANY_APP]


def test_an_unknown_app(postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARILLON_REDIS_URL", redis_url)
    monkeypatch.setenv("CARILLON_POSTGRES_URL", postgres_url)
    assert HAVE_APP
    for path in HAVE_APP:
        run(words(path, app_name="no-such-app"))
    get_settings.cache_clear()


NUMBERS = [
    (path, one) for path in EVERY for one in EVERY[path].params if one.type_descriptor.annotation in (int, float)
]


@pytest.mark.parametrize("given", ["nan", "-1e300", "9" * 40, "x", ""])
def test_a_number_out_of_all_bounds(away: None, given: str) -> None:
    for path, one in NUMBERS:
        flag = next((flag for flag in one.opts if flag.startswith("--")), None)
        done = run([*path.split(), *([f"{flag}={given}"] if flag else ["--", given])])
        assert done.exit_code == 2, (path, one.name)
        assert "Invalid value" in done.stderr, (path, one.name)


BROKEN = {"binary": bytes(range(256)), "json": b'{"aps": ', "list": b"[1, 2]", "empty": b"", "zip": b"PK\x03\x04"}


def test_a_file_of_another_kind(with_key: Cli, tmp_path: Path) -> None:
    """Each option that takes a file, one by one, in an app that has what it needs."""
    (tmp_path / "directory").mkdir()
    for kind, content in BROKEN.items():
        (tmp_path / kind).write_bytes(content)
    with_key.setenv("CARILLON_SECRET_KEYS", with_key.keys[0])
    tried = 0
    for path in sorted(EVERY.keys() - DAEMONS):
        for one in EVERY[path].params:
            for kind in ("directory", *BROKEN) if takes_file(one) else ():
                if (path, one.name, kind) not in FINE:
                    as_json = ["--json"] if knows(path, "--json") else []
                    arguments = words(path, file=str(tmp_path / kind), only=one.name)
                    output = run([*arguments, *QUICK.get(path, ()), *as_json]).stdout
                    assert [json.loads(line) for line in output.splitlines()] or not as_json, arguments
                    tried += 1
    assert tried > 40


def test_an_unknown_provider(with_key: Cli, tmp_path: Path) -> None:
    with_key.setenv("CARILLON_SECRET_KEYS", with_key.keys[0])
    (template := tmp_path / "t.json").write_text('{"aps": {"alert": "x"}}')
    for path in EVERY.keys() - DAEMONS - {"push device add"}:  # there a worker says it
        if knows(path, "--provider"):
            assert (
                "nope"
                in run([*words(path, app_name="chat", file=str(template), only="file"), "--provider", "nope"]).output
            ), path
    for path in ("provider pause", "provider resume", "push remove"):
        assert "no provider 'nope'" in run([*path.split(), "nope", "--app", "chat"]).stderr


def test_an_unknown_command_asks_back() -> None:
    assert "Did you mean 'publish'" in run(["pubish"]).stderr
    assert "Did you mean 'device'" in run(["push", "devise"]).stderr


def test_every_command_has_its_place_in_the_help() -> None:
    assert [name for name in names() if group_of(name) not in GROUPS] == []


@pytest.mark.parametrize("width", [60, 100])
def test_h_is_help_that_cuts_no_name_and_stays_within_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for path in ["", *EVERY, *sorted({path.rpartition(" ")[0] for path in EVERY if " " in path})]:
        done = CliRunner().invoke(app, [*path.split(), "-h"], terminal_width=width)
        said = done.stdout
        assert done.exit_code == 0 and "Usage" in said, path
        assert [line for line in said.splitlines() if len(line) > width] == [], path
        if path in EVERY:
            shown = [one for one in EVERY[path].params if not getattr(one, "hidden", False)]
            assert [flag for one in shown for flag in one.opts if flag.startswith("--") and flag not in said] == [], (
                path
            )
        else:
            assert "Commands" in said or "Begin" in said, path


def test_without_a_command_its_help_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in ("60", "100"):
        monkeypatch.setenv("COLUMNS", columns)
        for arguments in ([], ["push"], ["member"]):
            assert "Usage" in run(arguments).output


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version(flag: str) -> None:
    done = CliRunner().invoke(app, [flag])
    assert done.exit_code == 0
    assert done.stdout.startswith("carillon")


def test_with_json_a_refusal_is_json_too(away: None) -> None:
    done = run(["app", "shwo", "--json"])
    output = json.loads(done.stdout)
    assert output["exit_code"] == 2
    assert "shwo" in output["error"]


@pytest.mark.parametrize("data_dir", ["/proc/none", "a file"])
def test_a_data_directory_that_cannot_be_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data_dir: str) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARILLON_DATA_DIR", data_dir)
    for name in ("CARILLON_REDIS_URL", "CARILLON_POSTGRES_URL"):
        monkeypatch.delenv(name, raising=False)
    run(["migrate"])
    get_settings.cache_clear()


def busy() -> tuple[socket.socket, int]:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken, taken.getsockname()[1]


def test_a_port_in_use(away: None) -> None:
    taken, port = busy()
    with taken:
        for command in (["simulate", "--port", port], ["flower", "--port", port], ["up", "--port", port]):
            output = run([str(word) for word in command]).stderr
            assert f"port {port}" in output
            assert "in use" in output


def test_what_fails_to_start_is_not_tried_for_ever() -> None:
    said: list[str] = []
    command = [sys.executable, "-c", "raise SystemExit(1)"]
    child = Child("flower", command, {}, lambda _, line: said.append(line))
    child.start()
    ends = time.monotonic() + 60
    with pytest.MonkeyPatch.context() as quick:
        quick.setattr(_supervisor, "RESTART_PAUSE", 0.0)
        while not any("not tried again" in line for line in said) and time.monotonic() < ends:
            child.tend()
    assert "failed to start 5 times" in said[-1]
    tried = len(said)
    child.tend()
    assert len(said) == tried
    child.wait(time.monotonic())


def test_every_command_that_ends_has_json() -> None:
    other_forms = {"outbox sql", "metrics", "dashboard-user"}
    assert [path for path in EVERY.keys() - DAEMONS - other_forms if not knows(path, "--json")] == []


def carillon(*arguments: str, env: dict[str, str]) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "worker.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ() | env, capture_output=True, check=False, timeout=60)


def test_a_terminal_of_another_character_set_ends_nothing() -> None:
    """What the set lacks is spelt out, in the help's frames as in a name."""
    latin = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0", "COLUMNS": "100"}
    for arguments in (["--help"], ["push", "apn", "-h"], ["why", "ё", "--app", "…"], ["app", "show", "ё"]):
        done = carillon(*arguments, env=latin | AWAY)
        assert b"Traceback" not in done.stdout + done.stderr
        assert done.stdout + done.stderr


def test_a_directory_that_is_gone_and_a_full_disk(tmp_path: Path) -> None:
    (gone := tmp_path / "gone").mkdir()
    words = f"cd {gone} && rmdir {gone} && exec {sys.executable} -P -m worker.cli"
    paths = environ() | {"PYTHONPATH": str(ROOT)}
    for command, sentence in (
        (f"{words} app list", b"carillon: the current directory is not there any more"),
        (f"{words} app list --json", b"carillon: the current directory is not there any more"),
        (f"cd {tmp_path} && exec {sys.executable} -P -m worker.cli version >/dev/full", b"carillon: No space left"),
        (f"cd {tmp_path} && exec {sys.executable} -P -m worker.cli app list --json >/dev/full", b"carillon: "),
    ):
        gone.mkdir(exist_ok=True)
        done = subprocess.run(["/bin/sh", "-c", command], env=paths, capture_output=True, check=False, timeout=60)
        assert done.returncode == 1, done.stderr
        assert done.stderr.startswith(sentence) and b"Traceback" not in done.stderr


_INTERRUPTED = """
import sys
class Interrupting:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            raise {fault}
sys.meta_path.insert(0, Interrupting)
sys.argv[1:] = ["app", "list"]
from worker.cli import main
main()
"""


@pytest.mark.parametrize(
    "module", ["typer", "worker.cli._commands", "worker.cli.app", "psycopg", "worker.embedded.engines"]
)
@pytest.mark.parametrize("fault", ["KeyboardInterrupt", "RuntimeError('of __set_name__') from KeyboardInterrupt()"])
def test_ctrl_c_while_it_begins_leaves_no_traceback(tmp_path: Path, module: str, fault: str) -> None:
    code = _INTERRUPTED.format(module=module, fault=fault)
    env = environ(data_dir=str(tmp_path / "data"))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (130, b"")


_AT_ONCE = """
import os, signal, sys
class Interrupting:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
for module in ("importlib.metadata", "worker", "worker.cli"):
    sys.modules.pop(module, None)
sys.meta_path.insert(0, Interrupting)
sys.argv[1:] = ["version"]
from carillon_command import main
main()
"""


@pytest.mark.parametrize("module", ["importlib.metadata", "worker.cli"])
@pytest.mark.parametrize("heard", [True, False], ids=["in a terminal", "under nohup"])
def test_ctrl_c_before_anything_is_imported_leaves_no_traceback(module: str, *, heard: bool) -> None:
    code = ("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" if not heard else "") + _AT_ONCE
    command = [sys.executable, "-c", code.format(module=module)]
    done = subprocess.run(command, cwd="/", env=environ(), capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT if heard else 0, b"")


@pytest.mark.parametrize("width", [60, 100])
def test_a_table_never_tears_words_apart(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("app", "name", "kind", "bundle_id", "environment", "key_id", "team_id", "expires", "host")
    rows = [{name: f"{name}-{'x' * 14}" for name in names}]
    with pytest.MonkeyPatch.context() as narrow:
        narrow.setenv("COLUMNS", str(width))
        narrow.setenv("TTY_COMPATIBLE", "1")
        table(rows, as_json=False, empty="")
    said = capsys.readouterr().out
    assert all(len(line) <= width for line in said.splitlines())
    assert all(value in said for value in rows[0].values())


def test_the_shell_completes_names(cli: Cli, key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.ok("app", "create", "chat")
    cli.ok("app", "create", "chess")
    cli.ok(*apn(key_file), "--app", "chat")
    (template := key_file.parent / "t.json").write_text('{"aps": {"alert": "x"}}')
    cli.ok("template", "set", template, "--app", "chat", "--kind", "poll")
    for typed, offered in (
        ("push list --app ch", "chat\nchess"),
        ("app show che", "chess"),
        ("template show --app chat --provider ", "apns"),
        ("template show --kind p", "poll"),
        ("provider pause ap", "apns"),
        ("app show zz", ""),
    ):
        monkeypatch.setenv("_CARILLON_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", f"carillon {typed}")
        monkeypatch.setenv("COMP_CWORD", str(len(f"carillon {typed}".split(" ")) - 1))
        done = CliRunner().invoke(app, [], prog_name="carillon")
        assert done.stdout.strip() == offered, typed


def test_completion_says_nothing_where_no_engine_runs(away: None) -> None:
    assert _options.apps("") == []


def test_workers_of_one_host_have_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr("worker.process.consumer.run", lambda name, **_: seen.append(name))
    for arguments in (["worker", "--lane", "bulk"], ["worker", "--name", "mine"]):
        CliRunner().invoke(app, arguments)
    assert seen == [f"bulk-{os.getpid()}", "mine"]


def test_the_url_of_the_embedded_redis_works_in_redis_cli(redis_url: str) -> None:
    asked = [needs("redis-cli"), "-u", redis_url, "ping"]
    assert subprocess.run(asked, capture_output=True, check=False, timeout=30).stdout.strip() == b"PONG"


@pytest.mark.parametrize("fault", [psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction])
def test_a_worker_waits_for_its_schema_in_a_sentence(
    fault: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ticker, "PAUSE", 0.0)
    partition = SimpleNamespace(journal=SimpleNamespace(unwatched=lambda: True))
    runtime: Any = SimpleNamespace(partitions=(partition,))

    def tick() -> None:
        thread.stop()
        raise fault("no such thing in schema carillon")

    thread = ticker.Ticker(runtime, tick)
    thread.start()
    thread.join(30)
    thread.stop()  # where it failed before it called, it would go on, and log in other tests
    assert [record.message for record in caplog.records] == [f"the tick waits: {MIGRATE}"]
    assert caplog.records[0].exc_info is None


def test_times_are_RFC_3339_in_json() -> None:
    at = datetime(2026, 11, 28, 20, 0, 1, 500_000, tzinfo=timezone(timedelta(hours=1)))
    assert json_text({"at": at}) == '{"at": "2026-11-28T19:00:01.500000Z"}'
    assert (rfc3339(at), rfc3339(0)) == ("2026-11-28T19:00:01Z", "1970-01-01T00:00:00Z")
