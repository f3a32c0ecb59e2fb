"""docs/promises.md: every promise has a test that carries its number, and is kept where the table says."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROWS = re.findall(r"^\| ([SAMPO]\d+) \| .* \| (.*) \|$", (ROOT / "docs/promises.md").read_text(), re.MULTILINE)
#: Names of tests and ids of their rows.
NAMES = "\n".join(
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"def (test_\w+)|id=\"([^\"]+)\"", path.read_text())
    for name in name
).replace("_", " ")


def test_no_promise_is_missing():
    expected = [*(f"S{n}" for n in range(1, 21)), *(f"A{n}" for n in range(1, 7)), *(f"M{n}" for n in range(1, 7))]
    expected += [*(f"P{n}" for n in range(1, 8)), *(f"O{n}" for n in range(1, 13))]
    assert [number for number, _ in ROWS] == expected


def test_every_promise_is_tested():
    assert [number for number, _ in ROWS if not re.search(rf"(?<![A-Za-z0-9]){number}(?![A-Za-z0-9])", NAMES)] == []


def test_every_promise_is_kept_where_the_table_says():
    missing = [
        (number, place)
        for number, places in ROWS
        for place in re.findall(r"`([^`]+)`", places)
        if not (ROOT / place).exists()
    ]
    assert missing == []
