"""How many notifications had which outcome over a time, by the filter of the push log. Never without a bound."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from worker.core.history import BUSIEST
from worker.database.lookups import kept_since, provider_names
from worker.database.postgres import Connection, Pool
from worker.database.push_log import bounded, count
from worker.reports import history
from worker.reports.history import NO_OUTCOME, Bucket, Key, Series
from worker.reports.push_log import DECISIONS, LOOKED_AT, OUTCOMES, Filter, choice_of

#: Providers whose samples are added up. Of more, entries are counted.
_WAYS: Final = 10
#: Buckets of what is counted in the ledger.
_BUCKETS: Final = 60


class Volume(NamedTuple):
    """Notifications in each bucket by their label, `<outcome>` or `<outcome>.<reason>`. What was not counted is no data."""

    series: Series
    #: Whether the newest entries alone were counted.
    bounded: bool = False

    @property
    def total(self) -> int:
        return int(sum(self.series.counts().values()))


def read(pool: Pool, chosen: Filter, now: float) -> Volume:
    """From the history if it can tell apart what is chosen, else from at most 20,000 entries. Decisions are not counted.

    Raises `TooMuchError`.
    """
    end = min(now, chosen.until or now)
    start = min(chosen.since, end - 1)
    with bounded(pool) as db:
        names = provider_names(db)
        series = None
        # Samples have no users, and of what went ahead only how much was overtaken.
        if chosen.user is None and chosen.device is None and chosen.outcome != "overtook":
            ways = _ways(chosen, names)
            series = None if ways is None else history.between(db, ways, start, end, now=now)
        if series is None:
            return _counted(db, chosen, names, start, end)
    kept = [one and one._replace(counts=_chosen(one.counts, chosen)) for one in series.buckets]
    return Volume(series._replace(buckets=kept))


def _ways(chosen: Filter, names: Mapping[int, tuple[str, str, str]]) -> Sequence[Key] | None:
    """Whose samples tell it: those of all apps if there are none. None: no samples do.

    Where there are many apps, one may not always be among the busiest, which have samples.
    """
    if chosen.app is None and chosen.provider is None:
        return ()
    if len({app for app, _, _ in names.values()}) > BUSIEST:
        return None
    ways = [
        (app, id)
        for id, (app, name, _) in names.items()
        if chosen.app in (None, app) and chosen.provider in (None, name)
    ]
    return ways if 0 < len(ways) <= _WAYS else None


def _counted(
    db: Connection, chosen: Filter, names: Mapping[int, tuple[str, str, str]], start: float, end: float
) -> Volume:
    number = min(_BUCKETS, max(1, math.floor(end - start)))
    width = (end - start) / number
    choice = choice_of(chosen._replace(since=start, until=end, decisions=False), names)
    found = count(db, choice, (chosen.user, chosen.device), start, width, LOOKED_AT)
    counts: list[dict[str, float]] = [{} for _ in range(number)]
    for bucket, label, n in found.labels:
        # The last moment of all may be rounded up.
        of = counts[min(bucket, number - 1)]
        of[label] = of.get(label, 0) + n
    full = found.entries >= LOOKED_AT
    # From before there was a ledger nothing is counted either.
    counted = found.oldest if full and found.oldest is not None else kept_since(db)
    first = math.floor((counted - start) / width)
    seconds = max(1, round(width))
    buckets = [Bucket(seconds, _chosen(of, chosen), {}) if n >= first else None for n, of in enumerate(counts)]
    return Volume(Series(start, end, buckets), bounded=full)


def _chosen(counts: Mapping[str, float], chosen: Filter) -> dict[str, float]:
    """The labels of outcomes that are chosen. A counter without the reason is the sum of those with one."""
    found = {}
    for label, n in counts.items():
        outcome, _, reason = label.partition(".")
        if outcome not in OUTCOMES or outcome in DECISIONS or label == NO_OUTCOME:
            continue
        if not reason and outcome not in ("accepted", "overtook"):
            continue
        if n and chosen.outcome in (None, outcome) and chosen.reason in (None, reason):
            found[label] = n
    return found
