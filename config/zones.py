"""Time zones: those of the package `tzdata`, whatever the system has. A system's own are often a year old."""

import zoneinfo
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

zoneinfo.reset_tzpath(())

UTC: Final = "UTC"


@cache
def names() -> frozenset[str]:
    """All that the database has, links such as `US/Eastern` included."""
    return frozenset(zoneinfo.available_timezones())


@cache
def zone(name: str) -> ZoneInfo | None:
    """None: the database has no such zone. Reads it from disk once."""
    return ZoneInfo(name) if name in names() else None
