"""Words that are gone stay gone, in names and in prose: docs/glossary.md has those that replaced them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = """
aside desk desks doorbell doorbells doubt doubted doubtful doubting doubts fate fates halt halted halting halts house houses
keeper keepers lately nth parcel parcels park parked parking parks quarantine quarantined quarantines rang ring ringing rings
road roads rung settle settled settlement settles settling skim skimmed skimming skims station stations stories story suspect
suspected suspecting suspects suspicion suspicions told
"""
GONE = frozenset(WORDS.split())
#: Names that stay because something else knows them, and what that is.
KEPT = {
    r"carillon:(?:\{\*\}:)?parked|[\"'`]parked\b": "a Redis key; a counter; a kind of outcome in the ledger",
    r"carillon:suspects|[\"'`]suspects\b": "Redis keys",
    r"\bdoubted_at\b": "a column of an applied migration",
    r"\bkeeper\.lock\b": "a file that the supervisor of an older release may hold",
    r"\bbadges_told\b": "a counter",
}
SUFFIXES = {".css", ".html", ".js", ".json", ".lua", ".md", ".mjs", ".py", ".sh", ".sql", ".toml", ".yaml", ".yml"}
#: Files without a suffix that people read.
PLAIN = {"Dockerfile", "Makefile", "Procfile"}
EXEMPT = {
    "CHANGELOG.md": "its past entries say what was released",
    "worker/demo/phrases.py": "what people say in a chat",
    "tests/unit/test_words.py": "the list itself",
}
#: Folders with files that nobody rewrites: records of the past, and migrations, which are applied by their names and texts.
FROZEN = ("tests/data/", "tests/integration/upgrade/backlog-", "worker/database/migrations/")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
FOLDERS = ("benchmarks", "config", "deploy", "docs", "producers", "tests", "worker")


def words(text: str) -> Iterator[tuple[int, str]]:
    """Each word of a text in lower case with its line; a name counts as the words it is made of."""
    for number, line in enumerate(text.splitlines(), 1):
        for found in WORD.findall(line):
            yield number, found.lower()


def files() -> Iterator[Path]:
    paths = [*ROOT.glob("*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        if (path.suffix in SUFFIXES or name in PLAIN) and name not in EXEMPT and not name.startswith(FROZEN):
            yield path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("must ring, once", ["must", "ring", "once"], id="prose"),
        pytest.param("broadcast history string", ["broadcast", "history", "string"], id="a word within a word is none"),
        pytest.param("_told_at = RETRY_NTH", ["told", "at", "retry", "nth"], id="underscores"),
        pytest.param("ringFanOut(HTTPDesk)", ["ring", "fan", "out", "http", "desk"], id="capitals"),
        pytest.param("parked.held", ["parked", "held"], id="dots"),
    ],
)
def test_words_are_split_as_a_reader_splits_them(text: str, expected: list[str]) -> None:
    assert [word for _, word in words(text)] == expected


def test_words_have_their_lines() -> None:
    assert list(words("one\ntwo words")) == [(1, "one"), (2, "two"), (2, "words")]


def test_no_word_that_is_gone_is_in_code_or_docs() -> None:
    found = []
    for path in files():
        text = re.sub("|".join(KEPT), "", path.read_text())
        name = path.relative_to(ROOT).as_posix()
        found += [
            f"{name}: {word}" for _, word in words(name.removesuffix(path.suffix)) if word in GONE or word == "beside"
        ]
        found += [f"{name}:{line}: {word}" for line, word in words(text) if word in GONE]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", KEPT)
def test_a_name_that_stays_is_in_use(name: str) -> None:
    sources = (path for path in (ROOT / "worker").rglob("*") if path.suffix in SUFFIXES)
    assert any(re.search(name, path.read_text()) for path in sources)
