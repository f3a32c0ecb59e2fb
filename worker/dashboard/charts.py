"""Charts as SVG, drawn here and not in the browser. Pure; colours are classes of the style sheet.

The outer SVG has no view box: texts keep their size, and places along the time are per cent. Within it a stretched one has the
data, with a unit of width for each bucket. A value of None is "no data": it is hatched, never joined and never 0.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from markupsafe import Markup, escape

from worker.dashboard.scales import Line, Scale, clock, day, times

#: Pixels of the data, of the room for marks above it, and of the texts below.
HEIGHT: Final = 112
HEAD: Final = 14
FOOT: Final = 18
#: Pixels of the data on a phone of 320 pixels, and on a screen that has room for two charts in a row.
NARROWEST: Final = 220
WIDE: Final = 440
#: Pixels of a character in the charts' font, at most.
CHARACTER: Final = 6.8
#: Fewer samples in a bucket have no percentiles worth a band.
FEW: Final = 20
#: Part of the scale by which a value must change for the sentence to say so.
_CHANGE: Final = 0.2

Values = Sequence[float | None]


class Span(NamedTuple):
    """The time that a chart shows, in UNIX seconds. `partial`: the buckets of which a part has no data."""

    start: float
    end: float
    partial: frozenset[int] = frozenset()


class Layer(NamedTuple):
    """One colour of a chart. `key` is the class of its colour: `accepted`, `refused`, `retry`, `held`, `bulk`."""

    key: str
    label: str
    values: Values


class Percentiles(NamedTuple):
    """Of one bucket, in seconds, and of how many samples."""

    p50: float
    p95: float
    p99: float
    samples: int


class Mark(NamedTuple):
    """A moment (UNIX seconds) that all charts of a page show. `kind`: `crit` for a condition, `dep` for a deployment."""

    at: float
    text: str
    kind: str = "crit"


def stacked(layers: Sequence[Layer], scale: Scale, span: Span, sentence: str, marks: Sequence[Mark] = ()) -> Markup:
    """Layers on top of each other, in steps, the first at the bottom."""
    drawn, tops = [], [0.0] * len(layers[0].values)
    for layer in layers:
        tops = [top + (value or 0.0) for top, value in zip(tops, layer.values, strict=True)]
        if not any(layer.values):
            continue
        known = [None if value is None else top for top, value in zip(tops, layer.values, strict=True)]
        path = _steps(known, scale)
        hatch = f'<path fill="url(#hx)" d="{path}"/>' if layer.key == "held" else ""
        drawn.append(f'<path class="f-{layer.key}" d="{path}"/>{hatch}<path class="sep" d="{path}"/>')
    # Each covers the lower part of the one before it.
    data = "".join(reversed(drawn)) + _unknown([layer.values for layer in layers], span)
    return _frame(data, scale, span, len(tops), sentence, marks)


def percentiles(
    values: Sequence[Percentiles | None],
    scale: Scale,
    span: Span,
    sentence: str,
    marks: Sequence[Mark] = (),
    *,
    known: Sequence[bool] | None = None,
) -> Markup:
    """The median as a line, bands up to p95 and p99; dots where there are few samples. `known`: which buckets have data."""
    enough = [each if each is not None and each.samples >= FEW else None for each in values]
    p50, p95, p99 = ([None if each is None else each[n] for each in enough] for n in range(3))
    dots = [None if each is None or each.samples >= FEW else each for each in values]
    data = (
        f'<path class="band" d="{_band(p50, p95, scale)}"/><path class="band2" d="{_band(p95, p99, scale)}"/>'
        f'<path class="l" d="{_line(p50, scale)}"/><path class="l p99" d="{_line(p99, scale)}"/>'
        f'<path class="dot" d="{_dots([each and each.p50 for each in dots], scale)}"/>'
        f'<path class="dot far" d="{_dots([each and each.p99 for each in dots], scale)}"/>'
    )
    there: list[Values] = [[1.0 if each else None for each in known]] if known is not None else []
    return _frame(data + _unknown(there, span), scale, span, len(values), sentence, marks)


def lines(
    layers: Sequence[Layer],
    scale: Scale,
    span: Span,
    sentence: str,
    marks: Sequence[Mark] = (),
    *,
    limit: Line | None = None,
    known: Sequence[bool] | None = None,
) -> Markup:
    """A line for each layer. `limit` is dotted, with its text. A layer may have no value where the chart has data: `known`."""
    data = "".join(f'<path class="l {layer.key}" d="{_line(layer.values, scale)}"/>' for layer in layers)
    there: list[Values] = [[1.0 if each else None for each in known]] if known is not None else []
    within = limit is not None and limit.value <= scale.top
    return _frame(
        data + _unknown(there, span), scale, span, len(layers[0].values), sentence, marks, limit if within else None
    )


def spark(values: Values, label: str = "") -> Markup:
    """A small chart next to its number: filled steps on a scale of their own, two buckets in one."""
    pairs = [_mean(values[n : n + 2]) for n in range(0, len(values), 2)]
    scale = Scale(0.0, max((value for value in pairs if value), default=1.0), ())
    name = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    return _svg(
        f'<svg class="spark" viewBox="0 0 {len(pairs)} 22" preserveAspectRatio="none" {name}>'
        f'<path class="f-accepted" d="{_steps(pairs, scale, 22)}"/></svg>'
    )


class Lane(NamedTuple):
    """What was with one condition and place: spans of time (UNIX seconds) with `crit`, `warn`, `info` or `nd`."""

    name: str
    spans: Sequence[tuple[float, float, str]]


def lanes(rows: Sequence[Lane], span: Span, sentence: str) -> Markup:
    """One lane a row, its name above. The shortest span is still seen."""
    row, length = 34, span.end - span.start
    drawn = []
    for n, lane in enumerate(rows):
        y = n * row
        drawn.append(f'<line class="g" x1="0" x2="100%" y1="{y + row}" y2="{y + row}"/>')
        for began, ended, kind in lane.spans:
            width = max(0.7, 100 * (min(ended, span.end) - max(began, span.start)) / length)
            x = min(100 - width, max(0.0, 100 * (began - span.start) / length))
            fill = 'fill="url(#nd)"' if kind == "nd" else f'class="f-{kind}"'
            drawn.append(f'<rect {fill} x="{x:.2f}%" width="{width:.2f}%" y="{y + 19}" height="11"/>')
        drawn.append(str(Markup('<text x="0" y="{}">{}</text>').format(y + 14, _cut(lane.name, NARROWEST))))
    foot = len(rows) * row
    for n in range(7):
        anchor = "start" if n == 0 else "end" if n == 6 else "middle"
        text = "now" if n == 6 else clock(span.start + n * length / 6)
        drawn.append(f'<text x="{n * 100 / 6:.1f}%" y="{foot + 18}" text-anchor="{anchor}">{text}</text>')
    return _svg(
        f'<svg class="c" width="100%" height="{foot + 24}" role="img" aria-label="{escape(sentence)}">{"".join(drawn)}</svg>'
    )


def defs() -> Markup:
    """The patterns of all charts: once a page."""
    hatch = '<pattern id="{}" width="{}" height="{}" patternUnits="userSpaceOnUse" patternTransform="{}rotate(45)">'
    line = '<path class="{}" d="M0 0v{}"/></pattern>'
    # In a stretched view box the lines would be smeared.
    made = (
        ("hx", 5, "scale(.24 1) ", "hx"),
        ("hx1", 5, "", "hx"),
        ("nds", 6, "scale(.24 1) ", "ndl"),
        ("nd", 6, "", "ndl"),
    )
    patterns = "".join(hatch.format(id, n, n, scale) + line.format(kind, n) for id, n, scale, kind in made)
    return _svg(f'<svg width="0" height="0" class="vh" aria-hidden="true"><defs>{patterns}</defs></svg>')


def change(values: Values, top: float) -> tuple[int, float, float] | None:
    """Where a series stepped from one level to another for good, and the two levels; None where it did not."""
    known = [(n, value) for n, value in enumerate(values) if value is not None]
    total, before, best, found = sum(value for _, value in known), 0.0, 0.0, None
    for place in range(2, len(known) - 1):
        before = before + known[place - 1][1] if place > 2 else known[0][1] + known[1][1]
        rest = len(known) - place
        left, right = before / place, (total - before) / rest
        gain = abs(left - right) * (place * rest) ** 0.5
        if gain > best and abs(left - right) > _CHANGE * top:
            best, found = gain, (known[place][0], left, right)
    return found


def describe(title: str, layers: Sequence[Layer], span: Span, text: Callable[[float], str]) -> str:
    """The sentence of a chart for those who do not see it, made of its data."""
    said = [f"{title}, {moment(span.start, span)} to {moment(span.end, span)}."]
    top = max((value for layer in layers for value in layer.values if value is not None), default=0.0)
    for layer in layers:
        known = [value for value in layer.values if value is not None]
        if not known or not any(known):
            continue
        step = change(layer.values, top)
        if step is None:
            said.append(f"{layer.label.capitalize()}: {text(known[-1])} now, at most {text(max(known))}.")
        else:
            place, was, now = step
            at = moment(span.start + place * (span.end - span.start) / len(layer.values), span)
            said.append(
                f"{layer.label.capitalize()} {'falls' if now < was else 'rises'} from {text(was)} to {text(now)} at {at}."
            )
    if len(said) == 1:
        said.append(
            f"Always {text(0)}."
            if any(v is not None for layer in layers for v in layer.values)
            else "No data: 0 buckets."
        )
    gaps = sum(all(layer.values[n] is None for layer in layers) for n in range(len(layers[0].values)))
    if gaps and len(said) > 1 and "No data" not in said[-1]:
        said.append(f"No data in {gaps} of {len(layers[0].values)} buckets.")
    return " ".join(said)


def moment(at: float, span: Span) -> str:
    """The clock, with the day where the chart is longer than one."""
    return clock(at) if span.end - span.start <= 86_400 else f"{day(at)} {clock(at)}"


def _svg(drawn: str) -> Markup:
    """What was drawn: numbers, and texts that were escaped."""
    return Markup(drawn)  # noqa: S704


def _frame(
    data: str, scale: Scale, span: Span, buckets: int, sentence: str, marks: Iterable[Mark], limit: Line | None = None
) -> Markup:
    """The data with its axes. A text of the left axis is in the gutter, that of a mark on the side where there is more room."""
    parts = [
        f'<svg class="c gut" width="100%" height="{HEAD + HEIGHT + FOOT}" role="img" aria-label="{escape(sentence)}">'
    ]
    base = HEAD + HEIGHT
    for n, line in enumerate(scale.lines):
        y = HEAD + _y(line.value, scale)
        parts.append(f'<line class="{"g" if n else "g0"}" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
        parts.append(str(Markup('<text x="-6" y="{}" text-anchor="end">{}</text>').format(y + 4, line.text)))
    parts.append(
        f'<svg x="0" y="{HEAD}" width="100%" height="{HEIGHT}" viewBox="0 0 {buckets} {HEIGHT}"'
        f' preserveAspectRatio="none">{data}</svg>'
    )
    for at, text in times(span.start, span.end):
        x = _percent(at, span)
        parts.append(f'<line class="g0" x1="{x}%" x2="{x}%" y1="{base}" y2="{base + 4}"/>')
        parts.append(f'<text x="{x}%" y="{base + 16}" text-anchor="middle">{escape(text)}</text>')
    if limit is not None:
        y = HEAD + _y(limit.value, scale)
        parts.append(f'<line class="lim" x1="0" x2="100%" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="limt" x="2" y="{y + 12 if y < 2 * HEAD else y - 4}">{escape(_cut(limit.text, NARROWEST))}</text>'
        )
    parts.extend(_marks(marks, span, base))
    return _svg("".join(parts) + "</svg>")


def _marks(marks: Iterable[Mark], span: Span, base: int) -> Iterator[str]:
    """A line for each; a text for as many as have room, from the oldest on: of several at once it is the cause.

    What has room depends on the width, so there are texts for large screens (`w`) and for small ones (`s`).
    """
    shown = sorted(one for one in marks if span.start <= one.at <= span.end)
    for mark in shown:
        x = _percent(mark.at, span)
        yield f'<line class="{"ev" if mark.kind == "crit" else "dep"}" x1="{x}%" x2="{x}%" y1="2" y2="{base}"/>'
    for size, width in (("w", WIDE), ("s", NARROWEST)):
        taken: list[tuple[float, float]] = []
        for mark in shown:
            x = _percent(mark.at, span)
            left = x >= 50
            text = _cut(f"{moment(mark.at, span)} {mark.text}", (x if left else 100 - x) * width / 100)
            long = 100 * (len(text) * CHARACTER + 6) / width
            begin, end = (x - long, x) if left else (x, x + long)
            if text and all(end <= other[0] or begin >= other[1] for other in taken):
                taken.append((begin, end))
                anchor, offset = ("end", x - 0.8) if left else ("start", x + 0.8)
                kind = "evt" if mark.kind == "crit" else "dept"
                yield f'<text class="{kind} {size}" x="{offset:.2f}%" y="10" text-anchor="{anchor}">{escape(text)}</text>'


def _cut(text: str, pixels: float) -> str:
    """As much of a text as has room; empty where not even a few characters have."""
    room = int((pixels - 6) / CHARACTER)
    if len(text) <= room:
        return text
    return f"{text[: room - 1].rstrip()}…" if room >= 5 else ""


def _percent(at: float, span: Span) -> float:
    return round(100 * (at - span.start) / (span.end - span.start), 2)


def _y(value: float, scale: Scale) -> int:
    return round(HEIGHT * (1 - scale.part(value)))


def _runs(values: Values) -> Iterator[tuple[int, list[float]]]:
    """The stretches that have data: where each begins, and its values."""
    run: list[float] = []
    for n, value in enumerate([*values, None]):
        if value is not None:
            run.append(value)
        elif run:
            yield n - len(run), run
            run = []


def _steps(values: Values, scale: Scale, height: int = HEIGHT) -> str:
    made = []
    for start, run in _runs(values):
        levels = [round(height * (1 - scale.part(value))) for value in run]
        made.append(f"M{start} {height}V{levels[0]}")
        length, before = 0, levels[0]
        for level in levels:
            if level != before:
                made.append(f"h{length}v{level - before}")
                length, before = 0, level
            length += 1
        made.append(f"h{length}V{height}z")
    return "".join(made)


def _line(values: Values, scale: Scale) -> str:
    made = []
    for start, run in _runs(values):
        levels = [_y(value, scale) for value in run]
        made.append(f"M{start + 0.5} {levels[0]}")
        made.extend(f"l1 {after - before}" for before, after in pairwise(levels))
        if len(run) == 1:
            made.append("h0")
    return "".join(made)


def _band(lower: Values, upper: Values, scale: Scale) -> str:
    made = []
    for (start, low), (_, high) in zip(_runs(lower), _runs(upper), strict=True):
        floor, ceiling = [_y(value, scale) for value in low], [_y(value, scale) for value in high]
        made.append(f"M{start + 0.5} {ceiling[0]}")
        made.extend(f"l1 {after - before}" for before, after in pairwise(ceiling))
        made.append(f"V{floor[-1]}")
        made.extend(f"l-1 {after - before}" for before, after in pairwise(floor[::-1]))
        made.append("z")
    return "".join(made)


def _dots(values: Values, scale: Scale) -> str:
    return "".join(f"M{n + 0.5} {_y(value, scale)}h0" for n, value in enumerate(values) if value is not None)


def _unknown(series: Sequence[Values], span: Span) -> str:
    """The hatch over buckets without data; a strip of it at the base of those that have a part of theirs."""
    if not series:
        return ""
    missing: Values = [1.0 if all(one is None for one in each) else None for each in zip(*series, strict=True)]
    partial: Values = [1.0 if n in span.partial and one is None else None for n, one in enumerate(missing)]
    return "".join(
        f'<rect fill="url(#nds)" x="{start}" y="{HEIGHT - height}" width="{len(run)}" height="{height}"/>'
        for which, height in ((missing, HEIGHT), (partial, 4))
        for start, run in _runs(which)
    )


def _mean(values: Values) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
