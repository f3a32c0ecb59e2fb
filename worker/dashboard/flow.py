"""The charts of pages, made of the history's series: a title, a number, a key, a drawing, and the same as a table. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from worker.dashboard import charts, scales
from worker.dashboard.charts import Layer, Mark, Percentiles, Span
from worker.dashboard.text import NONE, clock, count, duration, rate
from worker.reports.conditions import OLD
from worker.reports.history import Bucket, Series, samples_in
from worker.reports.volume import Volume
from worker.reports.words import counted

#: The words of each range.
LAST: Final = {"1h": "last hour", "6h": "last 6 hours", "24h": "last 24 hours", "7d": "last 7 days"}
#: Rows of the table of a chart.
_ROWS: Final = 12
#: Marks of a chart at most, the newest.
_MARKS: Final = 12
#: Axes whose end is remembered at most.
_AXES: Final = 1_000
#: The layers of the push log's strip: by their colour their words, and the outcomes.
_ROWS_OF_LOG: Final[Mapping[str, tuple[str, Sequence[str]]]] = {
    "accepted": ("accepted", ("accepted",)),
    "refused": ("refused, given up", ("retired", "dropped")),
    "retry": ("to be retried", ("retry",)),
    "held": ("held back", ("parked", "limited")),
    "skipped": ("went ahead", ("overtook",)),
}
#: Seconds of a bucket below which the ends of a chart have seconds too.
_CLOCK: Final = 15
_OUTCOMES: Final = (("accepted", "accepted"), ("refused", "refused"), ("retry", "to be retried"))


class Key(NamedTuple):
    """What a colour stands for, and its value now. `kind`: `area`, `line`, `band`, or `` for a text alone."""

    kind: str
    colour: str
    label: str
    value: str = ""


class Chart(NamedTuple):
    """One panel. `table`: the heads of its columns, and its rows."""

    title: str
    #: The number, its unit, and such pairs.
    numbers: Sequence[tuple[str, str]]
    key: Sequence[Key]
    drawing: Markup
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


class Axes:
    """Where the axes of charts ended last, so that they do not jump."""

    def __init__(self) -> None:
        self._tops: dict[str, float] = {}

    def linear(self, name: str, highest: float, text: Callable[[float], str]) -> scales.Scale:
        return self._kept(name, scales.linear(highest, text, before=self._tops.get(name, 0.0)))

    def seconds(self, name: str, longest: float) -> scales.Scale:
        return self._kept(name, scales.seconds(longest, before=self._tops.get(name, 0.0)))

    def _kept(self, name: str, scale: scales.Scale) -> scales.Scale:
        self._tops.pop(name, None)
        while len(self._tops) >= _AXES:
            self._tops.pop(next(iter(self._tops)), None)
        self._tops[name] = scale.top
        return scale


AXES: Final = Axes()


def span_of(series: Series) -> Span:
    return Span(series.start, series.end, series.partial)


def newest(marks: Iterable[Mark]) -> list[Mark]:
    """As many as a chart has room for."""
    return sorted(marks, key=lambda mark: mark.at)[-_MARKS:]


def outcomes(series: Series, recent: Series, marks: Sequence[Mark], name: str) -> Chart:
    """Notifications a second by what became of them. Its top edge is what was to be sent.

    `recent`: the series whose end is now, for the numbers. `name`: of the axis.
    """
    layers, now = _outcomes(series), _outcomes(recent)
    scale = AXES.linear(f"outcomes {name}", _highest_sum(layers), scales.a_second)
    shown = [n for n, one in enumerate(layers) if one.key != "held" or any(one.values) or any(now[n].values)]
    return Chart(
        "Notifications by outcome",
        [(rate(now[0].values[-1]), "accepted a second")],
        [Key("area", now[n].key, now[n].label, rate(now[n].values[-1])) for n in shown] + _gaps(series),
        charts.stacked(layers, scale, span_of(series), _said("Notifications a second", layers, series, rate), marks),
        ["At", *(layers[n].label for n in shown)],
        _table(series, [layers[n].values for n in shown], rate),
    )


def accepting(series: Series, recent: Series, marks: Sequence[Mark]) -> Chart:
    """From publish to acceptance."""
    held = _peak(recent.last, "waiting.held")
    note = (
        f"Accepted notifications only: the {count(held)} that are held back are not in it. See the age of the oldest."
    )
    known = [one is not None for one in series.buckets]
    chart = _percentiles("Publish to accepted", "accept", series, recent, marks, known)
    return chart._replace(note=note if held else "")


def answering(series: Series, recent: Series, marks: Sequence[Mark]) -> Chart:
    """Until a provider answers. While something is held back and no answer comes, there is no data."""
    known = [
        one is not None and bool(samples_in(one, "answer_seconds") or not _peak(one, "waiting.held"))
        for one in series.buckets
    ]
    return _percentiles("Time until the provider answers", "answer", series, recent, marks, known)


def waiting(series: Series, recent: Series, marks: Sequence[Mark], name: str) -> Chart:
    """Notifications that wait, by what they wait for."""
    layers, now, last = _waiting(series), _waiting(recent), recent.last
    scale = AXES.linear(f"waiting {name}", max(_highest_sum(layers), 4.0), scales.number)
    total = None if last is None else sum(one.values[-1] or 0 for one in now)
    keys = [Key("area", one.key, one.label, count(one.values[-1])) for one in now]
    if scheduled := _peak(last, "waiting.scheduled"):
        keys.append(Key("", "", "scheduled (not drawn)", count(scheduled)))
    to_expand = int(_peak(last, "messages"))
    return Chart(
        "Waiting",
        [(count(total), "notifications")],
        keys + _gaps(series),
        charts.stacked(layers, scale, span_of(series), _said("Notifications that wait", layers, series, count), marks),
        ["At", *(one.label for one in layers)],
        _table(series, [one.values for one in layers], count),
        f"{counted(to_expand, 'message')} not yet expanded." if to_expand else "",
    )


def ages(series: Series, recent: Series, marks: Sequence[Mark], name: str) -> Chart:
    """How long the oldest waits, in each lane and where it is held back."""
    layers, now = _ages(series), _ages(recent)
    longest = max((value for one in layers for value in one.values if value), default=0.0)
    scale = AXES.seconds(f"ages {name}", max(longest, OLD))
    worst = max(now, key=lambda one: one.values[-1] or 0.0)
    shown = [one for one in now if one.key != "held" or one.values[-1] or any(layers[-1].values)]
    keys = [Key("line", one.key, one.label, duration(one.values[-1])) for one in shown]
    if paused := _peak(recent.last, "oldest.paused"):
        keys.append(Key("", "", "paused by hand (not drawn)", duration(paused)))
    limit = scales.Line(OLD, f"warns at {OLD:.0f} s")
    known = [one is not None for one in series.buckets]
    said = _said("Age of the oldest that waits", layers, series, duration)
    return Chart(
        "Age of the oldest",
        [(duration(worst.values[-1]), worst.label)],
        keys + _gaps(series),
        charts.lines(layers, scale, span_of(series), said, marks, limit=limit, known=known),
        ["At", *(one.label for one in layers)],
        _table(series, [one.values for one in layers], duration),
    )


def volume(found: Volume, marks: Sequence[Mark]) -> Chart:
    """The rows of the push log over its time, by outcome, in colours of the table."""
    series, counts = found.series, found.series.counts()
    layers, keys = [], []
    for key, (label, outcomes) in _ROWS_OF_LOG.items():
        number = sum(n for name, n in counts.items() if name.partition(".")[0] in outcomes)
        if number or key == "accepted":
            rates = [one and _rate_of(one, outcomes) for one in series.buckets]
            layers.append(Layer(key, label, rates))
            keys.append(Key("area", key, label, count(number)))
    span = span_of(series)
    begins, ends = (charts.moment(at, span) if series.width >= _CLOCK else clock(at) for at in (span.start, span.end))
    return Chart(
        f"{'More than ' if found.bounded else ''}{counted(found.total, 'notification')}, {begins} to {ends}",
        [],
        keys + _gaps(series),
        charts.stacked(
            layers,
            scales.linear(_highest_sum(layers), scales.a_second),
            span,
            _said("Notifications a second", layers, series, rate),
            marks,
        ),
        ["At", *(one.label for one in layers)],
        _table(series, [one.values for one in layers], rate),
        "There are too many to count them all: these are the newest." if found.bounded else "",
    )


def _rate_of(bucket: Bucket, outcomes: Sequence[str]) -> float:
    return sum(n for name, n in bucket.counts.items() if name.partition(".")[0] in outcomes) / bucket.seconds


def _outcomes(series: Series) -> list[Layer]:
    layers = [Layer(key, label, series.rates(key)) for key, label in _OUTCOMES]
    return [*layers, Layer("held", "held back", series.growth("waiting.held"))]


def _waiting(series: Series) -> list[Layer]:
    """In a long bucket the highest values are of several moments, so their sum is more than ever waited: it is cut to that."""
    parts = [series.peaks(f"waiting.{state}") for state in ("ready", "due", "held")]
    fitted = [
        [None] * 3 if None in each else [value * min(1.0, (most or sum(each)) / (sum(each) or 1.0)) for value in each]
        for each, most in zip(zip(*parts, strict=True), series.peaks("waiting.all"), strict=True)
    ]
    columns = zip(*fitted, strict=True)
    names = (("accepted", "ready"), ("retry", "retry due later"), ("held", "held back"))
    return [Layer(key, label, values) for (key, label), values in zip(names, columns, strict=True)]


def _ages(series: Series) -> list[Layer]:
    held = [value or None for value in series.peaks("oldest.held")]
    return [
        Layer("", "urgent lane", series.peaks("oldest.urgent")),
        Layer("bulk", "bulk lane", series.peaks("oldest.bulk")),
        Layer("held", "held back", held),
    ]


def percentiles_of(bucket: Bucket | None, name: str) -> Percentiles | None:
    """`name`: `accept` or `answer`. None where there are none."""
    if bucket is None or f"{name}.p50" not in bucket.peaks:
        return None
    p50, p95, p99 = (bucket.peaks[f"{name}.{part}"] for part in ("p50", "p95", "p99"))
    return Percentiles(p50, p95, p99, samples_in(bucket, f"{name}_seconds"))


def _percentiles(
    title: str, name: str, series: Series, recent: Series, marks: Sequence[Mark], known: Sequence[bool]
) -> Chart:
    values = [percentiles_of(one, name) for one in series.buckets]
    found = [one for one in values if one is not None]
    scale = scales.decades(min((one.p50 for one in found), default=0.01), max((one.p99 for one in found), default=1.0))
    last = percentiles_of(recent.last, name)
    layers = [
        Layer("", label, [None if one is None else one[n] for one in values])
        for n, label in enumerate(("p50", "p95", "p99"))
    ]
    shown = [NONE if last is None else duration(value) for value in (last or (0.0, 0.0, 0.0, 0))[:3]]
    keys = [Key("line", "", "p50", shown[0]), Key("band", "", "to p95", shown[1]), Key("line", "p99", "p99", shown[2])]
    return Chart(
        title,
        [(shown[0], "median"), (shown[2], "p99")] if last is not None else [(NONE, "nothing now")],
        [*keys, *([Key("nodata", "", "no data")] if not all(known) else []), Key("", "", "log scale")],
        charts.percentiles(values, scale, span_of(series), _said(title, layers, series, duration), marks, known=known),
        ["At", "p50", "p95", "p99"],
        _table(series, [one.values for one in layers], duration),
    )


def _said(title: str, layers: Sequence[Layer], series: Series, text: Callable[[float], str]) -> str:
    return charts.describe(title, layers, span_of(series), text)


def _gaps(series: Series) -> list[Key]:
    return [Key("nodata", "", "no data")] if None in series.buckets else []


def _table(series: Series, columns: Sequence[charts.Values], text: Callable[[float | None], str]) -> list[list[str]]:
    """The highest value of each part, as rates and levels have it in common that peaks are what matters."""
    size = max(1, len(series.buckets) // _ROWS)
    rows = []
    for first in range(0, len(series.buckets), size):
        parts = [[value for value in column[first : first + size] if value is not None] for column in columns]
        at = charts.moment(series.start + first * series.width, span_of(series))
        rows.append([at, *(text(max(part)) if part else NONE for part in parts)])
    return rows


def _highest_sum(layers: Sequence[Layer]) -> float:
    return max(sum(value or 0.0 for value in each) for each in zip(*(layer.values for layer in layers), strict=True))


def _peak(bucket: Bucket | None, name: str) -> float:
    return 0.0 if bucket is None else bucket.peaks.get(name, 0.0)
