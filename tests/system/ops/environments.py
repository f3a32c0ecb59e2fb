"""Virtual environments without downloads: links to what is installed here. Helper of the tests beside it."""

import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
PROJECTS = (ROOT / "pyproject.toml", ROOT / "producers" / "pyproject.toml")


def pip(*arguments: str, cwd: Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def closure(asked: Iterable[str]) -> set[str]:
    """The names of the installed distributions that satisfy these requirements."""
    done: set[tuple[str, str]] = set()
    waiting = list(asked)
    while waiting:
        one = Requirement(waiting.pop())
        for extra in ({"", *one.extras}) - {extra for name, extra in done if name == one.name}:
            if one.marker is None or one.marker.evaluate():
                done.add((one.name, extra))
                waiting += needs_of(one.name, extra)
    return {name for name, _ in done}


def needs_of(name: str, extra: str) -> Iterator[str]:
    """What a distribution needs with this extra, without the condition that named it."""
    for text in distribution(name).requires or ():
        need = Requirement(text)
        if need.marker is None or need.marker.evaluate({"extra": extra}):
            need.marker = None
            yield str(need)


def runtime(*extras: str) -> set[str]:
    """The names of all that both distributions need, with these extras of the worker's."""
    asked = [need for path in PROJECTS for need in tomllib.loads(path.read_text())["project"]["dependencies"]]
    more = tomllib.loads(PROJECTS[0].read_text())["project"]["optional-dependencies"]
    asked += [need for extra in extras for need in more[extra]]
    return closure(need for need in asked if not need.startswith("carillon-push"))


class Environment:
    """A virtual environment with links to installed distributions in place of downloads."""

    def __init__(self, directory: Path, needed: set[str]) -> None:
        venv.create(directory, symlinks=True)
        self.bin = directory / "bin"
        site = next(directory.glob("lib/python*/site-packages"))
        for name in needed:
            package = distribution(name)
            tops = {file.parts[0] for file in package.files or () if file.parts[0] not in ("..", "__pycache__")}
            for top in tops:
                if not (site / top).exists():
                    (site / top).symlink_to(str(package.locate_file(top)))

    def install(self, *wheels: Path) -> None:
        pip("--python", str(self.bin / "python"), "install", "--no-index", *map(str, wheels), cwd=self.bin)

    def run(self, *command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment; no setting of the caller's reaches it."""
        kept = {"PATH": os.defpath, "HOME": str(cwd), **variables}
        program = str(self.bin / command[0])
        return subprocess.run([program, *command[1:]], cwd=cwd, env=kept, capture_output=True, text=True, check=False)
