"""The documentation as a site: each page has its place, and the reference pages say what the code has. `make check` builds it."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click import Context

from config.settings import Settings, variable
from docs.generate import FROM_TOP, GENERATED, filled, for_site
from producers.events import TYPES
from worker.cli._commands import load, names
from worker.reports import reasons
from worker.state.keys import FAMILIES

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
REFERENCE = {path.stem: path.read_text() for path in (*(DOCS / "reference").glob("*.md"), DOCS / "state.md")}


def pages(entry: Any) -> Iterator[str]:
    """The pages of a part of the navigation."""
    if isinstance(entry, str):
        yield entry
    else:
        for one in entry if isinstance(entry, list) else entry.values():
            yield from pages(one)


def command_names(path: list[str], command: Any) -> Iterator[str]:
    yield f"carillon {' '.join(path)}"
    if hasattr(command, "list_commands"):
        context = Context(command)
        for name in command.list_commands(context):
            yield from command_names([*path, name], command.get_command(context, name))


def test_every_page_is_in_the_navigation_once() -> None:
    written = [str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")]
    assert Counter(pages(CONFIG["nav"])) == Counter([*written, *FROM_TOP.values()])


def test_the_pages_of_the_top_level_are_there() -> None:
    assert all((ROOT / source).exists() for source in FROM_TOP)


def test_every_list_that_is_generated_has_its_place() -> None:
    places = [name for text in REFERENCE.values() for name in re.findall(r"<!-- generated: (.*) -->", text)]
    assert sorted(places) == sorted(GENERATED)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        pytest.param("settings", [f"`{variable(field)}`" for field in Settings.model_fields], id="settings"),
        pytest.param(
            "commands", [f"`{one}`\n" for name in names() for one in command_names([name], load(name))], id="commands"
        ),
        pytest.param("events", [f"## {name}\n" for name in TYPES], id="event types"),
        pytest.param("counters", [f"`dropped.{name}`" for name in reasons.DROPS], id="reasons of drops"),
        pytest.param(
            "counters",
            [
                *(f"`skipped.{name}`" for name in reasons.MEMBERS),
                *(f"`skipped_message.{name}`" for name in reasons.MESSAGES),
            ],
            id="reasons of skips",
        ),
        pytest.param("state", [f"| `{one.pattern}` |" for one in FAMILIES.values()], id="keys in Redis"),
    ],
)
def test_a_reference_page_names_all_that_the_code_has(page: str, expected: list[str]) -> None:
    text = filled(REFERENCE[page])
    assert [one for one in expected if one not in text] == []


def test_every_setting_has_a_sentence() -> None:
    sections = re.findall(r"^## `(\w+)`\n\n(.*)", filled(REFERENCE["settings"]), re.MULTILINE)
    assert [name for name, sentence in sections if not re.match(r"[A-Z`].*\.$", sentence)] == []


def test_a_counter_of_the_page_is_one_of_the_code() -> None:
    code = "\n".join(path.read_text() for kind in ("py", "lua") for path in (ROOT / "worker").rglob(f"*.{kind}"))
    written = re.findall(r"^\| `([\w.]+)` \|", REFERENCE["counters"], re.MULTILINE)
    names = [re.sub(r"\.[A-Z]+$", ".", name) for name in written]
    assert len(names) > 20
    assert [name for name in names if not re.search(rf"[\"']{re.escape(name)}", code)] == []


def test_links_lead_to_pages_of_the_site() -> None:
    assert for_site("[rules](docs/rules.md), [changes](CHANGELOG.md)", "contributing.md") == (
        "[rules](rules.md), [changes](changes.md)"
    )
    assert for_site("[policy](../SECURITY.md), [`a.py`](../worker/a.py)", "security.md") == (
        "[policy](reporting.md), `a.py`"
    )


def test_a_bar_in_a_table_s_code_is_shown_without_its_backslash() -> None:
    assert for_site("| `add\\|remove` | a \\| b |", "operations.md") == "| `add|remove` | a \\| b |"


def test_nothing_is_loaded_from_another_host() -> None:
    assert CONFIG["theme"]["font"] is False
    assert not [path for key in ("extra_css", "extra_javascript") for path in CONFIG.get(key, ()) if "//" in path]


def test_every_test_that_a_page_names_is_there() -> None:
    pages = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    named = {(page.name, path) for page in pages for path in re.findall(r"`(tests/[\w./-]+)", page.read_text())}

    assert named
    assert [one for one in sorted(named) if not (ROOT / one[1]).exists()] == []
