"""docs/promises.md: every promise has a test that carries its number, and is kept where the table says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = re.findall(r"^\| ([SAMP]\d+) \| .* \| (.*) \|$", (ROOT / "docs/promises.md").read_text(), re.MULTILINE)
#: Names of tests and ids of their rows.
NAMES = "\n".join(
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"def (test_\w+)|id=\"([^\"]+)\"", path.read_text())
    for name in name
)


def test_no_promise_is_missing():
    expected = [*(f"S{n}" for n in range(1, 20)), *(f"A{n}" for n in range(1, 7)), *(f"M{n}" for n in range(1, 7))]
    assert [number for number, _ in ROWS] == [*expected, *(f"P{n}" for n in range(1, 8))]


@pytest.mark.parametrize(("number", "places"), [pytest.param(*row, id=f"promise {row[0]}") for row in ROWS])
def test_a_promise_is_tested_and_kept_where_the_table_says(number, places):
    assert re.search(rf"(?<![A-Za-z0-9]){number}(?![A-Za-z0-9])", NAMES.replace("_", " "))
    for place in re.findall(r"`([^`]+)`", places):
        assert (ROOT / place).exists(), place
