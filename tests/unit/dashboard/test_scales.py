"""Axes end at round numbers, hold what they show, and do not jump."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.dashboard import scales

#: Pixels left of the data, as the style sheet has it, and left of these that a panel has free on a phone.
GUTTER = 44
PADDING = 12


def width(text: str) -> float:
    """Pixels of a text in DejaVu Sans of 11 pixels, which is a wide font."""
    return sum({" ": 3.5, ".": 3.5, ",": 3.5, "/": 3.7, "m": 10.7}.get(character, 7.0) for character in text)


@pytest.mark.parametrize(
    ("highest", "texts"),
    [
        (0, ["0", "0.05", "0.1"]),
        (0.9, ["0", "0.5", "1"]),
        (103, ["0", "40", "80", "120"]),
        (125, ["0", "50", "100", "150"]),
        (14_000, ["0", "5,000", "10,000", "15,000"]),
        (120_000, ["0", "40,000", "80,000", "120 k"]),
        (2_400_000, ["0", "1 M", "2 M"]),
    ],
)
def test_an_axis_has_three_or_four_lines_at_round_numbers(highest: float, texts: list[str]) -> None:
    assert [line.text for line in scales.linear(highest, scales.number).lines] == texts


@given(st.floats(0, 1e12))
def test_an_axis_holds_its_highest_value_and_is_not_much_longer(highest: float) -> None:
    scale = scales.linear(highest, scales.number)
    assert scale.top >= highest * 0.999999
    assert scale.top <= max(0.1, highest * 1.34)
    assert 2 <= len(scale.lines) <= 4


@given(st.floats(1e-3, 1e9), st.sampled_from([scales.linear, scales.seconds]))
def test_the_texts_of_an_axis_have_room_in_the_gutter(highest: float, axis: object) -> None:
    scale = scales.linear(highest, scales.a_second) if axis is scales.linear else scales.seconds(highest)
    assert all(width(line.text) + 6 <= GUTTER + PADDING for line in scale.lines)


def test_an_axis_stays_until_what_it_shows_is_much_less() -> None:
    def top(highest: float, before: float) -> float:
        return scales.linear(highest, scales.number, before=before).top

    assert top(119, 0) == 120
    assert top(119, 150) == 150
    assert top(89, 150) == 100
    assert top(160, 150) == 200


@pytest.mark.parametrize(
    ("longest", "texts"),
    [
        (2.6, ["0", "1 s", "2 s", "3 s"]),
        (60, ["0", "20 s", "40 s", "60 s"]),
        (366, ["0", "4 min", "8 min"]),
        (9_660, ["0", "1 h", "2 h", "3 h"]),
    ],
)
def test_seconds_have_the_unit_that_fits(longest: float, texts: list[str]) -> None:
    assert [line.text for line in scales.seconds(longest).lines] == texts


def test_a_logarithmic_axis_has_a_line_for_each_power_of_ten() -> None:
    scale = scales.decades(0.045, 4.8)
    assert [line.text for line in scale.lines] == ["10 ms", "100 ms", "1 s", "10 s"]
    assert [scale.part(value) for value in (0.01, 0.1, 10, 99, 0.0001)] == pytest.approx([0, 1 / 3, 1, 1, 0])
    assert [line.text for line in scales.decades(0.002, 40).lines] == [
        "1 ms",
        "10 ms",
        "100 ms",
        "1 s",
        "10 s",
        "100 s",
    ]


@pytest.mark.parametrize(
    ("length", "texts"),
    [
        (3_600, ["08:15", "08:30", "08:45"]),
        (21_600, ["10:00", "12:00"]),
        (86_400, ["12:00", "18:00", "00:00", "06:00"]),
        (604_800, ["16 Jan", "18 Jan", "20 Jan"]),
    ],
)
def test_about_four_times_are_named_and_none_at_an_end(length: int, texts: list[str]) -> None:
    start = 1_800_000_000.0  # 15 January 2027, 08:00
    assert [line.text for line in scales.times(start, start + length)] == texts
