"""Every Lua script passes luacheck, as Redis gets it and as its file has it."""

import re
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from tests.programs import needs
from worker.state import scripts
from worker.state.keys import FAMILIES

LUA = Path(str(files("worker.state"))) / "lua"
PARTS = sorted(LUA.glob("parts/*.lua"))
#: What parts define for scripts.
SHARED = {name for path in PARTS for name in re.findall(r"^local (?:function )?(\w+)", path.read_text(), re.MULTILINE)}
#: What the loader defines.
LOADED = {*FAMILIES, "MARK"}
REDIS = {"redis", "KEYS", "ARGV", "cjson", "unpack"}


def luacheck(text: str, known: set[str], *options: str, own: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """`known` are globals, and so are `own`, which may be assigned to."""
    lua = "\n".join("--" + line if line.startswith("#!") else line for line in text.split("\n"))
    command = [
        needs("luacheck"),
        "-",
        "--no-config",
        "--no-color",
        "--codes",
        "--std",
        "lua51",
        "--max-line-length",
        "140",
    ]
    command += [*options, "--read-globals", *sorted(known), *(["--globals", *sorted(own)] if own else ())]
    done = subprocess.run(command, input=lua, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", scripts.names())
def test_a_script_has_every_part_that_it_uses(name: str) -> None:
    """Parts define more than one script needs, and a script may call something as a part does."""
    luacheck(scripts.source(name).text, REDIS, "--no-unused", "--no-redefined")


@pytest.mark.parametrize("name", scripts.names())
def test_a_script_leaves_nothing_unused(name: str) -> None:
    source = scripts.source(name)
    own = {argument.name for argument in (*source.keys, *source.argv)}
    # A name of the script goes before that of a part which it has not.
    luacheck((LUA / f"{name}.lua").read_text(), REDIS | SHARED | LOADED, "--no-unused-secondaries", own=own)


@pytest.mark.parametrize("path", PARTS, ids=[path.stem for path in PARTS])
def test_a_part_leaves_nothing_unused_but_what_it_defines(path: Path) -> None:
    luacheck(path.read_text(), REDIS | SHARED | LOADED, "--ignore", "211", "431")
