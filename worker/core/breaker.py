"""When a provider is left alone, and when it is tried again. `now` in UNIX seconds."""

from dataclasses import dataclass
from typing import Final

#: Seconds between two probes: the shortest, and the longest after a long time.
FIRST_PROBE: Final = 5.0
LONGEST_PROBE: Final = 30.0
#: Parked batches of a provider that a worker looks at in a second: for a probe, and for what is too old by now.
LOOKS_PER_SECOND: Final = 20.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """A provider that gets nothing but probes, or with `manual` nothing at all until a person resumes it."""

    reason: str
    since: float
    manual: bool = False


def parked(n: int, jitter: float) -> float:
    """Seconds for which one more batch of a stopped provider is set aside where `n` are already; `jitter` in [0, 1).

    So many of them come to look in a second at most, however many there are: they are woken when the provider flows again.
    """
    return max(FIRST_PROBE, n / LOOKS_PER_SECOND) * (0.5 + jitter)


def probe_interval(stopped: Stopped, now: float) -> float:
    """Seconds between two probes: a quarter of the time it has been stopped, within bounds.

    Short at first, because most faults are mended by whoever just made them; then rarer, because Apple counts refusals.
    """
    return min(LONGEST_PROBE, max(FIRST_PROBE, (now - stopped.since) / 4))
