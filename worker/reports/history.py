"""What happened over time: samples of the counters are taken as the tick calls, and read as series of 120 buckets."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from worker.core.history import ALL, STEPS, Sample, added, highest, percentiles
from worker.core.tally import BOUNDS
from worker.database import history
from worker.database.postgres import Connection, Pool
from worker.state import keys
from worker.state.redis import Redis
from worker.state.scripts import Scripts

#: Seconds of each range that can be shown, and its buckets.
RANGES: Final[Mapping[str, int]] = {"1h": 3_600, "6h": 21_600, "24h": 86_400, "7d": 604_800}
BUCKETS: Final = 120
#: Seconds after its end in which a sample is written.
_GRACE: Final = 10
#: Seconds before a release's first sample without which it was not running: while workers are replaced, two releases take turns.
_REPLACING: Final = 600
#: How what becomes of a notification is drawn, by the beginning of its counters' names: from the bottom of the stack to its top.
OUTCOMES: Final[Mapping[str, Sequence[str]]] = {
    "accepted": ("accepted",),
    "refused": ("retired.", "dropped."),
    "retry": ("retry.", "limited."),
}
_RELEASE: Final = "release."

Key = tuple[str, int]
Gauges = Mapping[Key, Mapping[str, float]]


class Bucket(NamedTuple):
    """What happened in one part of a series. `seconds`: for how much of it there are samples."""

    seconds: int
    counts: Mapping[str, float]
    peaks: Mapping[str, float]

    def rate(self, outcome: str) -> float:
        """Notifications a second with an outcome of `OUTCOMES`."""
        return count(self.counts, outcome) / self.seconds


class Series(NamedTuple):
    """From `start` to `end` (UNIX seconds) in buckets of the same length. A bucket without a sample is None: no data."""

    start: float
    end: float
    buckets: Sequence[Bucket | None]

    @property
    def width(self) -> float:
        """Seconds of a bucket."""
        return (self.end - self.start) / len(self.buckets)

    @property
    def partial(self) -> frozenset[int]:
        """The buckets of which a part has no sample."""
        return frozenset(
            n for n, one in enumerate(self.buckets) if one is not None and one.seconds < self.width - STEPS[0]
        )

    @property
    def last(self) -> Bucket | None:
        """The newest bucket."""
        return self.buckets[-1]

    def rates(self, outcome: str) -> list[float | None]:
        """Notifications a second with an outcome of `OUTCOMES`."""
        return [one and one.rate(outcome) for one in self.buckets]

    def peaks(self, name: str) -> list[float | None]:
        """The highest value of each bucket; 0 where nothing of it was seen."""
        return [one and one.peaks.get(name, 0.0) for one in self.buckets]

    def growth(self, name: str) -> list[float | None]:
        """By how much a second a highest value grew from bucket to bucket; 0 where it did not."""
        levels = self.peaks(name)
        before = [levels[0], *levels[:-1]]
        return [
            None if now is None else max(0.0, now - (was if was is not None else now)) / self.width
            for was, now in zip(before, levels, strict=True)
        ]

    def counts(self) -> dict[str, float]:
        """All that was counted."""
        return added(one.counts for one in self.buckets if one is not None)

    def percentiles(self) -> dict[str, float]:
        """The percentiles of the whole time, as `accept.p99`, in seconds."""
        return percentiles(self.counts())


def count(counts: Mapping[str, float], outcome: str) -> float:
    """How many notifications had an outcome of `OUTCOMES`, among counters."""
    return sum(n for name, n in counts.items() if name.startswith(tuple(OUTCOMES[outcome])) and not _is_histogram(name))


def samples_in(bucket: Bucket, histogram: str) -> int:
    """How many values of a histogram a bucket has."""
    return int(
        sum(n for name, n in bucket.counts.items() if name.startswith(f"{histogram}.") and not name.endswith(".sum"))
    )


class Sampler:
    """Samples the counters once in 30 s for the whole fleet, whichever process ticks. `now` gives UNIX seconds."""

    def __init__(
        self,
        redis: Redis,
        pool: Pool,
        release: str,
        gauges: Callable[[], Gauges],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._redis, self._pool, self._release, self._gauges, self._now = redis, pool, release, gauges, now
        self._scripts = Scripts(redis)

    def sample(self) -> int:
        """Writes the sample of the last 30 s if nobody has, and rolls up old ones; returns how many rows it wrote."""
        now = self._now()
        at = int(now // STEPS[0] - 1) * STEPS[0]
        if self._redis.get(keys.SAMPLED()) == str(at).encode():
            return 0
        gauges = dict(self._gauges())
        gauges[ALL, 0] = {**gauges.get((ALL, 0), {}), f"{_RELEASE}{self._release}": 1}
        written = history.sample(self._pool, at, gauges)
        if written:
            self._scripts.while_full(command="SET", key=keys.SAMPLED(), arguments=[at])
            history.roll_up(self._pool, now)
        return written


def read(db: Connection, wanted: str, of: Sequence[Key] = (), *, now: float) -> dict[Key, Series]:
    """The series of all apps, `("", 0)`, and of these apps and providers, over a range of `RANGES`; one statement.

    It ends with the last complete bucket before `now` (UNIX seconds).
    """
    width = RANGES[wanted] // BUCKETS
    end = math.floor((now - _GRACE) / width) * width
    start = end - width * BUCKETS
    rows = history.read(db, [(ALL, 0), *of], start, end)
    total = _buckets((row for row in rows if row.app == ALL), start, width, None)
    found = {(ALL, 0): Series(start, end, total)}
    for key in of:
        buckets = _buckets((row for row in rows if (row.app, row.provider) == key), start, width, total)
        found[key] = Series(start, end, buckets)
    return found


def releases(series: Series) -> list[tuple[float, str]]:
    """When (UNIX seconds) which release began to run, while another one had run before."""
    known, found = dict[str, float](), []
    for n, one in enumerate(series.buckets):
        at = series.start + n * series.width
        for name in sorted(one.peaks) if one is not None else ():
            if name.startswith(_RELEASE):
                if known and at - known.get(name, -math.inf) > max(_REPLACING, 2 * series.width):
                    found.append((at, name.removeprefix(_RELEASE)))
                known[name] = at
    return found


def _buckets(
    rows: Iterable[Sample], start: float, width: int, total: Sequence[Bucket | None] | None
) -> list[Bucket | None]:
    """`total`: of all apps, which says for which time there are samples; None: these are of all apps themselves."""
    parts: list[list[Sample]] = [[] for _ in range(BUCKETS)]
    for row in rows:
        parts[int((row.at - start) // width)].append(row)
    made: list[Bucket | None] = []
    for n, of in enumerate(parts):
        known = total[n] if total is not None else None
        if (total is None and not of) or (total is not None and known is None):
            made.append(None)
            continue
        seconds = sum(one.seconds for one in of) if known is None else known.seconds
        made.append(Bucket(seconds, added(one.counts for one in of), highest(one.peaks for one in of)))
    return made


def _is_histogram(name: str) -> bool:
    return name.partition(".")[0] in BOUNDS
