"""What happened over time, in samples of the counters: how they are merged, and which percentiles a histogram has. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from worker.core.tally import BOUNDS, histograms

#: Seconds of a sample, and of those that it is rolled up into; each divides the next.
STEPS: Final = (30, 180, 900)
#: Seconds for which samples of a step are kept.
KEPT: Final[Mapping[int, int]] = {30: 2 * 3_600, 180: 48 * 3_600, 900: 35 * 86_400}
#: Apps with samples of their own; all others are in the samples of all apps alone.
BUSIEST: Final = 200
#: The app of a sample of all apps.
ALL: Final = ""
#: What a sample's peaks say of its histograms.
PERCENTILES: Final = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))
#: The most samples for which one counts that comes after a gap: it has what was counted since the one before it.
_LONGEST_GAP: Final = 20


class Sample(NamedTuple):
    """What happened in `step` seconds from `at` (UNIX seconds) to one app (provider 0), to one of its providers, or to `ALL`."""

    step: int
    at: int
    app: str
    provider: int
    #: In which it happened. Less than `step`: a part has no sample. More: it follows a gap, or a clock was set back.
    seconds: int
    #: Counter -> what was added. `worker/core/tally.py` has the histograms' names.
    counts: Mapping[str, float]
    #: Name -> the highest value: what waits, ages in seconds, percentiles in seconds, releases that ran (1).
    peaks: Mapping[str, float]


def sampled(
    at: int,
    seconds: int,
    counted: Mapping[tuple[str, int], Mapping[str, float]],
    gauges: Mapping[tuple[str, int], Mapping[str, float]],
) -> list[Sample]:
    """The samples of one moment: of all apps, and by app and provider. `gauges`: their peaks, those of `ALL` too."""
    total = added(counted.values())
    rows = {key: counted.get(key, {}) for key in [*counted, *gauges] if key[0] != ALL}
    return _of_busiest(
        Sample(STEPS[0], at, app, provider, seconds, counts, {**percentiles(counts), **gauges.get((app, provider), {})})
        for (app, provider), counts in [((ALL, 0), total), *rows.items()]
    )


def merged(samples: Iterable[Sample], step: int) -> list[Sample]:
    """Samples in fewer ones of `step` seconds. Counts and seconds add up; of the peaks the highest stays."""
    groups: dict[int, dict[tuple[str, int], list[Sample]]] = {}
    for one in samples:
        groups.setdefault(one.at - one.at % step, {}).setdefault((one.app, one.provider), []).append(one)
    made: list[Sample] = []
    for at, of_moment in groups.items():
        made += _of_busiest(
            Sample(
                *(step, at, *key, sum(one.seconds for one in of)),
                added(one.counts for one in of),
                highest(one.peaks for one in of),
            )
            for key, of in of_moment.items()
        )
    return made


def seconds_since(before: int | None, at: int) -> int:
    """The seconds of a sample at `at`, if the one before it was at `before`."""
    step = STEPS[0]
    gap = (at - before) // step if before is not None else 1
    return step * gap if 0 < gap <= _LONGEST_GAP else step


def percentiles(counts: Mapping[str, float]) -> dict[str, float]:
    """The percentiles of the histograms among counters, as `accept.p99`; none for an empty histogram."""
    found: dict[str, float] = {}
    for name, bounds in BOUNDS.items():
        buckets = buckets_of(counts, name)
        short = name.partition("_")[0]
        for percentile, part in PERCENTILES:
            if (value := quantile(buckets, bounds, part)) is not None:
                found[f"{short}.{percentile}"] = round(value, 6)
    return found


def buckets_of(counts: Mapping[str, float], histogram: str) -> dict[int, int]:
    """Bucket -> how many, of both lanes together."""
    total: dict[int, int] = {}
    for (name, _), of in histograms(counts).items():
        if name == histogram:
            for bucket, n in of.buckets.items():
                total[bucket] = total.get(bucket, 0) + n
    return total


def quantile(buckets: Mapping[int, int], bounds: Sequence[float], part: float) -> float | None:
    """The value below which this part of the values is, as evenly spread within its bucket; None if there are none.

    A value beyond the last bound is given as that bound.
    """
    wanted, seen = part * sum(buckets.values()), 0
    if not wanted:
        return None
    for bucket in sorted(buckets):
        n = buckets[bucket]
        if seen + n >= wanted and n:
            if bucket >= len(bounds):
                return bounds[-1]
            lower = bounds[bucket - 1] if bucket else 0.0
            return lower + (bounds[bucket] - lower) * (wanted - seen) / n
        seen += n
    return bounds[-1]


def highest(peaks: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Of each name the highest value."""
    found: dict[str, float] = {}
    for each in peaks:
        for name, value in each.items():
            found[name] = max(value, found.get(name, value))
    return found


def added(counts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Of each name the sum."""
    total: dict[str, float] = {}
    for each in counts:
        for name, n in each.items():
            total[name] = total.get(name, 0) + n
    return total


def _of_busiest(samples: Iterable[Sample]) -> list[Sample]:
    """Those of one moment that are kept: of all apps together, and of the apps with the most that is counted or waits."""
    rows, busy = sorted(samples, key=lambda one: (one.app, one.provider)), dict[str, float]()
    for one in rows:
        n = sum(n for name, n in one.counts.items() if name.partition(".")[0] not in BOUNDS)
        n += sum(n for name, n in one.peaks.items() if name.startswith("waiting."))
        busy[one.app] = busy.get(one.app, 0) + n
    kept = {ALL, *sorted(busy.keys() - {ALL}, key=lambda app: (-busy[app], app))[:BUSIEST]}
    return [one for one in rows if one.app in kept]
