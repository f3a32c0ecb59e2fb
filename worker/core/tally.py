"""What one finished batch, or one app of one expansion, adds to the shared counters; and how long things took.

A tally travels among the journal's ledger entries, so each is counted once or not at all. The release before takes a tally for a
ledger entry. All tallies of an app have the same key there, an event id that no event has. So that release keeps one row of them
an app and day, and refuses the others as repeated.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from worker.core.ledger_entry import Entry, account

#: The event id and the part of a tally's ledger entry.
NO_EVENT: Final = ""
PART: Final = "tally"

#: Upper bounds in seconds of the buckets, each with its bound. What took longer than the last falls into one bucket more.
#: From the request to the provider's answer.
ANSWER_BOUNDS: Final = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05),
    *(0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0),
)
#: From the publishing of an event to the provider's acceptance.
ACCEPT_BOUNDS: Final = (
    *(0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3),
    *(0.5, 0.75, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0),
)
#: The histograms by their names in the counters.
BOUNDS: Final[Mapping[str, Sequence[float]]] = {"answer_seconds": ANSWER_BOUNDS, "accept_seconds": ACCEPT_BOUNDS}
SUM: Final = "sum"


class Histogram(msgspec.Struct, array_like=True):
    """Bucket -> how many fell into it, and the sum of all in seconds."""

    buckets: dict[int, int] = {}
    seconds: float = 0.0

    def add(self, bounds: Sequence[float], seconds: float, n: int = 1) -> None:
        """Clocks may differ: what seems to have taken less than nothing took nothing."""
        seconds = max(0.0, seconds)
        bucket = bisect_left(bounds, seconds)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + n
        self.seconds += seconds * n


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """The fields and their order are the stored form, which releases share: new ones come last, with defaults."""

    #: Never given before, so that a tally is known again.
    id: str
    #: 0: of the app itself.
    provider: int = 0
    lane: str = ""
    counts: Mapping[str, int] = {}
    answer: Histogram = msgspec.field(default_factory=Histogram)
    accept: Histogram = msgspec.field(default_factory=Histogram)

    def named(self) -> dict[str, float]:
        """Everything that it adds, by the names of the counters."""
        named: dict[str, float] = {name: n for name, n in self.counts.items() if n}
        for histogram, of in (("answer_seconds", self.answer), ("accept_seconds", self.accept)):
            if of.buckets:
                named |= {bucket_name(histogram, self.lane, bucket): n for bucket, n in of.buckets.items()}
                named[bucket_name(histogram, self.lane, SUM)] = round(of.seconds, 6)
        return named


_decode: Final = msgspec.json.Decoder(Tally).decode


def encode(app: str, tally: Tally) -> bytes:
    """A tally as the journal passes it on: a ledger entry."""
    return account(app, NO_EVENT, PART, tally)


def is_tally(entry: Entry) -> bool:
    return entry.part == PART and entry.event_id == NO_EVENT


def tally_in(entry: Entry) -> Tally:
    return _decode(entry.account)


def bucket_name(histogram: str, lane: str, bucket: int | str) -> str:
    """The counter of one bucket of a histogram, or with `SUM` of its seconds: `answer_seconds.urgent.7`."""
    return f"{histogram}.{lane}.{bucket}"


def histograms(counters: Mapping[str, float]) -> dict[tuple[str, str], Histogram]:
    """The histograms among counters, by name and lane. A bucket that this release does not know counts as the last."""
    found: dict[tuple[str, str], Histogram] = {}
    for name, n in counters.items():
        histogram, _, place = name.partition(".")
        if (bounds := BOUNDS.get(histogram)) is None:
            continue
        lane, _, bucket = place.rpartition(".")
        of = found.setdefault((histogram, lane), Histogram({}, 0.0))
        if bucket == SUM:
            of.seconds += n
        else:
            last = min(int(bucket), len(bounds))
            of.buckets[last] = of.buckets.get(last, 0) + int(n)
    return found


def counters(named: Mapping[str, float]) -> dict[str, int]:
    """The counters without the histograms."""
    return {name: int(n) for name, n in named.items() if not is_of_histogram(name)}


def is_of_histogram(name: str) -> bool:
    return name.startswith(("answer_seconds.", "accept_seconds."))
