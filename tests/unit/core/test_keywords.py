"""Keywords in texts: the table, and the same answer as that of a search letter by letter."""

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.keywords import called_by

CASES = json.loads((Path(__file__).parent / "keyword-vectors.json").read_text())


@pytest.mark.parametrize("case", [pytest.param(case, id=f"K{n:02}") for n, case in enumerate(CASES, 1)])
def test_a_keyword_is_in_a_text(case):
    assert called_by(case["text"], {"han": [case["keyword"]]}) == (["han"] if case["hit"] else [])


def test_users_are_called_once_by_any_of_their_keywords():
    keywords = {"han": ["deploy", "r2"], "luke": ["r2"], "leia": ["bespin"], "chewie": []}
    assert sorted(called_by("R2: deploy!", keywords)) == ["han", "luke"]


def is_word(letter: str) -> bool:
    return letter == "_" or unicodedata.category(letter)[0] in "LNM"


def plainly(text: str, keyword: str) -> bool:
    """Letter by letter, for letters that are their own normal form."""
    places = [n for n in range(len(text)) if text.startswith(keyword, n)]
    unspaced = "会議"
    return any(
        not (is_word(keyword[0]) and keyword[0] not in unspaced and n > 0 and is_word(text[n - 1]))
        and not (
            is_word(keyword[-1])
            and keyword[-1] not in unspaced
            and n + len(keyword) < len(text)
            and is_word(text[n + len(keyword)])
        )
        for n in places
    )


LETTERS = st.text("ab-_+会議", min_size=1)


@given(st.text("ab-_+会議", max_size=40), LETTERS)
def test_it_is_found_where_a_search_letter_by_letter_finds_it(text, keyword):
    assert bool(called_by(text, {"han": [keyword]})) is plainly(text, keyword)
