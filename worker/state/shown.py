"""Which banners may be on a screen, and when the devices of a user were last woken for what was read elsewhere."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from worker.state.homes import Home, Homes
from worker.state.partition import Partition

#: Seconds in which a user's devices get one clearing: iOS wakes an app a few times an hour for them.
PAUSE: Final = 20


class Reading(NamedTuple):
    """A user has read a channel or thread."""

    app: str
    user: str
    #: As of `member`.
    shown: str
    #: The entry that says so.
    by: str
    #: ms since the epoch: the newest message that they saw.
    until: int
    #: How many messages are unread now; '' where nobody says.
    unread: str
    #: The user's devices, whose number it is.
    devices: Sequence[int]


class Turn(NamedTuple):
    """What is to be done about it."""

    #: Whether there is anything to take back, or a number to correct.
    needed: bool
    #: Seconds for which it has to wait; 0: it is now, and for the newest message of those that waited.
    wait: float
    until: int
    #: Devices that show another number.
    differing: frozenset[int]


def member(channel: str, thread: str, user: str) -> str:
    """How a banner is named: channel, line feed and user; of a thread channel, thread and user."""
    return f"{channel}\n{thread}\n{user}" if thread else f"{channel}\n{user}"


class Shown:
    """What is shown of a channel is in the channel's partition; of a spread app users have their turns at home."""

    def __init__(self, partition: Partition, homes: Homes | None = None) -> None:
        self._partition, self._homes = partition, homes or Homes(partition)

    def read(self, readings: Sequence[Reading]) -> list[Turn]:
        """Whose turn it is takes the number over and forgets the banner. One round trip; a second time tells the same."""
        homes = [self._homes.of(one.app) for one in readings]
        if not any(homes):
            return _asked(self._partition, readings, ["?"] * len(readings))
        return [
            (_asked(self._partition, [one], ["?"]) if home is None else self._read_at(home, one))[0]
            for one, home in zip(readings, homes, strict=True)
        ]

    def _read_at(self, home: Home, one: Reading) -> list[Turn]:
        """In three steps, each of which may be repeated: what is shown here, the turn at home, and what is shown no more."""
        redis, banners = self._partition.redis, self._partition.keys.SHOWN(one.app)
        shown = redis.zscore(banners, one.shown)
        known = ["" if shown is None else f"{shown:.0f}"]
        [turn] = home.briefly(lambda: _asked(home.partition, [one], known))
        if turn.needed and not turn.wait and shown is not None and shown <= turn.until:
            self._partition.scripts.unshow(app=one.app, shown=one.shown, till=turn.until)
        return [turn]


def _asked(partition: Partition, readings: Sequence[Reading], known: Sequence[str]) -> list[Turn]:
    if not readings:
        return []
    records = [(*one[:-1], ",".join(map(str, one.devices)), at) for one, at in zip(readings, known, strict=True)]
    answers = partition.scripts.read_elsewhere(pause=PAUSE, readings=records)
    return [
        Turn(needed == 1, float(wait), int(until), frozenset(map(int, differing)))
        for needed, wait, until, differing in answers
    ]
