"""Whether an event can be taken at all: its app and provider are known, and its time is no later than now."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from producers.events import Device
from worker.core.model import Provider
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


def choose_provider(device: Device, app: str, providers: Mapping[str, Provider]) -> Provider:
    """The provider that a registration names, or the app's only one (for the environment, where that is given)."""
    if device.provider is not None:
        named = providers.get(device.provider)
        if named is None:
            raise Refused(f"device.provider: app {app!r} has no provider {device.provider!r}; {_known(providers)}")
        if device.environment not in (None, named.environment):
            raise Refused(
                f"device.environment: provider {named.name!r} is for {named.environment}, not {device.environment}"
            )
        return named
    fitting = [p for p in providers.values() if device.environment in (None, p.environment)]
    if len(fitting) != 1:
        which = f" for {device.environment}" if device.environment else ""
        raise Refused(
            f"device.provider: app {app!r} has {len(fitting)} providers{which}, name one; {_known(providers)}"
        )
    return fitting[0]


def over_rate(app: str, rate: int, burst: int) -> Refusal:
    """Why a registration over the rate is not applied."""
    error = f"rate limit: app {app!r} takes {rate:,} registrations a second and {burst:,} at once; try again later"
    return Refusal(error, code="rate_limit")


def _known(providers: Mapping[str, Provider]) -> str:
    return f"known: {', '.join(sorted(providers))}" if providers else "none is configured"
