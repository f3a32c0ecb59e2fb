"""The shared counters as Prometheus gets them: under the names of the busiest apps, and of all others together.

Histograms are of all apps together, by kind and lane.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from prometheus_client.metrics_core import Metric

from worker.core import tally
from worker.core.named_apps import Totals, divided
from worker.core.tally import Histogram
from worker.database.named_apps import Counted
from worker.metrics import families
from worker.metrics.families import Family
from worker.metrics.samples import Samples, histogram

#: The label of all apps without a name of their own, and of what may be any text.
OTHER: Final = "other"
#: A reason as code writes them. A webhook may answer anything.
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:/ -]{0,39}")
#: Counters that are the sum of others.
_SUMS: Final = ("dropped", "retired", "retry", "parked", "limited", "considered")
#: By the first part of a counter's name: where it is a family's subject, one of several outcomes, or followed by a reason.
_SUBJECTS: Final = {"messages": families.MESSAGES, "jobs": families.MADE}
_WITH_FIRST: Final = dict.fromkeys(("pushed", "skipped"), families.MEMBERS) | dict.fromkeys(
    ("accepted", "dropped", "retired"), families.NOTIFICATIONS
)
_WITH_REST: Final = {
    "skipped_message": families.MESSAGES_SKIPPED,
    "retry": families.RETRIES,
    "parked": families.HELD,
    "limited": families.LIMITED,
    "devices": families.DEVICES,
}
_COUNTERS: Final = (
    *(families.EVENTS, families.MESSAGES, families.MESSAGES_SKIPPED, families.MEMBERS, families.MADE),
    *(families.NOTIFICATIONS, families.RETRIES, families.HELD, families.LIMITED, families.DEVICES, families.OTHER),
)
_HISTOGRAMS: Final = {"answer_seconds": families.ANSWER_SECONDS, "accept_seconds": families.ACCEPT_SECONDS}


def metrics(counted: Counted, kinds: Mapping[int, str]) -> Iterator[Metric]:
    """`kinds` by the number of a provider, also of a removed one. What is of an unknown provider is left out."""
    found = {family.name: Samples(family) for family in _COUNTERS}
    #: By kind: what is of apps without a name, and the buckets of all.
    others: dict[str, dict[str, float]] = {}
    times: dict[str, dict[str, float]] = {}
    for app, totals in counted.totals.items():
        side = counted.sides.get(app)
        named, rest = divided(totals, side)
        for kind, counters in _by_kind(named, kinds):
            if side is not None and side.named:
                _add(found, app, kind, counters, times.setdefault(kind, {}))
            else:
                _sum(times.setdefault(kind, {}), counters)
        for kind, counters in _by_kind(rest, kinds):
            _sum(others.setdefault(kind, {}), counters)
    for kind, counters in others.items():
        _add(found, OTHER, kind, counters, times.setdefault(kind, {}))
    yield from (samples.metric() for samples in found.values())
    yield from _histograms(times)


def _by_kind(totals: Totals, kinds: Mapping[int, str]) -> Iterator[tuple[str, Mapping[str, float]]]:
    """The counters of each row with the provider's kind, '' for the app's own."""
    for provider, counters in totals.items():
        if not provider:
            yield "", counters
        elif provider in kinds:
            yield kinds[provider], counters


def _sum(total: dict[str, float], counters: Mapping[str, float]) -> None:
    # A thousand apps have a quarter of a million counters.
    for name, n in counters.items():
        total[name] = total.get(name, 0.0) + n


def _add(
    found: Mapping[str, Samples], app: str, kind: str, counters: Mapping[str, float], times: dict[str, float]
) -> None:
    """What is no counter of a family goes into `times`."""
    for name, n in counters.items():
        if (place := _place(name)) is None:
            times[name] = times.get(name, 0.0) + n
        else:
            family, labels = place
            found[family.name].add(n, app, *((kind,) if "kind" in family.labels else ()), *labels)


@lru_cache(maxsize=4_096)
def _place(name: str) -> tuple[Family, tuple[str, ...]] | None:
    """The family of a counter, and its labels there behind `app` and `kind`.

    None for a bucket of a histogram, and for what is the sum of other counters.
    """
    first, _, rest = name.partition(".")
    if first in tally.BOUNDS or name in _SUMS:
        return None
    if first == "events":
        outcome, _, of_type = rest.partition(".")
        return families.EVENTS, (word(of_type), word(outcome))
    if first in _SUBJECTS:
        return _SUBJECTS[first], ()
    if first in _WITH_FIRST:
        return _WITH_FIRST[first], (first, word(rest))
    if first in _WITH_REST:
        return _WITH_REST[first], (word(rest),)
    return families.OTHER, (word(name),)


def word(text: str) -> str:
    """A reason as a label: a cause without what follows its colon, and nothing that is no word of code."""
    cause = text.partition(":")[0]
    return cause if not cause or _WORD.fullmatch(cause) else OTHER


def _histograms(times: Mapping[str, Mapping[str, float]]) -> Iterator[Metric]:
    found: dict[str, dict[tuple[str, ...], Histogram]] = {name: {} for name in _HISTOGRAMS}
    for kind, counters in times.items():
        for (name, lane), of in tally.histograms(counters).items():
            found[name][kind, lane] = of
    for name, family in _HISTOGRAMS.items():
        yield histogram(family, tally.BOUNDS[name], found[name])
