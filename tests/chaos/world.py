"""The people of a chaos run: who is in which channel, whose phone has which token, and what is said next.

Everybody's phone works, nobody is online, nobody is muted: a message notifies every member of its channel but its sender, as the
channel was at the message's place in the stream.
"""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, Literal, NamedTuple

from producers import events as ev

APP: Final = "chaos"
Kind = Literal["direct", "small", "middle", "large", "blast", "changing"]
#: Members of a channel of each kind, and how many such channels there are.
SIZES: Final[dict[Kind, tuple[int, int]]] = {
    "direct": (2, 1_500),
    "small": (5, 40),
    "middle": (40, 6),
    "large": (260, 2),
}
#: How often each kind is chosen by the steady traffic.
WEIGHTS: Final[dict[Kind, int]] = {"direct": 60, "small": 25, "middle": 8, "large": 7}
PEOPLE: Final = 3_000
#: Members named by one event.
_AT_ONCE: Final = 5000
#: Channels that somebody joins and leaves between two messages, and their steady members.
CHANGING: Final = 10
STEADY: Final = 4


class Channel(NamedTuple):
    id: str
    kind: Kind
    members: Sequence[str]


class Said(NamedTuple):
    """An event, and for a message who is a member at its place: everybody of them but the sender is notified."""

    event: ev.MessageNew | ev.MemberAdded | ev.MemberRemoved
    channel: Channel

    @property
    def notified(self) -> list[str]:
        if not isinstance(self.event, ev.MessageNew):
            return []
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
        self._channels["changing"] = [
            Channel(f"changing-{n}", "changing", random.sample(people, STEADY)) for n in range(CHANGING)
        ]
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
        return Said(_message(envelope, channel, sender), channel)

    def change(self) -> list[Said]:
        """Somebody joins a channel and leaves it, with messages before, between and after. In the order of publishing."""
        with self._lock:
            channel = self._random.choice(self._channels["changing"])
            visitor = self._random.choice([user for user in self.users[:PEOPLE] if user not in channel.members])
            envelopes = [self._stamp() for _ in range(5)]
        sender, with_visitor = channel.members[0], channel._replace(members=(*channel.members, visitor))
        named: dict[str, Any] = {"channel": ev.ChannelId(id=channel.id), "users": [visitor]}
        return [
            Said(_message(envelopes[0], channel, sender), channel),
            Said(ev.MemberAdded(**envelopes[1], **named), channel),
            Said(_message(envelopes[2], channel, sender), with_visitor),
            Said(ev.MemberRemoved(**envelopes[3], **named), channel),
            Said(_message(envelopes[4], channel, sender), channel),
        ]

    def _stamp(self) -> dict[str, Any]:
        self._said += 1
        return {"id": f"e{self._said}", "app": APP, "at": datetime.now(UTC)}


def _message(envelope: dict[str, Any], channel: Channel, sender: str) -> ev.MessageNew:
    message = ev.Message(id=f"m-{envelope['id']}", text="hello")
    return ev.MessageNew(**envelope, channel=ev.Channel(id=channel.id), message=message, sender=ev.Sender(id=sender))


def token(user: str) -> str:
    """The token of a user's only phone."""
    return hashlib.sha256(user.encode()).hexdigest()
