"""The locks name what pyproject.toml asks for, and nothing of the machine that made them."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PRODUCERS: dict[str, Any] = tomllib.loads((ROOT / "producers" / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
GROUPS: dict[str, list[Any]] = PROJECT["dependency-groups"]
LIGHT: list[str] = PRODUCERS["project"]["dependencies"]
BASE = [*LIGHT, *(need for need in PROJECT["project"]["dependencies"] if not need.startswith("carillon-push=="))]
LOCKS = {
    "requirements.lock": [*BASE, *EXTRAS["embedded"], *GROUPS["build"], *GROUPS["dev"]],
    "requirements-runtime.lock": [*BASE, *EXTRAS["embedded"], *GROUPS["build"]],
    "requirements-worker.lock": [*BASE, *GROUPS["build"]],
    "requirements-docs.lock": GROUPS["docs"],
}


def locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==([^\s;]+)", (ROOT / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_satisfies_what_is_asked_for(name: str) -> None:
    versions = locked(name)
    asked = [Requirement(text) for text in LOCKS[name] if isinstance(text, str)]
    stale = [
        str(need) for need in asked if not need.specifier.contains(versions.get(canonicalize_name(need.name), "0"))
    ]
    assert not stale, "run: make lock"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_host_and_no_path(name: str) -> None:
    assert not re.findall(r"://|^\s*-[-a-z]+ (?!sha256)|(?<!\w)/\w|file:", (ROOT / name).read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_hash(name: str) -> None:
    blocks = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_locks_agree() -> None:
    everything, runtime = locked("requirements.lock"), locked("requirements-runtime.lock")
    assert locked("requirements-worker.lock").items() <= runtime.items() <= everything.items()
    docs = locked("requirements-docs.lock")
    assert {name: docs[name] for name in docs.keys() & everything} == {
        name: everything[name] for name in docs.keys() & everything
    }


def test_up_and_demo_install_what_runs_carillon_and_the_rest_everything() -> None:
    rules = dict(re.findall(r"^([a-z-]+|\$\([A-Z]+\)): ([^#\n]*)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    needed = {name: rest.split() for name, rest in rules.items()}
    assert needed["up"] == needed["demo"] == ["$(RUNTIME)"]
    assert "requirements-runtime.lock" in needed["$(RUNTIME)"]
    assert needed["test"] == ["$(READY)"]
    assert needed["$(READY)"] == ["requirements.lock", "$(RUNTIME)"]
    assert needed["check"] == needed["docs"] == ["$(DOCS)"]
    assert needed["$(DOCS)"] == ["requirements-docs.lock", "$(READY)"]


def test_a_producer_needs_three_packages() -> None:
    assert {canonicalize_name(Requirement(text).name) for text in LIGHT} == {"hiredis", "msgspec", "redis"}


def test_the_two_distributions_have_one_version_and_one_licence() -> None:
    version = PROJECT["project"]["version"]
    assert PRODUCERS["project"]["version"] == version
    assert f"carillon-push=={version}" in PROJECT["project"]["dependencies"]
    assert (ROOT / "producers" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_no_extra_names_a_distribution_of_ours() -> None:
    assert not [need for needs in EXTRAS.values() for need in needs if need.startswith("carillon")]


def test_no_text_installs_a_name_of_ours_from_an_index() -> None:
    """`carillon` on the package index is a stranger's; ours are installed by path or wheel, in one command."""
    texts = [*ROOT.glob("*.md"), ROOT / "Dockerfile", ROOT / "Makefile", *(ROOT / "docs").rglob("*.md")]
    texts += [path for folder in ("producers", "worker", "config") for path in (ROOT / folder).rglob("*.[pm][yd]")]
    asked = re.compile(
        r"(?:pip|uv|pipx|poetry)\S* (?:install|add) [^\n`]*?(?<![\w./-])['\"]?carillon(?:-push)?(?:-worker)?\b(?![.\w-]*whl)"
    )
    decisions = ROOT / "docs" / "decisions" / "two-distributions.md"  # says why not
    assert not [path.name for path in texts if path != decisions and asked.search(path.read_text())]


def test_every_ignored_lint_rule_has_its_reason() -> None:
    section = (ROOT / "pyproject.toml").read_text().split("[tool.ruff.lint]")[1].split("[tool.ruff.lint.flake8")[0]
    rules = section.split("ignore = [", 1)[1]
    bare = [line for line in rules.splitlines() if re.match(r'\s*"[A-Z]+[0-9]*"', line) and "#" not in line]
    assert not bare
