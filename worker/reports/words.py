"""Numbers with their nouns, in English, and times."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Final

_WEEK: Final = 7


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 device`, `2,000 devices`; `plural` where it is not made by an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def instant(at: float | datetime, *, to: str = "milliseconds") -> str:
    """UNIX seconds, or a time with its offset, as RFC 3339 in UTC, to the millisecond or to the second."""
    when = at.astimezone(UTC) if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return when.isoformat(timespec=to).replace("+00:00", "Z")


def lasting(seconds: float) -> str:
    """How long something lasts, in two units at most: `41 s`, `6 min 06 s`, `2 h 41 min`, `3 d 4 h`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3_600} h {whole % 3_600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"


def window(of: Mapping[str, Any]) -> str:
    """A window of quiet time as an app's settings take it: `22:00-08:00`, `mon-fri,18:00-08:00`."""
    days = of["days"]
    named = "" if len(days) == _WEEK else f"{days[0]}," if len(days) == 1 else f"{days[0]}-{days[-1]},"
    return f"{named}{of['from']}-{of['to']}"


def release() -> str:
    """The version of this release; `source` in a tree that is not installed."""
    try:
        return metadata.version("carillon-push-worker")
    except metadata.PackageNotFoundError:
        return "source"
