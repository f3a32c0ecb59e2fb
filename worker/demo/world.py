"""The world of a demo as plain facts. Owns no rule about who gets a push."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

#: Of provider: iPhones, Android phones, browsers.
KindName = Literal["apns", "fcm", "web"]
#: What the push service has to say about a device.
#: `live`: takes everything. `busy`: refuses once with a 429, 500 or 503, then takes everything.
#: `gone`: 410, and FCM's 404, since a moment after its registration.
#: `returned`: once a 410 from before its registration, then takes everything; only APNs says since when.
#: `foreign`: it belongs to the other environment of APNs, or to another sender of FCM.
Nature = Literal["live", "busy", "gone", "returned", "foreign"]
LevelName = Literal["all", "mentions", "personal", "none"]
#: Natures that never accept a push.
DEAF: frozenset[Nature] = frozenset(("gone", "foreign"))

#: Members of one channel who get a push for one message at most, unless the app says otherwise.
MEMBER_CAP = 100
#: Seconds after which a message is too old for a push.
MAX_AGE = 3600
#: Members that are looked at individually once the cap is reached; of a larger channel the rest is only counted.
PAGE = 1000


_NO_SWITCHES: Mapping[str, bool] = {}


class Device(NamedTuple):
    #: A browser's is its endpoint.
    token: str
    user: str
    nature: Nature
    #: Milliseconds since the epoch.
    registered_at: int
    kind: KindName = "apns"
    #: `p256dh` and `auth` of a browser's subscription.
    keys: tuple[str, str] = ("", "")


class Room(NamedTuple):
    """A channel whose membership Carillon stores."""

    id: str
    name: str | None
    members: frozenset[str]
    push: bool = True
    #: How loud it is for members who have chosen nothing.
    level: LevelName | None = None

    @property
    def is_direct(self) -> bool:
        """Whether it is a conversation of two."""
        return len(self.members) == 2


class Choice(NamedTuple):
    """How loud something is for a user."""

    level: LevelName | None = None
    #: Word -> whether it is for them, whatever the level.
    switches: Mapping[str, bool] = _NO_SWITCHES


class Quiet(NamedTuple):
    """When a user wants no notification, every day: from one time of a clock in the zone to another."""

    zone: str
    begin: str
    end: str
    #: Whose messages come through.
    friends: tuple[str, ...] = ()
    #: Whether direct messages do.
    direct: bool = False


class Line(NamedTuple):
    """One message."""

    event: str
    id: str
    #: Of a `Room`, or of a channel that Carillon knows nothing about.
    room: str
    sender: str
    text: str
    mentioned: tuple[str, ...] = ()
    #: Id of the thread's root message.
    parent: str | None = None
    skip_push: bool = False
    #: The members, where the chat server keeps them itself.
    recipients: tuple[str, ...] | None = None
    #: Published only when it was too old.
    late: bool = False
    #: Published a second time under the same event id.
    repeated: bool = False
    #: Members of a group that it calls.
    group: tuple[str, ...] = ()
    #: Whether it calls those who are online, and everybody.
    here: bool = False
    everyone: bool = False
    urgent: bool = False
    #: Taken back: the chat server says so before it says the message itself.
    deleted: bool = False


class Edit(NamedTuple):
    """A message that names somebody more, long after it went out."""

    event: str
    line: Line
    named: str


class Sync(NamedTuple):
    """A silent push to all devices of some users, which shows nothing."""

    id: str
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class World:
    app: str
    #: User id -> name.
    people: dict[str, str]
    devices: list[Device]
    rooms: dict[str, Room]
    online: frozenset[str]
    #: (who, whom)
    mutes: frozenset[tuple[str, str]]
    lines: list[Line]
    syncs: list[Sync] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    #: Who has a person at a desktop; they are online as well.
    active: frozenset[str] = frozenset()
    #: (user, room) -> how loud the room is for them; room '' stands for everything.
    choices: dict[tuple[str, str], Choice] = field(default_factory=dict)
    quiet: dict[str, Quiet] = field(default_factory=dict)
    #: (user, room) where the user reads on another device whatever is said outside of threads.
    readers: frozenset[tuple[str, str]] = frozenset()
    #: User -> the room that they have open.
    viewing: dict[str, str] = field(default_factory=dict)
    #: When it begins, in milliseconds since the epoch.
    now_ms: int = 0
    #: The first lines, which come at a steady pace; the others come all at once.
    steady: int = 0
    member_cap: int = MEMBER_CAP
    _owned: dict[str, list[Device]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for device in self.devices:
            self._owned.setdefault(device.user, []).append(device)

    def devices_of(self, user: str) -> list[Device]:
        return self._owned.get(user, [])
