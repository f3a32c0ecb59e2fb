"""The Retry-After header: a number of seconds or a date (RFC 9110 §10.2.3)."""

from email.utils import parsedate_to_datetime
from typing import Final

#: Seconds. A server may ask for more, but one absurd answer must not hold all that an app sends for a day: it is asked again.
LONGEST: Final = 3_600.0


def seconds(value: str | None, now: float) -> float | None:
    """Its wait in seconds from `now` (UNIX seconds); `LONGEST` at most, None where there is none that can be read."""
    if not value:
        return None
    try:
        wait = float(value) if value.strip().isdecimal() else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, wait), LONGEST)
