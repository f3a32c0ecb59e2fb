"""How long to wait before the next try, for whatever the worker tries again.

Publishers have their own rule (`producers/patience.py`): they import nothing of the worker's.
"""

from typing import Final

#: Of a notification's tries: the first and the longest delay in seconds, and the factor from one delay to the next. A provider
#: that fails most of the time is not asked so often by each of them: its circuit breaker opens, and one notification at a time
#: goes out as a probe.
FIRST_DELAY: Final = 1.0
LONGEST_DELAY: Final = 30.0
GROWTH: Final = 1.4
#: Tries after which a delay grows no more, whatever its bounds.
_STEPS: Final = 20


def backoff(
    tries: int,
    *,
    base: float = FIRST_DELAY,
    longest: float = LONGEST_DELAY,
    growth: float = GROWTH,
    jitter: float = 1.0,
) -> float:
    """Seconds to wait after so many failed tries in a row (from 1): `base`, and each time `growth` as long, up to `longest`.

    `jitter` in [0, 1] scales the upper half of the delay; 1 keeps all of it. A random one keeps the retries of one outage from
    coming back together.
    """
    whole = min(longest, base * growth ** min(max(tries, 1) - 1, _STEPS))
    return whole * (0.5 + jitter / 2)
