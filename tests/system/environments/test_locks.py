"""The locks hold for every platform: their markers, as `platforms.py` evaluates them before it asks the index."""

import pytest

from tests.system.environments.platforms import LOCKS, PLATFORMS, wanted


def names(lock: str, platform: str, python: str) -> set[str]:
    markers, _ = PLATFORMS[platform]
    versions = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    implementation = {"platform_python_implementation": "CPython", "implementation_name": "cpython"}
    return {line.partition("==")[0] for line in wanted(lock, markers | versions | implementation)}


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock != "requirements-docs.lock"])
def test_platforms_differ_by_what_they_need(lock: str) -> None:
    newest = names(lock, "Linux x86_64", "3.14.0")
    assert {"celery", "psycopg-binary", "uvloop"} <= newest
    for platform in PLATFORMS:
        for python in ("3.12.0", "3.13.0", "3.14.0"):
            assert newest >= names(lock, platform, python) - {"appnope", "colorama"}
    # Debian 12 has 3.11.2, in which asyncio lacks what redis-py needs.
    assert names(lock, "Linux x86_64", "3.11.2") - names(lock, "Linux x86_64", "3.11.3") == {"async-timeout"}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_has_a_version_and_a_hash(lock: str) -> None:
    markers, _ = PLATFORMS["Linux x86_64"]
    lines = [*wanted(lock, markers)]
    assert len(lines) > 20
    assert all("==" in line and "--hash=sha256:" in line for line in lines)
