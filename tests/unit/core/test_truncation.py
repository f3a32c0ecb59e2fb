"""A cut text fits its bytes and never shows half a character."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.truncation import ELLIPSIS, fit, json_size

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
MARK = 3  # the ellipsis takes three bytes


@given(TEXT, st.integers(0, 700))
def test_a_fitted_text_takes_at_most_its_room(text: str, room: int) -> None:
    fitted = fit(text, room)
    assert json_size(fitted) <= room
    assert fitted in (text, "") or (fitted.endswith(ELLIPSIS) and text.startswith(fitted[:-1]))
    assert msgspec.json.decode(msgspec.json.encode(fitted)) == fitted


@given(TEXT)
def test_a_text_with_room_is_left_alone(text: str) -> None:
    assert fit(text, json_size(text)) == text


@pytest.mark.parametrize(
    ("text", "room", "fitted"),
    [
        pytest.param("abcdef", 5, "ab…", id="plain letters"),
        pytest.param("ééééé", 8, "éé…", id="two-byte letters"),
        pytest.param("ééééé", 6, "é…", id="never half of one"),
        pytest.param("a👍🏽bcdefgh", MARK + 5, "a…", id="a thumb keeps its skin tone"),
        pytest.param("a👩‍👩‍👧 bcdefg", MARK + 12, "a…", id="a family stays together"),
        pytest.param("ae\u0301 bcdefgh", MARK + 2, "a…", id="a letter keeps its accent"),
        pytest.param("🇩🇪🇫🇷🇮🇹!", MARK + 12, "🇩🇪…", id="a flag is two halves"),
        pytest.param("❤\ufe0f abcdef", MARK + 3, "…", id="a heart keeps its colour"),
        pytest.param("line one\r\nline", MARK + 9, "line one…", id="a line end is not left behind"),
        pytest.param('""""""""', MARK + 4, '""…', id="escapes count as they are sent"),
        pytest.param("hello world", MARK + 6, "hello…", id="no space before the ellipsis"),
        pytest.param("abc", 2, "", id="no room even for the ellipsis"),
        pytest.param("", 0, "", id="nothing to cut"),
    ],
)
def test_a_cut_falls_between_characters_as_a_reader_sees_them(text: str, room: int, fitted: str) -> None:
    assert fit(text, room) == fitted


def test_a_pile_of_marks_is_cut_through_rather_than_swallowing_the_text() -> None:
    assert len(fit("word " + "x" + "\u0301" * 500, 400)) > 100
