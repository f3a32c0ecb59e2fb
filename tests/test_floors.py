"""The floors of docs/architecture.md. Import-linter holds most of it, by the contracts in pyproject.toml."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
CORE = sorted((ROOT / "worker" / "core").glob("*.py"))
#: Calls that give something else each time, of modules that the core needs for their types.
IMPURE = {"uuid1", "uuid4", "now", "utcnow", "today"}


def test_every_import_keeps_the_contracts() -> None:
    """In a process of its own: import-linter switches off the loggers that there are."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_drawing_of_the_floors_is_that_of_the_contracts() -> None:
    drawing = re.search(r"```text\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL)
    assert drawing is not None
    drawn = [re.split(r" {2,}", line)[0] for line in drawing[1].splitlines() if not line.startswith(" ")]
    assert drawn == [*CONTRACTS["floors"]["layers"], *CONTRACTS["ground"]["layers"][1:]]


def test_modules_are_in_folders() -> None:
    """Outside are the path that Celery's users know, and the command's entry point."""
    assert {path.name for path in (ROOT / "worker").glob("*.py")} == {"__init__.py", "app.py", "carillon_command.py"}


def test_the_core_asks_nobody_for_the_time_or_for_chance() -> None:
    found = [
        f"{path.name}: {name}"
        for path in CORE
        for node in ast.walk(ast.parse(path.read_text()))
        for name in names_in(node)
        if name in IMPURE
    ]
    assert found == []


def names_in(node: ast.AST) -> list[str]:
    """The attribute that is named, or the names that are imported."""
    if isinstance(node, ast.Attribute):
        return [node.attr]
    return [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
