"""S14: called bare, `push apn` asks, in a terminal."""

import os
import pty
import select
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.integration.cli.conftest import TOPIC, Cli
from tests.integration.cli.test_credentials import DAYS, PASSWORD
from tests.unit.apns.push_certificates import p12, push_certificate

SECONDS = 60.0


class Terminal:
    """`carillon …` under a pseudo-terminal."""

    def __init__(self, cli: Cli, *arguments: str) -> None:
        environ = os.environ | {"CARILLON_SECRET_KEYS": ",".join(cli.keys), "TERM": "dumb", "COLUMNS": "120"}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "worker.cli", *arguments], environ)
        self.seen = ""

    def expect(self, text: str) -> None:
        """Reads until the text was said since the last answer."""
        ends = time.monotonic() + SECONDS
        while text not in self.seen:
            assert time.monotonic() < ends, self.seen
            if not select.select([self.fd], [], [], 1)[0]:
                continue
            try:
                self.seen += os.read(self.fd, 4096).decode()
            except OSError:
                raise AssertionError(f"it ended without {text!r}: {self.seen}") from None

    def answer(self, question: str, word: str = "") -> None:
        self.expect(question)
        self.seen = ""
        os.write(self.fd, f"{word}\n".encode())

    def end(self) -> tuple[int, str]:
        """The exit code and what was said last."""
        while True:
            try:
                read = os.read(self.fd, 4096)
            except OSError:
                break
            if not read:
                break
            self.seen += read.decode()
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), self.seen


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_S14_the_wizard_stores_a_key_after_wrong_answers(cli, key_file, registry):
    wizard = Terminal(cli, "push", "apn")
    wizard.answer("Which app", "chat")
    wizard.answer("key or certificate")
    wizard.answer("Path of the .p8 file", "/nowhere.p8")
    wizard.expect("cannot be read")
    # As a file manager pastes it.
    wizard.answer("Path of the .p8 file", f"'file://{quote(str(key_file))}' ")
    wizard.answer("Key ID [ABC123DEFG]")
    wizard.answer("Team ID", "short")
    wizard.expect("Membership details")
    wizard.answer("Team ID", "DEF123GHIJ")
    wizard.answer("production (App Store, TestFlight) or sandbox", "sandbox")
    wizard.answer("Name of this provider [apns-sandbox]")
    wizard.answer("Bundle ID", TOPIC)
    wizard.answer("Store it?", "y")
    code, said = wizard.end()
    assert code == 0, said
    assert "stored: provider 'apns-sandbox' of app 'chat'" in said
    [stored] = registry.providers().values()
    assert (stored.app, stored.environment, stored.settings.credential.key_id) == ("chat", "sandbox", "ABC123DEFG")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_S14_the_wizard_takes_a_certificate_and_hides_its_password(cli, tmp_path: Path, registry):
    cli.ok("app", "create", "chat")
    (file := tmp_path / "Push.p12").write_bytes(p12(push_certificate(uid=TOPIC, days=DAYS), PASSWORD))
    wizard = Terminal(cli, "push", "apn")
    wizard.answer("Which app")
    wizard.answer("key or certificate", "cert")
    wizard.answer("Path of the .p12 file", str(file))
    # The blank is written once the terminal hides what is typed; what was typed before that is thrown away.
    wizard.answer("Password of the .p12 file: ", "wrong")
    wizard.expect("wrong password")
    wizard.answer("Password of the .p12 file: ", "secret")
    wizard.answer("production (App Store, TestFlight) or sandbox (Xcode): ", "prod")
    assert "secret" not in wizard.seen
    wizard.answer("Name of this provider [apns]")
    wizard.answer(f"Bundle ID of the iOS app [{TOPIC}]")
    wizard.answer("Store it?")
    assert wizard.end()[0] == 0
    [stored] = registry.providers().values()
    assert stored.settings.credential.password == "secret"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_what_is_not_confirmed_is_not_stored(cli, key_file, registry):
    wizard = Terminal(cli, "push", "apn")
    wizard.answer("Which app", "chat")
    wizard.answer("key or certificate")
    wizard.answer("Path of the .p8 file", str(key_file))
    for question, word in (
        ("Key ID", ""),
        ("Team ID", "DEF123GHIJ"),
        ("sandbox", "p"),
        ("Name", ""),
        ("Bundle ID", TOPIC),
    ):
        wizard.answer(question, word)
    wizard.answer("Store it?", "n")
    assert wizard.end()[0] == 1
    assert (registry.providers(), registry.apps()) == ({}, {})


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_with_an_app_alone_it_is_the_wizard_too(cli, key_file, registry):
    cli.ok("app", "create", "chat")
    wizard = Terminal(cli, "push", "apn", "--app", "chat")
    wizard.answer("key or certificate")
    wizard.answer("Path of the .p8 file", str(key_file).replace("/", "//").replace("AuthKey", "\\AuthKey"))
    wizard.answer("Key ID")
    wizard.answer("Team ID", "DEF123GHIJ")
    wizard.answer("production (App Store, TestFlight) or sandbox (Xcode): ", "s")
    wizard.answer("Name")
    wizard.answer("Bundle ID", TOPIC)
    wizard.answer("Store it?")
    code, said = wizard.end()
    assert code == 0, said
    [stored] = registry.providers().values()
    assert (stored.app, stored.environment) == ("chat", "sandbox")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_in_a_terminal_the_environment_is_asked_for_where_all_else_is_given(cli, key_file, registry):
    cli.ok("app", "create", "chat")
    wizard = Terminal(cli, "push", "apn", "-a", str(key_file), "-t", "DEF123GHIJ", "-b", TOPIC)
    wizard.answer("production (App Store, TestFlight) or sandbox (Xcode): ", "sandbox")
    assert wizard.end()[0] == 0
    [stored] = registry.providers().values()
    assert (stored.name, stored.environment) == ("apns-sandbox", "sandbox")
