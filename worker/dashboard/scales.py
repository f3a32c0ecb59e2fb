"""Axes of charts: where they end, which lines they have, and the texts of these. Pure."""

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

#: Where a linear axis may end, as parts of a power of ten, and the distance between its lines.
_NICE: Final = (
    *((1.0, 0.5), (1.2, 0.4), (1.5, 0.5), (2.0, 1.0), (2.5, 1.0), (3.0, 1.0), (4.0, 2.0), (5.0, 2.0), (6.0, 2.0)),
    *((8.0, 4.0), (10.0, 5.0)),
)
#: An axis becomes shorter only if what it shows is below this part of it, so that it does not jump at each update.
_SHRINK: Final = 0.6
#: The least that an axis may end at.
_LEAST: Final = 0.1
_UNITS: Final = ((1, "s", 120.0), (60, "min", 7_200.0), (3_600, "h", 172_800.0), (86_400, "d", math.inf))


class Line(NamedTuple):
    """One line across a chart. `text` may be empty."""

    value: float
    text: str


class Scale(NamedTuple):
    """A vertical axis from `bottom` to `top`. A logarithmic one has its ends at powers of ten."""

    bottom: float
    top: float
    lines: tuple[Line, ...]
    logarithmic: bool = False

    def part(self, value: float) -> float:
        """Where a value is: 0 at the bottom, 1 at the top. What is outside is at the nearer end."""
        if not self.logarithmic:
            return min(1.0, max(0.0, (value - self.bottom) / (self.top - self.bottom)))
        value = min(self.top, max(self.bottom, value))
        return math.log10(value / self.bottom) / math.log10(self.top / self.bottom)


def linear(highest: float, text: Callable[[float], str], *, before: float = 0.0) -> Scale:
    """From 0 to a round number that is not below `highest`. `before`: where the axis ended last; it stays there if it can."""
    top, distance = _nice(highest)
    if top < before and highest > before * _SHRINK:
        top, distance = _nice(before)
    lines = (Line(n * distance, text(n * distance)) for n in range(math.floor(top / distance + 1e-9) + 1))
    return Scale(0.0, top, tuple(lines))


def seconds(longest: float, *, before: float = 0.0) -> Scale:
    """A linear axis of seconds, with round numbers of the unit that fits."""
    unit, name, _ = next(each for each in _UNITS if max(longest, before * _SHRINK) < each[2])
    scale = linear(longest / unit, lambda value: f"{number(value)} {name}" if value else "0", before=before / unit)
    return Scale(0.0, scale.top * unit, tuple(Line(value * unit, text) for value, text in scale.lines))


def decades(shortest: float, longest: float) -> Scale:
    """A logarithmic axis of seconds, in whole powers of ten: 10 ms to 10 s, or up to 0.1 ms to 1,000 s to hold the values."""
    first = min(-2, math.floor(math.log10(max(shortest, 1e-4)) + 1e-9))
    last = min(3, max(1, math.ceil(math.log10(max(longest, 1e-4)) - 1e-9)))
    lines = tuple(Line(10.0**n, duration(10.0**n)) for n in range(first, last + 1))
    return Scale(10.0**first, 10.0**last, lines, logarithmic=True)


def times(start: float, end: float) -> Iterator[Line]:
    """About four round moments between two (UNIX seconds), with their texts in UTC."""
    wished = (end - start) / 4
    step = next((each for each in (300, 900, 1_800, 3_600, 7_200, 21_600, 43_200) if each >= wished), 86_400)
    step = step if step < 86_400 else 86_400 * max(1, round(wished / 86_400))
    # A text at an end of the axis would leave the chart.
    edge = (end - start) * 0.07
    at = math.ceil((start + edge) / step) * step
    while at <= end - edge:
        yield Line(at, day(at) if step >= 86_400 else clock(at))
        at += step


def clock(at: float) -> str:
    """`14:02`, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M")


def day(at: float) -> str:
    """`29 Nov`, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%-d %b")


def number(value: float) -> str:
    """A few digits: `0.25`, `1.5`, `40`, `15,000`, `120 k`, `3 M`."""
    return _short(value) if value >= 1e5 else f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"


def a_second(value: float) -> str:
    """A rate on an axis: `120/s`, `5 k/s`."""
    return f"{_short(value)}/s" if value else "0"


def duration(value: float) -> str:
    """Seconds in one unit: `45 ms`, `2.6 s`, `1,200 s`."""
    if value < 1:
        return f"{value * 1e3:.3g} ms" if value else "0 s"
    return f"{value:.2g} s" if value < 10 else f"{value:,.0f} s"


def _short(value: float) -> str:
    unit, name = next((each for each in ((1e9, " G"), (1e6, " M"), (1e3, " k")) if value >= each[0]), (1.0, ""))
    return f"{value / unit:.4g}{name}"


def _nice(highest: float) -> tuple[float, float]:
    """The least round end of an axis that holds a value, and the distance between its lines."""
    highest = max(highest, _LEAST)
    power = 10.0 ** math.floor(math.log10(highest) + 1e-12)
    for part, distance in _NICE:
        if part * power >= highest * (1 - 1e-12):
            return part * power, distance * power
    return 10.0 * power, 5.0 * power
