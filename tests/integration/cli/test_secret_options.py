"""Secrets reach a command by a file or standard input, and what stands on a command line is warned of."""

from pathlib import Path

import pytest

from config.settings import Settings
from producers.__main__ import main
from tests.integration.cli.conftest import Cli
from tests.processes import free_port
from worker.cli._faults import CommandFault
from worker.cli._secret_options import secret_given, without_password
from worker.cli.up import _shown
from worker.embedded import Urls

SECRET = "a-secret-of-at-least-thirty-two-characters"
URL = "https://127.0.0.1/push"


@pytest.fixture
def chat(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("CARILLON_WEBHOOK_ALLOW", "127.0.0.0/8")
    cli.ok("app", "create", "chat")
    return cli


def secret_file(tmp_path: Path, mode: int = 0o600) -> Path:
    (file := tmp_path / "secret").write_text(SECRET + "\n")
    file.chmod(mode)
    return file


@pytest.mark.parametrize("source", ["file", "-"])
def test_a_webhook_s_secret_comes_from_a_file_or_standard_input(chat: Cli, tmp_path: Path, source: str) -> None:
    given = str(secret_file(tmp_path)) if source == "file" else "-"
    done = chat.run("push", "webhook", "--url", URL, "--secret-file", given, "--json", typed=f"{SECRET}\n")
    assert done.exit_code == 0, done.output
    assert '"secret"' not in done.stdout  # it is known: only one that was made here is shown
    assert SECRET not in done.output
    assert "warning" not in done.output


def test_a_secret_on_the_command_line_works_and_is_warned_of(chat: Cli) -> None:
    done = chat.run("push", "webhook", "--url", URL, "--secret", SECRET)
    assert done.exit_code == 0
    assert "use --secret-file" in done.stderr
    assert SECRET not in done.output


def test_a_file_that_everybody_can_read_is_warned_of(chat: Cli, tmp_path: Path) -> None:
    done = chat.run("push", "webhook", "--url", URL, "--secret-file", secret_file(tmp_path, 0o644))
    assert f"chmod 600 {tmp_path / 'secret'}" in done.stderr


def test_one_way_at_a_time(chat: Cli, tmp_path: Path) -> None:
    file = secret_file(tmp_path)
    assert "not both" in chat.refused("push", "webhook", "--url", URL, "--secret", SECRET, "--secret-file", file)
    assert "cannot be read" in chat.refused("push", "webhook", "--url", URL, "--secret-file", tmp_path / "none")


def test_nothing_given_is_nothing(tmp_path: Path) -> None:
    assert secret_given("--secret", None, None) is None
    (tmp_path / "latin").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(CommandFault):
        secret_given("--secret", None, str(tmp_path / "latin"))


def test_a_url_with_a_password_on_the_command_line_is_warned_of_and_not_shown(
    cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"redis://u:hunter2@127.0.0.1:{free_port()}/0"
    one = ["--app", "a", "--channel", "c", "--sender", "s", "--text", "t", "--timeout", "0.2"]
    done = cli.run("publish", "--redis-url", url, *one)
    assert "put the URL into CARILLON_REDIS_URL" in done.stderr
    assert "hunter2" not in done.output
    assert main(["publish", "--redis-url", url, *one]) == 1
    said = capsys.readouterr()
    assert "use CARILLON_REDIS_URL" in said.err
    assert "hunter2" not in said.err + said.out


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@h:6379/0", "redis://:…@h:6379/0"),
        ("rediss://user:secret@h/1?ssl_ca_certs=/x&password=other", "rediss://user:…@h/1"),
        ("postgresql://user@[::1]:5432/db?password=secret", "postgresql://user@[::1]:5432/db"),
        ("redis://user:pa/ss@h:1/0", "(a URL that cannot be read)"),
        ("redis://u:secret/word@h:6379/0", "(a URL that cannot be read)"),
        ("redis://u:se#cret@h:6379/0", "(a URL that cannot be read)"),
        ("redis://:12/secret@h", "(a URL that cannot be read)"),
        ("postgresql:///db?host=/run&password=secret", "postgresql:///db?host=/run"),
        ("redis://[::1/0", "(a URL that cannot be read)"),
        ("unix:///run/redis/redis.sock?db=2", "unix:///run/redis/redis.sock"),
        ("unix://worker:secret@/run/redis.sock", "unix://worker:…@/run/redis.sock"),
        ("postgresql://carillon:secret@/db?host=%2Frun&password=s", "postgresql://carillon:…@/db?host=/run"),
        ("postgresql:///db?host=/var/run/postgresql", "postgresql:///db?host=/var/run/postgresql"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_up_prints_the_password_of_an_embedded_engine_only() -> None:
    """It is needed there, and of use on this machine alone."""
    foreign = "rediss://carillon:hunter2@redis.example/0"
    own = "redis://default:made-here@127.0.0.1:6379/0"
    shown = _shown(Settings(redis_url=foreign), Urls(foreign, "postgresql://carillon@/carillon?host=/run"))
    assert (shown.redis, shown.postgres) == (
        "rediss://carillon:…@redis.example/0",
        "postgresql://carillon@/carillon?host=/run",
    )
    shown = _shown(Settings(), Urls(own, "postgresql://carillon@/carillon?host=/run"))
    assert shown.redis == own
