"""Rates as token buckets, kept as one number each: the time at which the bucket is full again (GCRA).

A bucket says *when*: a notification over the rate gets a later time, and keeps it. The same rule runs in
`worker/state/lua/reserve.lua`, on the store's clock; a test holds the two together.
"""

from collections.abc import Iterator
from typing import NamedTuple


class Rate(NamedTuple):
    """`per_second` in the long run, `burst` at once."""

    per_second: float
    burst: float


class Reserved(NamedTuple):
    """How many have a time, the seconds by which the bucket was ahead of now before them, and when it is full again."""

    taken: int
    ahead: float
    full_at: float

    def delays(self, rate: Rate) -> Iterator[float]:
        """Seconds from now at which each of them may go; 0 for those that may go at once."""
        for n in range(self.taken):
            yield max(0.0, self.ahead + (n + 1 - rate.burst) / rate.per_second)


def per_second(rate: float) -> Rate:
    """A rate whose burst is one second's worth, one at least."""
    return Rate(rate, max(1.0, rate))


def per_minute(rate: float) -> Rate:
    """A rate a minute whose burst is a minute's worth, one at least."""
    return Rate(rate / 60.0, max(1.0, rate))


def within(most: int, seconds: float) -> Rate:
    """A rate that lets no more than `most` through in any span of so many seconds: half of them at once."""
    return Rate(most / 2 / seconds, most / 2)


def reserve(full_at: float, now: float, wanted: int, rate: Rate, horizon: float) -> Reserved:
    """Gives up to `wanted` their times, none of them later than `horizon` seconds from now: those beyond reserve nothing.

    Times in seconds of one clock; `full_at` 0 for a bucket never used.
    """
    start = max(full_at, now)
    # A hair's breadth, so that what just fits is not sent away by rounding.
    room = (horizon - (start - now)) * rate.per_second + rate.burst
    taken = max(0, min(wanted, int(room + 1e-6)))
    return Reserved(taken, start - now, start + taken / rate.per_second)
