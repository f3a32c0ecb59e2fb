"""Whether an event can be taken at all: its app is known, and its time is no later than now."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from worker.core.refusal import Refusal, Refused

#: Seconds by which the time of a write may be ahead of the clocks of both engines.
AHEAD: Final = 300.0


def unknown_app(app: str) -> Refused:
    return Refused(f"app: {app!r} is not known; create it, or correct the name")


def check_time(at: datetime, clocks: Mapping[str, float]) -> None:
    """A write that wins by its time must not win for ever: raises `Refused` where it is far ahead of every clock.

    `clocks`: what each engine says, by its name, in UNIX seconds.
    """
    name = max(clocks, key=lambda engine: clocks[engine])
    ahead = at.timestamp() - clocks[name]
    if ahead > AHEAD:
        engines = " and ".join(f"{engine}'s" for engine in sorted(clocks))
        now = datetime.fromtimestamp(clocks[name], UTC)
        raise Refused(
            f"at: {at.isoformat()} is {ahead:,.0f} s ahead of {engines} clock, which say at most {now:%Y-%m-%dT%H:%M:%SZ}:"
            f" set the clock of the server that wrote it; at most {AHEAD:.0f} s are taken"
        )


def over_rate(app: str, rate: int, burst: int) -> Refusal:
    """Why a registration over the rate is not applied."""
    error = f"rate limit: app {app!r} takes {rate:,} registrations a second and {burst:,} at once; try again later"
    return Refusal(error, code="rate_limit")
