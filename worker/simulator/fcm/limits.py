"""Google's limits: messages of a project in a minute, and of one device in a minute and in an hour.

A bucket is filled up whole when its time is over, not aligned to the clock.
"""

from typing import Final

MINUTE: Final = 60.0
HOUR: Final = 3600.0
#: Devices whose counts are kept; beyond it all are forgotten.
MOST_DEVICES: Final = 1_000_000


class Buckets:
    """Counts by key. None lets everything pass."""

    def __init__(self, most: int | None, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._counts: dict[str, tuple[float, int]] = {}

    def take(self, key: str, now: float) -> bool:
        """Whether one more message of the key fits at `now`, in seconds."""
        if self._most is None:
            return True
        began, count = self._counts.get(key, (now, 0))
        if now - began >= self._seconds:
            began, count = now, 0
        if len(self._counts) > MOST_DEVICES:
            self._counts.clear()
        self._counts[key] = (began, count + 1)
        return count < self._most


class Limits:
    """Those of one simulator."""

    def __init__(self, project_minute: int | None, device_minute: int | None, device_hour: int | None) -> None:
        self.none = project_minute is device_minute is device_hour is None
        self._project = Buckets(project_minute, MINUTE)
        self._minute, self._hour = Buckets(device_minute, MINUTE), Buckets(device_hour, HOUR)

    def over(self, project: str, token: str, now: float) -> str | None:
        """The reason why a message is one too many."""
        if not self._project.take(project, now):
            return "RATE_LIMIT_EXCEEDED"
        if not (self._minute.take(token, now) and self._hour.take(token, now)):
            return "QUOTA_EXCEEDED"
        return None
