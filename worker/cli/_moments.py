"""Times as commands take them."""

import re
from datetime import datetime, timedelta
from typing import Final

from worker.cli._desk import refuse

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str, now: datetime, option: str) -> datetime:
    """A time, or how long before `now`; anything else ends the command."""
    if ago := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        refuse(f"{option}: expected how long ago, as 30m, 2h or 1d, or a time as 2026-11-21T20:00Z")
    if found.tzinfo is None:
        refuse(f"{option}: the time has no offset from UTC; write {text}Z for UTC")
    return found
