"""The Retry-After header: a number of seconds or a date (RFC 9110 §10.2.3)."""

from email.utils import parsedate_to_datetime
from typing import Final

#: Seconds; a server that asks for more gets what an event lives for anyway.
LONGEST: Final = 86_400.0


def seconds(value: str | None, now: float) -> float | None:
    """Its wait in seconds from `now` (UNIX seconds); None where there is none that can be read."""
    if not value:
        return None
    try:
        wait = float(value) if value.strip().isdecimal() else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, wait), LONGEST)
