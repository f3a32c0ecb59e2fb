"""Which banners may be on a screen, and when the devices of a user were last woken for what was read elsewhere."""

from collections.abc import Sequence
from typing import Final, NamedTuple

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
    def __init__(self, partition: Partition) -> None:
        self._scripts = partition.scripts

    def read(self, readings: Sequence[Reading]) -> list[Turn]:
        """Whose turn it is takes the number over and forgets the banner. One round trip; a second time tells the same."""
        if not readings:
            return []
        answers = self._scripts.read_elsewhere(
            pause=PAUSE, readings=[(*one[:-1], ",".join(map(str, one.devices))) for one in readings]
        )
        return [
            Turn(needed == 1, float(wait), int(until), frozenset(map(int, differing)))
            for needed, wait, until, differing in answers
        ]
