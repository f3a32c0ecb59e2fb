"""The days of users: how many pushes they get on one, and when those hear of the rest who have had their share. Pure."""

from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final, NamedTuple

from worker.core.rules import Why

#: Whose push takes no place of a day.
APART: Final[frozenset[Why]] = frozenset({"direct", "mention"})
#: When people hear of what came too much: on the next day, by the clock of their zone.
MORNING: Final = time(8)


class Day(NamedTuple):
    """`name`: `2026-11-21`. `morning`: UNIX seconds of the next day's."""

    name: str
    morning: float


def day_of(zone: tzinfo, now: float) -> Day:
    """The day on which `now` (UNIX seconds) is in the zone."""
    here = datetime.fromtimestamp(now, UTC).astimezone(zone).date()
    return Day(here.isoformat(), datetime.combine(here + timedelta(days=1), MORNING, zone).timestamp())
