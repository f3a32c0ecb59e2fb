"""Any data gives a valid SVG that stays inside its box and says in words what it shows."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.dashboard import charts, scales
from worker.dashboard.charts import (
    CHARACTER,
    HEIGHT,
    NARROWEST,
    WIDE,
    Lane,
    Layer,
    Mark,
    Percentiles,
    Span,
    change,
    describe,
)

START = 1_800_000_000.0
#: Pixels left of the data, as the style sheet has it.
GUTTER = 44
HOUR = Span(START, START + 3_600)
N = 12
#: Seconds of 90 days at most, where they are seconds.
VALUE = st.none() | st.floats(0, 8e6)
VALUES = st.lists(VALUE, min_size=N, max_size=N)
#: Widest texts that a mark may be asked for.
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), max_size=80)
SPANS = st.sampled_from([3_600, 21_600, 86_400, 604_800]).map(lambda length: Span(START, START + length))
MARKS = st.lists(st.builds(Mark, st.floats(START - 100, START + 700_000), NAMES, st.sampled_from(["crit", "dep"])))
QUICK = settings(max_examples=20, deadline=None)


@st.composite
def layers(draw: st.DrawFn) -> list[Layer]:
    gaps = draw(st.sets(st.integers(0, N - 1)))
    drawn = [draw(st.lists(st.floats(0, 1e9), min_size=N, max_size=N)) for _ in range(draw(st.integers(1, 4)))]
    return [
        Layer(key, key, [None if n in gaps else value for n, value in enumerate(values)])
        for key, values in zip(["accepted", "refused", "retry", "held"], drawn, strict=False)
    ]


def parsed(svg: str) -> Element:
    """Nothing but numbers, classes and escaped texts is in it: a style attribute would be against the CSP."""
    root = ET.fromstring(svg)
    assert not [each for each in root.iter() if {"style", "onload"} & {*each.keys()}]
    return root


def points(path: str) -> Iterator[tuple[float, float]]:
    """The corners of a path as charts write it."""
    x = y = 0.0
    for command, numbers in re.findall(r"([MVhvlz])([^MVhvlz]*)", path):
        given = [float(number) for number in numbers.split()]
        match command:
            case "M":
                x, y = given
            case "V":
                y = given[0]
            case "h":
                x += given[0]
            case "v":
                y += given[0]
            case "l":
                x, y = x + given[0], y + given[1]
        yield x, y


def inside(root: Element, width: int, height: int = HEIGHT) -> bool:
    corners = [corner for each in root.iter("path") for corner in points(each.get("d", ""))]
    boxes = [
        (float(each.get("x", 0)), float(each.get("x", 0)) + float(each.get("width", 0)))
        for each in root.iter("rect")
        if "%" not in each.get("width", "")
    ]
    return all(0 <= x <= width and 0 <= y <= height for x, y in corners) and all(0 <= a <= b <= width for a, b in boxes)


def extent(text: Element, width: float) -> tuple[float, float]:
    """Where a text begins and ends on a plot of so many pixels; 0 is where the plot begins, right of the gutter."""
    x, length = text.get("x", ""), len(text.text or "") * CHARACTER
    at = width * float(x[:-1]) / 100 if x.endswith("%") else float(x)
    anchor = text.get("text-anchor", "start")
    return at - {"start": 0, "middle": length / 2, "end": length}[anchor], at + {
        "start": length,
        "middle": length / 2,
        "end": 0,
    }[anchor]


def in_their_places(root: Element) -> bool:
    """The texts of the left axis are in the gutter, all others right of it and within the chart, on a phone and on a screen."""
    for width, other in ((NARROWEST, " w"), (WIDE, " s")):
        found = [
            (each.get("x"), extent(each, width))
            for each in root.iter("text")
            if not each.get("class", "").endswith(other)
        ]
        gutter = [of for x, of in found if x == "-6"]
        plot = [of for x, of in found if x != "-6"]
        if not all(a >= -GUTTER - 12 and b <= 0 for a, b in gutter) or not all(
            a >= -1 and b <= width + 1 for a, b in plot
        ):
            return False
    return True


@QUICK
@given(layers(), SPANS, MARKS, NAMES)
def test_stacked_steps_are_valid_and_inside_their_box(
    stack: list[Layer], span: Span, marks: list[Mark], name: str
) -> None:
    sums = [sum(value or 0 for value in values) for values in zip(*(layer.values for layer in stack), strict=True)]
    scale = scales.linear(max(sums), scales.number)
    root = parsed(charts.stacked(stack, scale, span, name, marks))
    assert inside(root, N)
    assert in_their_places(root)


@QUICK
@given(layers())
def test_the_top_of_a_stack_is_the_sum_of_its_layers(stack: list[Layer]) -> None:
    sums = [
        None if None in each else sum(v or 0 for v in each)
        for each in zip(*(layer.values for layer in stack), strict=True)
    ]
    scale = scales.linear(max((each or 0 for each in sums), default=0), scales.number)
    root = parsed(charts.stacked(stack, scale, HOUR, ""))
    fills = [each for each in root.iter("path") if each.get("class", "").startswith("f-")]
    if any(sums):
        top = dict(tops(fills[0].get("d", "")))
        for n, total in enumerate(sums):
            assert top.get(n) == (None if total is None else round(HEIGHT * (1 - scale.part(total))))


def tops(path: str) -> Iterator[tuple[int, float]]:
    """The level of each bucket of an area in steps."""
    for area in path.split("M")[1:]:
        corners = list(points(f"M{area}"))
        for before, after in pairwise(corners):
            yield from ((n, after[1]) for n in range(int(before[0]), int(after[0])))


@QUICK
@given(layers())
def test_what_has_no_data_is_hatched_and_nothing_is_drawn_there(stack: list[Layer]) -> None:
    root = parsed(charts.stacked(stack, scales.linear(1e10, scales.number), HOUR, ""))
    hatched = {
        n
        for each in root.iter("rect")
        for n in range(int(each.get("x", 0)), int(each.get("x", 0)) + int(each.get("width", 0)))
    }
    assert hatched == {n for n, value in enumerate(stack[0].values) if value is None}
    drawn = {n for each in root.iter("path") for n, _ in tops(each.get("d", ""))}
    assert not hatched & drawn


def test_a_bucket_with_a_part_of_its_data_has_a_strip_at_the_base() -> None:
    root = parsed(
        charts.stacked(
            [Layer("accepted", "accepted", [1.0] * N)], scales.linear(1, str), HOUR._replace(partial=frozenset({3})), ""
        )
    )
    [strip] = root.iter("rect")
    assert (strip.get("x"), strip.get("width"), strip.get("y"), strip.get("height")) == ("3", "1", "108", "4")


@QUICK
@given(
    st.lists(
        st.none() | st.tuples(st.floats(1e-4, 1e4), st.floats(1, 9), st.floats(1, 9), st.integers(1, 99)),
        min_size=N,
        max_size=N,
    ),
    MARKS,
)
def test_percentiles_are_valid_and_inside_their_box(
    given_: Sequence[tuple[float, float, float, int] | None], marks: list[Mark]
) -> None:
    values = [
        None if each is None else Percentiles(each[0], each[0] * each[1], each[0] * each[1] * each[2], each[3])
        for each in given_
    ]
    known = [each for each in values if each is not None]
    scale = scales.decades(min((one.p50 for one in known), default=0.1), max((one.p99 for one in known), default=0.1))
    root = parsed(charts.percentiles(values, scale, HOUR, "", marks, known=[each is not None for each in values]))
    assert inside(root, N)
    assert in_their_places(root)


@pytest.mark.parametrize(("samples", "band"), [(19, False), (20, True)])
def test_few_samples_are_dots_and_no_bands(samples: int, band: bool) -> None:
    root = parsed(charts.percentiles([Percentiles(0.02, 0.1, 0.3, samples)] * N, scales.decades(0.02, 0.3), HOUR, ""))
    drawn = {each.get("class") for each in root.iter("path") if each.get("d")}
    assert drawn == ({"band", "band2", "l", "l p99"} if band else {"dot", "dot far"})


@QUICK
@given(VALUES, VALUES, MARKS, NAMES, st.floats(0, 1e6))
def test_lines_are_valid_and_inside_their_box(
    one: list[float | None], two: list[float | None], marks: list[Mark], name: str, limit: float
) -> None:
    scale = scales.seconds(max((v for v in [*one, *two] if v is not None), default=0))
    drawn = charts.lines(
        [Layer("", "urgent", one), Layer("held", "held back", two)],
        scale,
        HOUR,
        name,
        marks,
        limit=scales.Line(limit, name),
    )
    root = parsed(drawn)
    assert inside(root, N)
    assert in_their_places(root)


def test_a_line_is_broken_where_it_has_no_data() -> None:
    values = [1.0, 1.0, None, 2.0, None, 3.0, *[None] * 6]
    root = parsed(charts.lines([Layer("", "urgent", values)], scales.linear(4, str), HOUR, ""))
    [path] = root.iter("path")
    assert path.get("d") == "M0.5 84l1 0M3.5 56h0M5.5 28h0"


@QUICK
@given(
    st.lists(
        st.builds(
            Lane,
            NAMES,
            st.lists(
                st.tuples(
                    st.floats(START - 9e4, START + 86_400), st.floats(0, 9e4), st.sampled_from(["crit", "warn", "nd"])
                ).map(lambda each: (each[0], max(START, each[0] + each[1]), each[2]))
            ),
        )
    ),
    NAMES,
)
def test_lanes_are_valid_and_inside_their_box(rows: list[Lane], name: str) -> None:
    root = parsed(charts.lanes(rows, Span(START, START + 86_400), name))
    for each in root.iter("rect"):
        x, width = float(each.get("x", "")[:-1]), float(each.get("width", "")[:-1])
        assert x >= 0 and width >= 0.7 and x + width <= 100.01
    assert all(a >= -1 and b <= NARROWEST + 6 for a, b in (extent(each, NARROWEST) for each in root.iter("text")))


@QUICK
@given(VALUES)
def test_a_sparkline_is_inside_its_box(values: list[float | None]) -> None:
    assert inside(parsed(charts.spark(values)), N // 2, 22)


@QUICK
@given(layers(), SPANS)
def test_the_sentence_has_a_number_of_the_data(stack: list[Layer], span: Span) -> None:
    said = describe("Waiting", stack, span, scales.number)
    assert re.search(r"\d", said.partition(".")[2])


def test_the_sentence_says_when_it_changed_and_what_is_missing() -> None:
    stack = [
        Layer("accepted", "accepted", [96.0] * 6 + [62.0] * 5 + [None]),
        Layer("held", "held back", [0.0] * 6 + [34.0] * 5 + [None]),
        Layer("retry", "to be retried", [0.0] * 11 + [None]),
    ]
    said = describe("Notifications a second", stack, HOUR, scales.number)
    assert said == (
        "Notifications a second, 08:00 to 09:00. Accepted falls from 96 to 62 at 08:30. Held back rises from 0 to 34 at 08:30."
        " No data in 1 of 12 buckets."
    )


def test_noise_is_no_change() -> None:
    assert change([10, 11, 10, 9, 10, 11, 9, 10], 11) is None
    assert change([10, 12, 11, None, 3, 3, 2, 4], 11) == (4, 11, 3)


@pytest.mark.parametrize(("size", "width"), [("s", NARROWEST), ("w", WIDE)])
def test_texts_of_marks_do_not_lie_on_each_other(size: str, width: int) -> None:
    marks = [Mark(START + 60 * n, f"provider number {n} unreachable") for n in range(0, 60, 5)]
    root = parsed(charts.lines([Layer("", "a", [1.0] * N)], scales.linear(1, str), HOUR, "", marks))
    texts = [each for each in root.iter("text") if each.get("class") == f"evt {size}"]
    taken = sorted(extent(each, width) for each in texts)
    assert texts
    assert all(before[1] <= after[0] for before, after in pairwise(taken))


def test_of_several_marks_at_once_the_first_is_named() -> None:
    marks = [Mark(START + 3_060, "backlog old"), Mark(START + 3_000, "apns unreachable")]
    svg = charts.lines([Layer("", "a", [1.0] * N)], scales.linear(1, str), HOUR, "", marks)
    assert "apns unreachable" in svg
    assert "backlog old" not in svg


def test_a_name_cannot_leave_its_text() -> None:
    svg = charts.lines(
        [Layer("", "a", [1.0] * N)], scales.linear(1, str), HOUR, '"><script>', [Mark(START + 3_000, "</text><b>")]
    )
    assert "<script>" not in svg
    assert "</text><b>" not in svg
