"""Nothing that a document or a name holds reaches the terminal as a command to it."""

import ast
import json
import logging
from pathlib import Path

import pytest

from config.logs import TextFormatter
from tests.cli.conftest import Cli
from worker.cli._terminal import json_shown, json_text, shown

COMMANDS = Path(__file__).parents[2] / "worker" / "cli"
HOSTILE = "a\x1b[31mred\x1b[0m\x9b2J\x7f\u202etxt\u2066\r"


@pytest.mark.parametrize("path", sorted(COMMANDS.glob("*.py")), ids=lambda path: path.stem)
def test_commands_print_through_one_place(path):
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    direct = [
        call.lineno
        for call in calls
        if (isinstance(call, ast.Name) and call.id == "print")
        or (isinstance(call, ast.Attribute) and ast.unparse(call) in ("typer.echo", "typer.secho", "click.echo"))
    ]
    assert path.name == "_terminal.py" or direct == []


def test_control_and_bidirectional_characters_are_spelt_out():
    assert shown(HOSTILE) == r"a\x1b[31mred\x1b[0m\x9b2J\x7f\u202etxt\u2066\x0d"
    assert shown("Ünï 日本 🚀 עברית a\nb") == r"Ünï 日本 🚀 עברית a\x0ab"
    assert shown("a\nb\tc", lines=True) == "a\nb\tc"


def test_json_stays_the_same_json():
    assert json.loads(json_text({"x": HOSTILE, "y": "\ud83d"})) == {"x": HOSTILE, "y": "\ud83d"}
    assert json.loads(json_shown(json.dumps([HOSTILE], ensure_ascii=False, indent=2))) == [HOSTILE]
    for text in (json_text(HOSTILE), json_shown(json.dumps(HOSTILE, ensure_ascii=False))):
        assert text.isprintable()


@pytest.mark.parametrize("document", [HOSTILE.encode(), json.dumps({"id": HOSTILE}, ensure_ascii=False).encode()])
def test_a_dead_letter_is_shown_without_commands_to_the_terminal(cli: Cli, document: bytes, postgres_url: str):
    from worker.stores.ledger import DeadLetter, Ledger
    from worker.stores.postgres import open_pool

    pool = open_pool(postgres_url, size=1)
    Ledger(pool).set_aside(DeadLetter("1-1", HOSTILE, HOSTILE, f"wrong: {HOSTILE}", document))
    [letter] = Ledger(pool).dead_letters()
    pool.close()
    for words in (("list",), ("list", "--json"), ("show", letter.id), ("show", letter.id, "--json")):
        printed = cli.ok("dead-letters", *words)
        assert printed.replace("\n", "").isprintable(), words


def test_a_template_of_a_kind_that_no_message_has_is_refused(with_key: Cli, tmp_path):
    file = tmp_path / "t.json"
    file.write_text('{"aps": {"alert": "x"}}')
    assert "no control characters" in with_key.refused("template", "set", file, "--kind", "a\x1b[31mb")


def test_a_log_line_stays_one_line():
    record = logging.makeLogRecord({"name": "worker.x", "msg": "event dead-lettered", "levelname": "WARNING"})
    record.app = f"{HOSTILE}\nERROR forged"
    assert TextFormatter().format(record).isprintable()
