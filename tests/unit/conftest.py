"""A test of this tier starts no process and no engine."""

import subprocess
from typing import Never

import pytest


@pytest.fixture(autouse=True)
def _no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> Never:
        pytest.fail("a process: this test belongs to another tier")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)


@pytest.fixture(scope="session")
def engine_urls() -> Never:
    pytest.fail("an engine: this test belongs to another tier")
