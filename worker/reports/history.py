"""What happened over time: samples of the counters are taken as the tick calls, and read as series of 120 buckets."""

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from worker.core.batch_run import EARLIER
from worker.core.history import ALL, KEPT, STEPS, Sample, added, highest, percentiles
from worker.core.way import Way, provider_in
from worker.database import cursors, history
from worker.database.postgres import Connection, Pool
from worker.reports.words import release
from worker.state import backlog
from worker.state.backlog import Waiting
from worker.state.breaker import Breaker
from worker.state.partition import Keyspace

#: Seconds of each range that can be shown, and its buckets.
RANGES: Final[Mapping[str, int]] = {"1h": 3_600, "6h": 21_600, "24h": 86_400, "7d": 604_800}
BUCKETS: Final = 120
#: Fewer buckets say nothing of a time that was chosen by hand.
_FEWEST: Final = 10
#: The range whose buckets are short enough to say what is now.
NOW: Final = "1h"
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
#: It waits for an earlier one of its channel, which is no outcome: the ledger has none either.
NO_OUTCOME: Final = f"limited.{EARLIER}"
_RELEASE: Final = "release."

Key = tuple[str, int]


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
    beginnings = tuple(OUTCOMES[outcome])
    return sum(n for name, n in counts.items() if name.startswith(beginnings) and name != NO_OUTCOME)


def samples_in(bucket: Bucket, histogram: str) -> int:
    """How many values of a histogram a bucket has."""
    return int(
        sum(n for name, n in bucket.counts.items() if name.startswith(f"{histogram}.") and not name.endswith(".sum"))
    )


def gauges(waiting: Iterable[Waiting], paused: Collection[Way]) -> dict[Key, dict[str, float]]:
    """What waits now, as peaks of all apps, of each app and of each provider. `paused`: the ways that were paused by hand.

    In notifications: `waiting.ready`, `waiting.due`, `waiting.held`, and `waiting.all`, whose highest value is less than the sum
    of theirs; `waiting.scheduled` and `messages` in messages, `octets` in bytes. In seconds: `oldest.urgent`, `oldest.bulk`,
    `oldest.due`, `oldest.held`, and `oldest.paused` of what is held by hand.
    """
    found: dict[Key, dict[str, float]] = {}
    for one in waiting:
        provider = 0 if one.way is None else provider_in(one.way)
        by_hand = one.way is not None and (one.way in paused or provider in paused)
        if one.state == "scheduled":
            levels = {"waiting.scheduled": one.messages, "octets": one.octets}
        else:
            state = "ready" if one.state in ("leased", "stream") else one.state
            levels = {f"waiting.{state}": one.notifications, "waiting.all": one.notifications}
            levels |= {"messages": one.messages, "octets": one.octets}
        age = {} if one.state == "scheduled" or one.oldest is None else {_age(one, by_hand=by_hand): one.oldest}
        # What is on the inlet may be of any app.
        for key in {(ALL, 0), (one.app, 0), (one.app, provider)} if one.app else {(ALL, 0)}:
            of = found.setdefault(key, {})
            for name, n in levels.items():
                if n:
                    of[name] = of.get(name, 0) + n
            for name, seconds in age.items():
                of[name] = max(of.get(name, 0.0), round(seconds, 3))
    return {key: of for key, of in found.items() if of}


def _age(one: Waiting, *, by_hand: bool) -> str:
    """What waits for its time, to be tried again, is in no lane's age."""
    if one.state in ("held", "due"):
        return "oldest.paused" if by_hand else f"oldest.{one.state}"
    return f"oldest.{one.lane or 'urgent'}"


class Sampler:
    """Samples the counters once in 30 s for the whole fleet, whichever process ticks. `now` gives UNIX seconds."""

    def __init__(self, keyspace: Keyspace, pool: Pool, *, now: Callable[[], float] = time.time) -> None:
        self._keyspace, self._fleet, self._pool, self._now = keyspace, keyspace.fleet, pool, now

    def sample(self) -> int:
        """Writes the sample of the last 30 s if nobody has, and rolls up old ones; returns how many rows it wrote."""
        now = self._now()
        at = int(now // STEPS[0] - 1) * STEPS[0]
        if self._fleet.redis.get(self._fleet.keys.SAMPLED()) == str(at).encode():
            return 0
        levels = self._gauges()
        levels[ALL, 0] = {**levels.get((ALL, 0), {}), f"{_RELEASE}{release()}": 1}
        written = history.sample(self._pool, at, levels)
        if written:
            self._fleet.scripts.while_full(command="SET", key=self._fleet.keys.SAMPLED(), arguments=[at])
            history.roll_up(self._pool, now)
        return written

    def _gauges(self) -> dict[Key, dict[str, float]]:
        with self._pool.connection() as db:
            taken = cursors.taken(db)
        # Of a partition whose server does not answer nothing is known.
        keyspace, _ = self._keyspace.answering()
        waiting = backlog.read(keyspace, taken).waiting
        ways = {way for one in waiting if one.way is not None for way in (one.way, provider_in(one.way))}
        paused = set()
        for partition in keyspace:
            stops = Breaker(partition).stopped_among(list(ways))
            paused |= {way for way, stopped in stops.items() if stopped.manual}
        return gauges(waiting, paused)


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


def between(db: Connection, of: Sequence[Key], start: float, end: float, *, now: float) -> Series | None:
    """What was counted from `start` to `end` (UNIX seconds) for all these together, or without them for all apps; one statement.

    In at most 120 buckets, of the shortest samples that are kept for so long. None: there are too few samples, or none of these.
    """
    step = next((step for step in STEPS if start > now - KEPT[step]), STEPS[-1])
    width = step * max(1, math.ceil((end - start) / (step * BUCKETS)))
    last = math.floor(min(end, now - _GRACE) / step) * step
    number = math.floor((last - start) / width)
    if number < _FEWEST:
        return None
    first = last - number * width
    rows = history.read(db, [(ALL, 0), *of], first, last)
    ours = [row for row in rows if (row.app, row.provider) in of] if of else rows
    if not ours:
        return None
    total = _buckets((row for row in rows if row.app == ALL), first, width, None, number)
    return Series(first, last, _buckets(ours, first, width, total, number) if of else total)


def recent(db: Connection, wanted: str, found: Mapping[Key, Series], *, now: float) -> Mapping[Key, Series]:
    """The series of the same apps and providers whose last bucket is that of now. `found`: what `read` gave for `wanted`."""
    return found if wanted == NOW else read(db, NOW, [key for key in found if key != (ALL, 0)], now=now)


def together(parts: Sequence[Series], app: Series) -> Series:
    """The series of an app, whose own has what waits, with the counts of its providers."""
    buckets = [
        own and own._replace(counts=added([own.counts, *(one.counts for one in of if one is not None)]))
        for own, *of in zip(app.buckets, *(part.buckets for part in parts), strict=True)
    ]
    return app._replace(buckets=buckets)


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
    rows: Iterable[Sample], start: float, width: int, total: Sequence[Bucket | None] | None, number: int = BUCKETS
) -> list[Bucket | None]:
    """`total`: of all apps, which says for which time there are samples; None: these are of all apps themselves."""
    parts: list[list[Sample]] = [[] for _ in range(number)]
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
