"""Rates as token buckets, kept as one number each: the time at which the bucket is full again (GCRA).

The same rule runs in `worker/stores/lua/limit.lua`, on the store's clock; a test holds the two together.
"""

from typing import NamedTuple


class Rate(NamedTuple):
    """`per_second` in the long run, `burst` at once."""

    per_second: float
    burst: float


class Grant(NamedTuple):
    """How many may go now, seconds until the next one may, and when the bucket is full again."""

    allowed: int
    wait: float
    full_at: float


def per_second(rate: float) -> Rate:
    """A rate whose burst is one second's worth, one at least."""
    return Rate(rate, max(1.0, rate))


def per_minute(rate: float) -> Rate:
    """A rate a minute whose burst is a minute's worth, one at least."""
    return Rate(rate / 60.0, max(1.0, rate))


def grant(full_at: float, now: float, wanted: int, rate: Rate) -> Grant:
    """Takes up to `wanted` from a bucket. Times in seconds of one clock; `full_at` 0 for a bucket never used."""
    start = max(full_at, now)
    room = rate.burst - (start - now) * rate.per_second
    # A hair's breadth, so that a caller who waited exactly as long as told is not sent away by rounding.
    allowed = max(0, min(wanted, int(room + 1e-6)))
    full = start + allowed / rate.per_second
    wait = 0.0 if allowed == wanted else max(0.0, (1.0 - (room - allowed)) / rate.per_second)
    return Grant(allowed, wait, full)
