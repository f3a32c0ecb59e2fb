"""The locks name what pyproject.toml asks for, and nothing of the machine that made them."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
GROUPS: dict[str, list[Any]] = PROJECT["dependency-groups"]
BASE: list[str] = PROJECT["project"]["dependencies"]
LOCKS = {
    "requirements.lock": [*BASE, *EXTRAS["worker"], *EXTRAS["embedded"], *GROUPS["build"], *GROUPS["dev"]],
    "requirements-worker.lock": [*BASE, *EXTRAS["worker"], *GROUPS["build"]],
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


def test_the_two_locks_agree() -> None:
    everything = locked("requirements.lock")
    assert locked("requirements-worker.lock").items() <= everything.items()


def test_a_producer_needs_no_celery_no_postgres_and_no_http() -> None:
    assert {canonicalize_name(Requirement(text).name) for text in BASE} == {"msgspec", "redis"}


def test_every_ignored_lint_rule_has_its_reason() -> None:
    section = (ROOT / "pyproject.toml").read_text().split("[tool.ruff.lint]")[1].split("[tool.ruff.lint.flake8")[0]
    rules = section.split("ignore = [", 1)[1]
    bare = [line for line in rules.splitlines() if re.match(r'\s*"[A-Z]+[0-9]*"', line) and "#" not in line]
    assert not bare
