"""Nothing that a document or a name holds reaches the terminal as a command to it."""

import ast
import json
import logging
from pathlib import Path

import pytest
from rich.cells import cell_len

from config.logs import TextFormatter
from tests.integration.cli.conftest import Cli
from worker.cli._terminal import folded, json_shown, json_text, shown

COMMANDS = Path(__file__).parents[3] / "worker" / "cli"
HOSTILE = "a\x1b[31mred\x1b[0m\x9b2J\x7f\u202etxt\u2066\r"


def test_commands_print_through_one_place():
    direct = [
        f"{path.name}:{node.lineno}"
        for path in COMMANDS.glob("*.py")
        if path.name != "_terminal.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "typer.echo", "typer.secho", "click.echo")
    ]
    assert direct == []


def test_control_and_bidirectional_characters_are_spelt_out():
    assert shown(HOSTILE) == r"a\x1b[31mred\x1b[0m\x9b2J\x7f\u202etxt\u2066\x0d"
    assert shown("Ünï 日本 🚀 עברית a\nb") == r"Ünï 日本 🚀 עברית a\x0ab"
    assert shown("a\nb\tc", lines=True) == "a\nb\tc"


FINDING = "FAIL urgent worker: no canary within 10 s: start carillon worker, or restart it if its log is silent"
TODO = "  3 wait: app 'chat' has no provider: carillon push apn --app chat --environment sandbox, then try again"


@pytest.mark.parametrize("width", [40, 60, 100])
@pytest.mark.parametrize("text", [FINDING, TODO, f"{FINDING}\n{TODO}", "日本語 " * 40, "ok   a: b"])
def test_sentences_are_folded_between_words(text: str, width: int):
    lines = folded(text, width).split("\n")
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())
    for line in lines:
        assert cell_len(line) <= width or line.strip().startswith("carillon push apn"), line
    assert any("carillon push apn --app chat --environment sandbox" in line for line in lines) == (TODO in text)
    assert lines[0].startswith(text[:6]), "what stands in columns stays there"


@pytest.mark.parametrize(
    "line", ['{"aps": {"alert": "a long text that nobody folds"}}', '    "body": "nor a part of it"', "x" * 50]
)
def test_json_and_what_has_no_blank_stays_whole(line: str):
    assert folded(line, 20) == line


def test_json_stays_the_same_json():
    assert json.loads(json_text({"x": HOSTILE, "y": "\ud83d"})) == {"x": HOSTILE, "y": "\ud83d"}
    assert json.loads(json_shown(json.dumps([HOSTILE], ensure_ascii=False, indent=2))) == [HOSTILE]
    for text in (json_text(HOSTILE), json_shown(json.dumps(HOSTILE, ensure_ascii=False))):
        assert text.isprintable()


@pytest.mark.parametrize("document", [HOSTILE.encode(), json.dumps({"id": HOSTILE}, ensure_ascii=False).encode()])
def test_a_dead_letter_is_shown_without_commands_to_the_terminal(cli: Cli, document: bytes, postgres_url: str):
    from worker.database.ledger import DeadLetter, Ledger
    from worker.database.postgres import open_pool

    pool = open_pool(postgres_url, size=1)
    Ledger(pool).add_dead_letter(DeadLetter("1-1", HOSTILE, HOSTILE, f"wrong: {HOSTILE}", document))
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
