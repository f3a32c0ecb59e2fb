"""A few recent messages of each app, whole, so that a test push can be one of them. Bounded in number, size and time."""

from collections.abc import Iterable
from typing import Any, Final
from zlib import crc32

from worker.state.partition import Partition

#: Channels share this many places: an app keeps at most so many messages a day, however many channels it has.
BUCKETS: Final = 4096
#: Larger documents are not kept, in bytes: with the above at most 16 MiB an app and day.
LARGEST: Final = 4096
DAY: Final = 86_400
#: Seconds until a process keeps another message of a channel, and of how many channels it knows when it kept one.
AGAIN: Final = 60
MOST_CHANNELS: Final = 10_000


class Kept:
    """The channels of which this process kept a message a short time ago: that one is as good for a test push."""

    def __init__(self) -> None:
        self._at: dict[tuple[str, str], float] = {}

    def is_due(self, channel: tuple[str, str], now: float) -> bool:
        """Whether to keep another one of this channel (app, id) now."""
        if 0 <= now - self._at.get(channel, float("-inf")) < AGAIN:
            return False
        if len(self._at) >= MOST_CHANNELS:
            self._at.clear()
        self._at[channel] = now
        return True


def keep(partition: Partition, messages: Iterable[tuple[str, str, bytes]], *, now: float) -> None:
    """Keeps documents given as (app, channel, document); of one channel the last. `now` in UNIX seconds."""
    by_app: dict[str, dict[Any, Any]] = {}
    for app, channel, document in messages:
        if len(document) <= LARGEST:
            by_app.setdefault(app, {})[str(crc32(channel.encode()) % BUCKETS)] = document
    if not by_app:
        return
    with partition.redis.pipeline(transaction=False) as pipe:
        for app, kept in by_app.items():
            key = _key(partition, app, now)
            pipe.hset(key, mapping=kept)
            pipe.expire(key, 2 * DAY - int(now) % DAY)
        # A Redis that is full may go without.
        pipe.execute(raise_on_error=False)


def documents(partition: Partition, app: str, *, now: float) -> list[bytes]:
    """The kept messages of the app, in no order."""
    found: list[bytes] = []
    for at in (now, now - DAY):
        kept: Any = partition.redis.hvals(_key(partition, app, at))
        found += kept
    return found


def forget(partition: Partition, app: str, *, now: float) -> None:
    """Removes all that is kept of the app."""
    partition.redis.delete(_key(partition, app, now), _key(partition, app, now - DAY))


def _key(partition: Partition, app: str, now: float) -> str:
    return partition.keys.RECENT(app, int(now) // DAY)
