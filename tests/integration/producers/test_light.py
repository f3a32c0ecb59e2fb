"""A chat server that installs Carillon for its producer loads what publishing needs, and nothing at all before."""

import json
import subprocess
import sys

import pytest

HEAVY = (
    "asyncio",
    "celery",
    "config",
    "cryptography",
    "httpx",
    "kombu",
    "msgspec",
    "psycopg",
    "pydantic",
    "redis",
    "worker",
)


def loaded_after(code: str) -> set[str]:
    """Top-level modules of a clean interpreter once it ran the code."""
    program = f"{code}\nimport json, sys; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(json.loads(ran.stdout))


def test_import_producers_loads_nothing_heavy() -> None:
    assert not loaded_after("import producers") & set(HEAVY)


def test_the_contract_loads_msgspec_and_no_client() -> None:
    assert loaded_after("from producers import MessageNew, decode, EventError, PublishError") & set(HEAVY) == {
        "msgspec"
    }


@pytest.mark.parametrize("name", ["Publisher", "AsyncPublisher"])
def test_a_publisher_needs_no_worker(name: str) -> None:
    loaded = loaded_after(f"from producers import {name}; {name}('redis://localhost')")
    assert loaded & set(HEAVY) <= {"asyncio", "msgspec", "redis", "cryptography"}


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    import producers

    with pytest.raises(AttributeError, match="Publsher"):
        producers.Publsher  # noqa: B018
    assert set(producers.__all__) <= set(dir(producers))
    assert all(getattr(producers, name) is not None for name in producers.__all__)
