"""The samples of one family, in prometheus-client's form."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from worker.core.tally import Histogram
from worker.metrics.families import Family

#: Characters of a label's value.
LONGEST: Final = 100


@dataclass(slots=True)
class Samples:
    """Of a counter or a gauge. Values of the same labels are added up."""

    family: Family
    _values: dict[tuple[str, ...], float] = field(default_factory=dict)

    def add(self, value: float, *labels: str) -> Self:
        """Raises `ValueError` unless there are as many labels as the family has."""
        if len(labels) != len(self.family.labels):
            raise ValueError(f"{self.family.name} has the labels {self.family.labels}, not {labels}")
        # Hardly any is too long, and there are many.
        key = labels if max(map(len, labels), default=0) <= LONGEST else tuple(label[:LONGEST] for label in labels)
        self._values[key] = self._values.get(key, 0.0) + value
        return self

    def metric(self) -> Metric:
        of = self.family
        form = CounterMetricFamily if of.type == "counter" else GaugeMetricFamily
        found = form(of.name, of.help, labels=of.labels)
        for labels, value in self._values.items():
            found.add_metric(labels, value)
        return found


def one(family: Family, value: float, *labels: str) -> Metric:
    """A family with one sample."""
    return Samples(family).add(value, *labels).metric()


def many(family: Family, values: Iterable[tuple[float, tuple[str, ...]]]) -> Metric:
    samples = Samples(family)
    for value, labels in values:
        samples.add(value, *labels)
    return samples.metric()


def histogram(family: Family, bounds: Sequence[float], values: Mapping[tuple[str, ...], Histogram]) -> Metric:
    """A classic histogram; of these a bucket has everything up to its bound."""
    found = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for labels, of in values.items():
        below, buckets = 0, []
        for place, bound in enumerate(bounds):
            below += of.buckets.get(place, 0)
            buckets.append((str(bound), float(below)))
        buckets.append(("+Inf", float(sum(of.buckets.values()))))
        found.add_metric(labels, buckets, of.seconds)
    return found
