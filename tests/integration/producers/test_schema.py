"""The JSON Schema in the documentation is the contract, and so is every example there."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from producers import MAX_DOCUMENT, decode, schema, wire
from producers.events import TYPES
from tests.integration.producers.stored import ids, stored
from tests.unit.producers.examples import DEVICE, EVERY_TYPE, MESSAGE, MISSING, changed

DOCS = Path(__file__).parents[3] / "docs"
FENCE = re.compile(r"^```json\n(.*?)^```", re.DOTALL | re.MULTILINE)


def examples() -> list[dict[str, Any]]:
    return [json.loads(block) for block in FENCE.findall((DOCS / "contract.md").read_text())]


def test_the_schema_in_the_documentation_is_generated_from_the_code() -> None:
    written = (DOCS / "event.schema.json").read_text()
    assert json.loads(written) == schema(), "python -m producers schema > docs/event.schema.json"
    printed = subprocess.run([sys.executable, "-m", "producers", "schema"], check=True, capture_output=True, text=True)
    assert written == printed.stdout


def test_the_documentation_has_an_example_of_every_type_and_each_is_valid() -> None:
    assert {example["type"] for example in examples()} == set(TYPES)
    for example in examples():
        decode(json.dumps(example))


def test_every_type_is_among_the_tests_examples() -> None:
    assert {event["type"] for event in EVERY_TYPE} == set(TYPES)


def test_the_schema_accepts_what_the_reader_accepts() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="only the schema's own agreement needs it")
    validator = jsonschema.Draft202012Validator(schema())
    for event in [*EVERY_TYPE, *examples()]:
        validator.validate(event)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(changed(MESSAGE, v=MISSING), id="no version"),
        pytest.param(changed(MESSAGE, v=2), id="another version"),
        pytest.param(changed(MESSAGE, type="reaction.new"), id="another type"),
        pytest.param(changed(MESSAGE, extra=1), id="an unknown field"),
        pytest.param(changed(MESSAGE, id=""), id="an empty id"),
        pytest.param(changed(MESSAGE, id="a\n"), id="a line break in an id"),
        pytest.param(changed(MESSAGE, app="a:b"), id="a colon in an app"),
        pytest.param(changed(MESSAGE, message__text="a\0"), id="a NUL in a text"),
        pytest.param(changed(MESSAGE, message__text="x" * 40_001), id="a text too long"),
        pytest.param(changed(MESSAGE, recipients=["u"] * 10_001), id="too many recipients"),
        pytest.param(changed(DEVICE, device__environment="prod"), id="another environment"),
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(document: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="only the schema's own agreement needs it")
    assert not jsonschema.Draft202012Validator(schema()).is_valid(document)


def test_every_python_example_in_the_documentation_runs(redis_url: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / "contract.md").read_text(), re.DOTALL | re.MULTILINE)
    for block in blocks * 2:
        exec(block.replace("redis://localhost:6379/0", redis_url), {})
    assert len(blocks) == 3
    assert len(set(ids(redis_url))) == 4, "an example's id is never one that was used"
    assert all(abs(datetime.now(UTC) - event.at) < timedelta(minutes=5) for _, event in stored(redis_url))


def test_the_bounds_in_the_documentation_are_those_of_the_code() -> None:
    text = (DOCS / "contract.md").read_text()
    for bound in (MAX_DOCUMENT, wire.MAX_BACKLOG, wire.MAX_ONLINE, wire.CHUNK_EVENTS):
        assert f"{bound:,}" in text
    lengths = set(re.findall(r'"max(?:Length|Items|Properties)": (\d+)', (DOCS / "event.schema.json").read_text()))
    for length in lengths:
        assert f"{int(length):,} " in text, length
