"""The people of a chaos run: who is in which channel, who has which device, and what is said next.

Everybody has one device that works, nobody is online, nobody is muted: a message notifies every member of its channel but its
sender, as the channel was at the message's place in the stream. Only in the channel of a list that nobody ever cleaned are most
devices dead, and in the attentive channels the members have wishes of their own (`ROLES`).
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

from producers import events as ev
from producers.fields import Day
from producers.partitions import Layout

APP: Final = "chaos"
HOUR: Final = timedelta(hours=1)
#: Seconds for which somebody is at a desktop: longer than any run.
PRESENT: Final = 604_800
Kind = Literal["direct", "small", "middle", "large", "attentive", "blast", "changing", "alike", "list"]
#: What a member of an attentive channel wants. `present`: is at a desktop, and decided again some seconds later. `reader`: as
#: well, and reads everything there. `muted`: wants nothing of the channel. `called`: wants to be called by name. `quiet`: it is
#: night.
Role = Literal["plain", "present", "reader", "muted", "called", "quiet"]
ROLES: Final[tuple[Role, ...]] = ("plain", "present", "present", "reader", "muted", "called", "quiet")
ATTENTIVE: Final = 210
#: Seconds after which who is present is decided again.
ONLINE_DELAY: Final = 15
#: Of ten messages there so many are deleted before they are written, as by another server.
_DELETED: Final = 1
#: What a device is: a phone of Apple's at APNs, an Android phone at FCM, a phone of Apple's at FCM, a browser.
Make = Literal["apns", "android", "apple", "web"]
#: Of twenty people so many have a device of each make.
MAKES: Final[dict[Make, int]] = {"apns": 12, "android": 5, "apple": 1, "web": 2}
#: The provider of each make, which has the name of its kind; and the platform that a registration names.
PROVIDERS: Final[dict[Make, str]] = {"apns": "apns", "android": "fcm", "apple": "fcm", "web": "web"}
_PLATFORMS: Final[dict[Make, str]] = {"apns": "ios", "android": "android", "apple": "ios", "web": "web"}
#: What the tokens of Apple's phones at FCM begin with here, by which its simulator tells them apart.
APPLE: Final = "ios-"
PUSH_SERVICES: Final = ("mozilla", "google", "microsoft", "apple")
#: The kind of provider of each way: what stands between a device and us.
KIND_OF_WAY: Final = {"apns": "apns", "android": "fcm", "apple": "fcm"} | {
    f"web-{name}": "web" for name in PUSH_SERVICES
}
#: Of the devices of the list, one in so many works.
WORKS: Final = 5
#: Members of a channel of each kind, and how many such channels there are.
SIZES: Final[dict[Kind, tuple[int, int]]] = {
    "direct": (2, 1_500),
    "small": (5, 40),
    "middle": (40, 6),
    "large": (260, 2),
    "attentive": (35, 8),
}
#: How often each kind is chosen by the steady traffic.
WEIGHTS: Final[dict[Kind, int]] = {"direct": 55, "small": 25, "middle": 7, "large": 6, "attentive": 7}
PEOPLE: Final = 3_000
#: Members named by one event.
_AT_ONCE: Final = 5000
#: Channels that somebody joins and leaves between two messages, and their steady members.
CHANGING: Final = 10
STEADY: Final = 4


class Device(NamedTuple):
    """The only device of a user. `service`: of a browser, which push service it is at."""

    make: Make
    registered: ev.Device
    service: str = ""

    @property
    def token(self) -> str:
        return self.registered.address

    @property
    def way(self) -> str:
        """Devices of one way share its faults."""
        return f"web-{self.service}" if self.service else self.make


#: Gives the subscription of the n-th browser, at this push service.
Subscribe = Callable[[str, int], ev.Subscription]


class Channel(NamedTuple):
    id: str
    kind: Kind
    members: Sequence[str]
    app: str = APP


class Said(NamedTuple):
    """An event, and for a message who is a member at its place: everybody of them but the sender is notified."""

    event: ev.MessageNew | ev.MessageDeleted | ev.MemberAdded | ev.MemberRemoved | ev.DeviceRegistered
    channel: Channel
    #: Whether it was deleted before it was written.
    deleted: bool = False

    @property
    def notified(self) -> list[str]:
        if not isinstance(self.event, ev.MessageNew) or self.deleted:
            return []
        others = [user for user in self.channel.members if user != self.event.sender.id]
        if self.channel.kind != "attentive":
            return others
        mentioned = self.event.message.mentioned
        return [user for user in others if wants(user, called=user in mentioned)]


def apps_of(layout: Layout) -> list[str]:
    """An app for each partition, in their order: `APP` itself, and names like it."""
    names = (APP if n == 0 else f"{APP}-{n}" for n in count())
    found: dict[int, str] = {}
    while len(found) < layout.partitions:
        name = next(names)
        found.setdefault(layout.partition_of(name), name)
    return [found[index] for index in range(layout.partitions)]


def role_of(user: str) -> Role:
    """Of somebody in attentive channels."""
    return ROLES[int(user[1:]) % len(ROLES)]


def wants(user: str, *, called: bool) -> bool:
    """Whether somebody in attentive channels is notified of a message there, in the end."""
    role = role_of(user)
    return role in ("plain", "present") or (role == "called" and called)


class World:
    """`blast` is the number of members of the one channel that is much larger than the others, `listed` that of the list.

    Everybody is of one of the `apps`, and so is each channel; the two largest channels are of the first.
    """

    def __init__(
        self, random: Random, blast: int, listed: int, subscribe: Subscribe, apps: Sequence[str] = (APP,)
    ) -> None:
        self._random, self._said, self._lock, self.apps = random, 0, threading.Lock(), list(apps)
        people, listed_people = [f"u{n}" for n in range(PEOPLE)], [f"l{n}" for n in range(listed)]
        self.attentive = [f"a{n}" for n in range(ATTENTIVE)]

        def channel(kind: Kind, n: int, size: int) -> Channel:
            app = self.apps[n % len(self.apps)]
            of_app = [user for user in (self.attentive if kind == "attentive" else people) if self.app_of(user) == app]
            return Channel(f"{kind}-{n}", kind, random.sample(of_app, min(size, len(of_app))), app)

        self._channels: dict[Kind, list[Channel]] = {
            kind: [channel(kind, n, size) for n in range(channels)] for kind, (size, channels) in SIZES.items()
        }
        self._channels["changing"] = [channel("changing", n, STEADY) for n in range(CHANGING)]
        first_app = self.apps[0]
        blasted = [f"b{n}" for n in range(blast)]
        self._channels["blast"] = [Channel("blast-0", "blast", blasted, first_app)] if blast else []
        self._channels["list"] = [Channel("list-0", "list", listed_people, first_app)]
        users = [*people, *self.attentive] + [user for channel in self._channels["blast"] for user in channel.members]
        makes = [make for make, share in MAKES.items() for _ in range(share)]
        #: By user.
        self.devices = {user: _device(user, n, random.choice(makes), subscribe) for n, user in enumerate(users)}
        # The list has few of Apple's.
        first, makes = len(users), ["android", "android", "android", "web", "apns"]
        self.devices |= {
            user: _device(user, first + n, makes[n % 5], subscribe) for n, user in enumerate(listed_people)
        }
        dead = [self.devices[user] for n, user in enumerate(listed_people) if n // 5 % WORKS]
        #: By kind, tokens of the list that are dead.
        self.dead = {
            kind: {one.token for one in dead if PROVIDERS[one.make] == kind} for kind in ("apns", "fcm", "web")
        }
        alike: dict[tuple[str, str], list[str]] = {}
        for user in people:
            alike.setdefault((self.devices[user].way, self.app_of(user)), []).append(user)
        self._channels["alike"] = [
            Channel(f"alike-{way}", "alike", members, app) for (way, app), members in sorted(alike.items())
        ]

    @property
    def users(self) -> list[str]:
        return list(self.devices)

    def app_of(self, user: str) -> str:
        """The app that they use."""
        there = {"u": PEOPLE, "a": ATTENTIVE}.get(user[0])
        return self.apps[0 if there is None else int(user[1:]) * len(self.apps) // there]

    def is_dead(self, token: str) -> bool:
        return any(token in dead for dead in self.dead.values())

    def setting_up(self) -> Iterator[ev.AnyEvent]:
        """What makes these people known: members of channels and their devices."""
        for channels in self._channels.values():
            for channel in channels:
                for at in range(0, len(channel.members), _AT_ONCE):
                    users = list(channel.members[at : at + _AT_ONCE])
                    yield ev.MemberAdded(**self._stamp(channel.app), channel=ev.ChannelId(id=channel.id), users=users)
        for channel in self._channels["attentive"]:
            yield from self._wishes_of(channel)
        yield from self.registered(self.users)

    def _wishes_of(self, channel: Channel) -> Iterator[ev.AnyEvent]:
        now = datetime.now(UTC)
        night = ev.Window(days=list(get_args(Day)), begin=f"{now - 3 * HOUR:%H:%M}", to=f"{now + 3 * HOUR:%H:%M}")
        for user in channel.members:
            match role_of(user):
                case "muted":
                    here = ev.ChannelId(id=channel.id)
                    yield ev.PreferencesUpdated(**self._stamp(channel.app), user=user, channel=here, level="none")
                case "called":
                    yield ev.PreferencesUpdated(**self._stamp(channel.app), user=user, level="mentions")
                case "quiet":
                    yield ev.QuietUpdated(**self._stamp(channel.app), user=user, zone="UTC", quiet=[night])

    def present(self) -> list[str]:
        """Those who are at a desktop."""
        return [user for user in self.attentive if role_of(user) in ("present", "reader")]

    def readers(self) -> Iterator[tuple[str, str]]:
        """Users, each with a channel that they read on another device."""
        for channel in self._channels["attentive"]:
            yield from ((user, channel.id) for user in channel.members if role_of(user) == "reader")

    def registered(self, users: Sequence[str]) -> Iterator[ev.DeviceRegistered]:
        """Their devices come, or come again."""
        for user in users:
            device = self.devices[user].registered
            yield ev.DeviceRegistered(**self._stamp(self.app_of(user)), user=user, device=device)

    def say_attentively(self) -> list[Said]:
        """A message to an attentive channel, which may call one of its members, or be deleted. In the order of publishing."""
        with self._lock:
            channel = self._random.choice(self._channels["attentive"])
            envelope, deletion = self._stamp(channel.app), self._stamp(channel.app)
            event = _message(envelope, channel, self._random.choice(channel.members))
            called = [user for user in channel.members if role_of(user) == "called"]
            mentioned = self._random.sample(called, self._random.randint(0, 1))
            deleted = self._random.randrange(10) < _DELETED
        message = msgspec.structs.replace(event.message, mentioned=mentioned)
        said = Said(msgspec.structs.replace(event, message=message), channel, deleted)
        if not deleted:
            return [said]
        which = ev.MessageId(id=message.id)
        return [Said(ev.MessageDeleted(**deletion, channel=ev.ChannelId(id=channel.id), message=which), channel), said]

    def say(self, kind: Kind | None = None) -> Said:
        """The next message, in a channel of this kind or of any. Any thread may ask."""
        with self._lock:
            kind = kind or self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
            return self._said_in(self._random.choice(self._channels[kind]))

    def say_to(self, way: str) -> list[Said]:
        """A message to everybody with a device of this way, in each app. Any thread may ask."""
        with self._lock:
            return [self._said_in(one) for one in self._channels["alike"] if one.id == f"alike-{way}"]

    def say_to_list(self, *, imported: bool) -> list[Said]:
        """A message to the list; `imported`: after its devices were registered, dead or not. In the order of publishing."""
        [channel] = self._channels["list"]
        come = self.registered(channel.members) if imported else ()
        return [*(Said(one, channel) for one in come), self.say("list")]

    def _said_in(self, channel: Channel) -> Said:
        return Said(_message(self._stamp(channel.app), channel, self._random.choice(channel.members)), channel)

    def change(self) -> list[Said]:
        """Somebody joins a channel and leaves it, with messages before, between and after. In the order of publishing."""
        with self._lock:
            channel = self._random.choice(self._channels["changing"])
            strangers = [
                user for user in self.users[:PEOPLE] if user not in channel.members and self.app_of(user) == channel.app
            ]
            visitor = self._random.choice(strangers)
            envelopes = [self._stamp(channel.app) for _ in range(5)]
        sender, with_visitor = channel.members[0], channel._replace(members=(*channel.members, visitor))
        named: dict[str, Any] = {"channel": ev.ChannelId(id=channel.id), "users": [visitor]}
        return [
            Said(_message(envelopes[0], channel, sender), channel),
            Said(ev.MemberAdded(**envelopes[1], **named), channel),
            Said(_message(envelopes[2], channel, sender), with_visitor),
            Said(ev.MemberRemoved(**envelopes[3], **named), channel),
            Said(_message(envelopes[4], channel, sender), channel),
        ]

    def _stamp(self, app: str) -> dict[str, Any]:
        self._said += 1
        return {"id": f"e{self._said}", "app": app, "at": datetime.now(UTC)}


def _message(envelope: dict[str, Any], channel: Channel, sender: str) -> ev.MessageNew:
    message = ev.Message(id=f"m-{envelope['id']}", text="hello")
    return ev.MessageNew(**envelope, channel=ev.Channel(id=channel.id), message=message, sender=ev.Sender(id=sender))


def _device(user: str, number: int, make: Make, subscribe: Subscribe) -> Device:
    """The same user has the same token in every run."""
    name, service = hashlib.sha256(user.encode()).hexdigest(), ""
    named: dict[str, Any] = {"platform": _PLATFORMS[make], "provider": PROVIDERS[make]}
    if make == "web":
        service = PUSH_SERVICES[number % len(PUSH_SERVICES)]
        return Device(make, ev.Device(**named, subscription=subscribe(service, number)), service)
    if make != "apns":
        name = f"{APPLE if make == 'apple' else 'android-'}{name[:22]}:APA91b{name * 2}"
    return Device(make, ev.Device(**named, token=name))
