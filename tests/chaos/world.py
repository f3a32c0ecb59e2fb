"""The people of a chaos run: who is in which channel, whose phone has which token, and what is said next.

Everybody's phone works, nobody is online, nobody is muted: a message rings every member of its channel but its sender.
"""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, Literal, NamedTuple

from producers import events as ev

APP: Final = "chaos"
Kind = Literal["direct", "small", "middle", "large", "blast"]
#: Members of a channel of each kind, and how many such channels there are.
SIZES: Final[dict[Kind, tuple[int, int]]] = {"direct": (2, 150), "small": (5, 40), "middle": (40, 6), "large": (260, 2)}
#: How often each kind is chosen by the steady traffic.
WEIGHTS: Final[dict[Kind, int]] = {"direct": 60, "small": 25, "middle": 8, "large": 7}
PEOPLE: Final = 300
#: Members named by one event.
_AT_ONCE: Final = 5000


class Channel(NamedTuple):
    id: str
    kind: Kind
    members: Sequence[str]


class Said(NamedTuple):
    """A message: who must ring is every member but the sender."""

    event: ev.MessageNew
    channel: Channel

    @property
    def ringing(self) -> list[str]:
        return [user for user in self.channel.members if user != self.event.sender.id]


class World:
    """`blast` is the number of members of the one channel that is much larger than the others."""

    def __init__(self, random: Random, blast: int) -> None:
        self._random, self._said, self._lock = random, 0, threading.Lock()
        people = [f"u{n}" for n in range(PEOPLE)]
        self._channels: dict[Kind, list[Channel]] = {
            kind: [Channel(f"{kind}-{n}", kind, random.sample(people, size)) for n in range(count)]
            for kind, (size, count) in SIZES.items()
        }
        self._channels["blast"] = [Channel("blast-0", "blast", [f"b{n}" for n in range(blast)])] if blast else []
        self.users = people + [user for channel in self._channels["blast"] for user in channel.members]

    def setting_up(self) -> Iterator[ev.AnyEvent]:
        """What makes these people known: members of channels and their phones."""
        for channels in self._channels.values():
            for channel in channels:
                for at in range(0, len(channel.members), _AT_ONCE):
                    users = list(channel.members[at : at + _AT_ONCE])
                    yield ev.MemberAdded(**self._stamp(), channel=ev.ChannelId(id=channel.id), users=users)
        for user in self.users:
            yield ev.DeviceRegistered(**self._stamp(), user=user, device=ev.Device(token=token(user)))

    def say(self, kind: Kind | None = None) -> Said:
        """The next message, in a channel of this kind or of any. Any thread may ask."""
        with self._lock:
            kind = kind or self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            channel = self._random.choice(self._channels[kind])
            sender, envelope = self._random.choice(channel.members), self._stamp()
        message = ev.Message(id=f"m-{envelope['id']}", text="hello")
        event = ev.MessageNew(
            **envelope, channel=ev.Channel(id=channel.id), message=message, sender=ev.Sender(id=sender)
        )
        return Said(event, channel)

    def _stamp(self) -> dict[str, Any]:
        self._said += 1
        return {"id": f"e{self._said}", "app": APP, "at": datetime.now(UTC)}


def token(user: str) -> str:
    """The token of a user's only phone."""
    return hashlib.sha256(user.encode()).hexdigest()
