"""What holds for every Lua script: names of keys and arguments stand in one place, and who calls it uses them."""

import ast
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import NoScriptError

from worker.state import scripts
from worker.state.keys import FAMILIES, PREFIX, Keys
from worker.state.scripts import Script

ROOT = Path(__file__).parents[3]
LUA = Path(str(files("worker.state"))) / "lua"
SCRIPTS = sorted(LUA.glob("*.lua"))
SOURCES = [*SCRIPTS, *sorted(LUA.glob("parts/*.lua"))]
MODULES = sorted(path for folder in ("worker", "config") for path in (ROOT / folder).rglob("*.py"))
#: Where a text that begins with `carillon:` is what a command or a payload says, or the prefix itself.
OTHERS = {
    "worker/core/digest_payload.py",
    "worker/providers/apns/token.py",
    "worker/carillon_command.py",
    "worker/state/keys.py",
    "config/celeryconfig.py",
}


def _nodes(word: str) -> Iterator[tuple[Path, ast.AST]]:
    """Of the modules that have the word."""
    for path in MODULES:
        if word in (source := path.read_text()):
            yield from ((path, node) for node in ast.walk(ast.parse(source)))


@pytest.mark.parametrize("path", SOURCES, ids=[path.stem for path in SOURCES])
def test_no_script_names_a_key_itself(path: Path) -> None:
    assert "carillon:" not in path.read_text()


def test_no_module_names_a_key_itself() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path, node in _nodes("carillon:")
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.match(r"carillon:\S", node.value)
    }
    assert found - OTHERS == set()


def test_every_family_is_used() -> None:
    words = {
        word for path in (*SOURCES, *MODULES) if path.name != "keys.py" for word in re.findall(r"\w+", path.read_text())
    }
    assert FAMILIES.keys() - words == set()


@pytest.mark.parametrize("name", scripts.names())
def test_a_script_uses_every_name_of_its_header(name: str) -> None:
    source, body = scripts.source(name), (LUA / f"{name}.lua").read_text()
    code = re.sub(r"--[^\n]*", "", body)
    for argument in (*source.keys, *source.argv):
        # A list of keys is read from KEYS, and some lists are read by the side of another one.
        used = "KEYS" if argument in source.keys and argument.fields else argument.name
        assert re.search(rf"\b{used}\b", code), argument.name


@pytest.mark.parametrize("name", scripts.names())
def test_the_fields_of_a_record_have_the_names_of_the_header(name: str) -> None:
    body = (LUA / f"{name}.lua").read_text()
    fields = {argument.name: argument.fields for argument in scripts.source(name).argv}
    for names, of in re.findall(r"for \w+, ([\w, ]+) in each\((\w+)\)", body):
        bound = names.split(", ")
        meant = fields[of][: len(bound)]
        assert all(given in ("_", field) for given, field in zip(bound, meant, strict=True)), (names, of)


def _calls() -> Iterator[tuple[str, set[str]]]:
    for _, node in _nodes("scripts."):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = node.func.value
            if isinstance(of, ast.Attribute) and of.attr in ("_scripts", "scripts"):
                assert not node.args, "arguments go by name"
                yield node.func.attr, {keyword.arg or "" for keyword in node.keywords}


def test_every_caller_gives_the_arguments_that_the_header_names() -> None:
    calls = list(_calls())
    for name, given in calls:
        source = scripts.source(name)
        assert given == {argument.name for argument in (*source.keys, *source.argv)}, name
    assert {name for name, _ in calls} == set(scripts.names()), "each script is called"


def test_a_script_without_its_header_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "silent.lua").write_text("-- Does something.\nreturn 1\n")
    (tmp_path / "odd.lua").write_text("-- Odd.\n-- ARGV: one two\n-- Returns: 1\n-- Twice: does nothing.\nreturn 1\n")
    monkeypatch.setattr(scripts, "_LUA", tmp_path)
    with pytest.raises(ValueError, match="does not say"):
        scripts.source("silent")
    with pytest.raises(ValueError, match="cannot be read at 'one two'"):
        scripts.source("odd")


def test_a_script_that_a_replaced_primary_had_loaded_is_loaded_again():
    answers: list[Any] = [NoScriptError("NOSCRIPT"), NoScriptError("NOSCRIPT"), 1]
    loaded: list[str] = []

    def run(*_command: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    client: Any = SimpleNamespace(execute_command=run, script_load=loaded.append)
    script = Script(client, Keys(PREFIX, "partition"), "lead")
    assert script(token=1) == 1
    assert answers == []
    assert len(loaded) == 2
