"""Numbers with their nouns, in English, and times."""

from datetime import UTC, datetime
from importlib import metadata


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 device`, `2,000 devices`; `plural` where it is not made by an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def instant(at: float) -> str:
    """UNIX seconds as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def release() -> str:
    """The version of this release; `source` in a tree that is not installed."""
    try:
        return metadata.version("carillon-push-worker")
    except metadata.PackageNotFoundError:
        return "source"
