"""Help that teaches: every command of ours has an example, and the example is a command line that is understood."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from click import Context

from worker.cli._commands import load

OURS = ("app", "push", "secrets", "template", "doctor", "member", "mute", "user")


def commands() -> Iterator[Any]:
    for name in OURS:
        command = load(name)
        if not hasattr(command, "list_commands"):
            yield pytest.param([name], command, id=name)
            continue
        for sub in command.list_commands(Context(command)):
            found = command.get_command(Context(command), sub)
            if not hasattr(found, "list_commands"):
                yield pytest.param([name, sub], found, id=f"{name} {sub}")


@pytest.mark.parametrize(("path", "command"), list(commands()))
def test_the_example_in_the_help_is_understood(path, command):
    assert command.help
    examples = re.findall(r"(carillon [^;]*?)(?=\s\s|$)", command.epilog or "")
    assert examples, f"carillon {' '.join(path)} has no example"
    for example in examples:
        words = shlex.split(example)[1:]
        assert words[: len(path)] == path
        command.make_context(path[-1], words[len(path) :]).close()  # parses, runs nothing


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_S14_h_lists_the_options(cli, flag):
    text = cli.ok("push", "apn", flag)
    for option in ("--auth-key", "--bundle-id", "--key-id", "--team-id", "--p12-cert", "--p12-password"):
        assert option in text
    assert "Example" in text
