"""Times as commands take them."""

import re
from datetime import datetime, timedelta
from typing import Final

from worker.cli._faults import refuse
from worker.reports.words import instant

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str, now: datetime, option: str) -> datetime:
    """A time, or how long before `now`; anything else ends the command."""
    if span := _span(text):
        return now - span
    return _time(text, option, "how long ago, as 30m, 2h or 1d")


def moment_ahead(text: str, now: datetime, option: str) -> datetime:
    """A time, or how long after `now` (`+2h`); anything else ends the command."""
    if text.startswith("+") and (span := _span(text[1:])):
        return now + span
    return _time(text, option, "how long from now, as +30m, +2h or +1d")


def rfc3339(at: datetime | float) -> str:
    """UNIX seconds, or a time with its offset, as RFC 3339 in UTC to the second."""
    return instant(at, to="seconds")


def _span(text: str) -> timedelta | None:
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    return found and timedelta(**{_UNITS[found[2]]: int(found[1])})


def _time(text: str, option: str, otherwise: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        refuse(f"{option}: expected {otherwise}, or a time as 2026-11-21T20:00Z")
    if found.tzinfo is None:
        refuse(f"{option}: the time has no offset from UTC; write {text}Z for UTC")
    return found
