"""The tree of the worker's errors is drawn in one place, and the drawing is true."""

import ast
import builtins
import inspect
import re
from pathlib import Path

import pytest

from worker.core import errors

WORKER = Path(errors.__file__).parents[1]
#: What has errors of its own is not drawn.
DRAWN = ("core", "facts", "pipeline", "state", "database", "process")


def drawing() -> dict[str, str]:
    """Each error of the drawing with its parent."""
    found: dict[str, str] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"( *)([A-Za-z.]+)(?:  |$)", line):
            depth = len(match[1]) // 2
            above[depth] = match[2].rpartition(".")[2]
            if depth:
                found[above[depth]] = above[depth - 1]
    return found


def defined() -> dict[str, str]:
    """Each error that one of the folders defines with its parent, by the sources: some modules do much when imported."""
    classes = {
        one.name: ast.unparse(one.bases[0]).rpartition(".")[2]
        for folder in DRAWN
        for path in sorted((WORKER / folder).rglob("*.py"))
        for one in ast.walk(ast.parse(path.read_text()))
        if isinstance(one, ast.ClassDef) and one.bases
    }
    foreign = {"Exception", "EventError", "OperationalError", *dir(builtins)}

    def is_error(name: str) -> bool:
        above = classes.get(name)
        return name.endswith(("Error", "Exception")) and name in foreign if above is None else is_error(above)

    return {name: above for name, above in classes.items() if is_error(name)}


def test_the_drawing_has_every_error_under_its_parent():
    drawn, found = drawing(), defined()
    assert drawn.pop("EventError") == "ValueError", "which is of the producers"
    assert found.pop("WorkerError") == "Exception"
    assert found == drawn


def test_an_error_without_words_says_what_its_docstring_says():
    assert str(errors.LeaseLost()) == inspect.getdoc(errors.LeaseLost)
    assert str(errors.LeaseLost("the cursor moved")) == "the cursor moved"


@pytest.mark.parametrize("error", [errors.UnfitError, errors.LeaseLost])
def test_the_words_of_an_error_are_one_line(error):
    assert "\n" not in str(error())
