"""What docs/simulator.md shows is run as it stands there."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from typer.testing import CliRunner

from worker.simulator import faults, read_script
from worker.simulator.web.subscriptions import Wish, make

PAGE = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text()
CARILLON = [sys.executable, "-c", "from worker.cli import main; main()"]


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("code", _blocks("python"), ids=range(len(_blocks("python"))))
def test_its_python_runs(code):
    exec(compile(code, "docs/simulator.md", "exec"), {})


@pytest.mark.parametrize("document", _blocks("json"))
def test_its_scripts_and_wishes_are_read(document):
    wish = '"service"' in document
    assert make(0, msgspec.json.decode(document, type=Wish)) if wish else read_script(document).rules


@pytest.mark.parametrize("line", "".join(_blocks("console")).splitlines())
def test_its_commands_start(line):
    command = [*CARILLON, *shlex.split(line)[1:], "--port", "0", "--fcm-port", "0", "--web-port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        process.terminate()
    assert set(where) == {"host", "port", "ports", "control_host", "control_port", "control_token", "ca"}
    assert process.returncode == 0


def test_every_fault_is_in_its_table():
    kinds = {fault.__struct_config__.tag for fault in get_args(faults.Fault)}
    shown = re.findall(r"^\| `(\w+)` \|", PAGE.split("## Faults")[1].split("## ")[0], re.MULTILINE)
    assert sorted(kinds) == sorted(set(shown) - {"kind"})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["--share", "Gone=1"], "needs a status", id="an unknown reason"),
        pytest.param(["--kind", "sms"], "apns, fcm, web, not sms", id="an unknown kind"),
        pytest.param(["--script", "web:/nonexistent.json"], "nonexistent", id="no script"),
        pytest.param(["--key", "KEY"], "KEYID:TEAMID:path", id="half a key"),
        pytest.param(["--key", "K:T:/nonexistent.p8"], "nonexistent", id="no key file"),
        pytest.param(["--latency", "fast"], "fast", id="no number"),
        pytest.param(["--record", "all"], "record", id="an unknown mode"),
        pytest.param(["--control-token-file", "/dev/null"], "16 or more", id="no token in the file"),
    ],
)
def test_the_command_names_what_is_wrong(arguments, says):
    import typer

    from worker.cli.simulate import simulate

    app = typer.Typer()
    app.command()(simulate)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert says in result.output.replace("\n", "")
