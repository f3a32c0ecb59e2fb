"""Invents people, their devices and their channels. Everything comes from the generator that is handed in."""

import base64
from dataclasses import dataclass
from random import Random
from typing import Final
from unicodedata import normalize

from worker.demo.phrases import EVERYBODY, FIRST_NAMES, LAST_NAMES, ROOMS, SLOTS
from worker.demo.world import Device, KindName, LevelName, Room
from worker.simulator.web.subscriptions import Wish, make

#: Devices -> of a hundred people, who have so many.
_DEVICES: Final = {0: 12, 1: 60, 2: 22, 3: 6}
#: Of a hundred devices, and of a hundred browsers.
_KINDS: Final[dict[KindName, int]] = {"apns": 45, "fcm": 40, "web": 15}
_BROWSERS: Final = {"google": 55, "mozilla": 20, "microsoft": 15, "apple": 10}
#: Largest sizes first: shares of all people, at most 5,000 of them.
_HUGE: Final = (0.84, 0.42, 0.21, 0.11, 0.06)
_LARGEST: Final = 5000
_DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Population:
    people: dict[str, str]
    devices: list[Device]
    rooms: dict[str, Room]
    online: frozenset[str]
    active: frozenset[str]


def populate(random: Random, *, users: int, channels: int, now_ms: int, seed: int, web_key: str) -> Population:
    """At least 2 users and 1 channel. All devices are `live`; `now_ms` is in milliseconds since the epoch.

    Browsers have subscribed with `web_key` at a simulator with this seed.
    """
    people = _people(random, users)
    devices: list[Device] = []
    for user in people:
        (count,) = random.choices(list(_DEVICES), list(_DEVICES.values()))
        devices += [_device(random, user, now_ms, len(devices) + at, seed, web_key) for at in range(count)]
    ids = list(people)
    rooms = [_room(random, number, size, ids, people) for number, size in enumerate(_sizes(random, users, channels))]
    online = frozenset(random.sample(ids, users // 6))
    active = frozenset(user for user in sorted(online) if random.random() < 0.6)
    return Population(people, devices, {room.id: room for room in rooms}, online, active)


def _people(random: Random, users: int) -> dict[str, str]:
    first, last = FIRST_NAMES.split(), LAST_NAMES.split()
    people: dict[str, str] = {}
    while len(people) < users:
        name = f"{random.choice(first)} {random.choice(last)}"
        handle = normalize("NFKD", name.lower()).encode("ascii", "ignore").decode().replace(" ", ".")
        people[handle if handle not in people else f"{handle}.{len(people)}"] = name
    return people


def _device(random: Random, user: str, now_ms: int, number: int, seed: int, web_key: str) -> Device:
    (kind,) = random.choices(list(_KINDS), list(_KINDS.values()))
    registered_at = _some_time_ago(random, now_ms)
    if kind == "apns":
        return Device(random.randbytes(32).hex(), user, "live", registered_at, kind)
    if kind == "fcm":
        token = f"{_base64(random.randbytes(16))}:APA91b{_base64(random.randbytes(100))}"
        return Device(token, user, "live", registered_at, kind)
    (service,) = random.choices(list(_BROWSERS), list(_BROWSERS.values()))
    [subscription] = make(seed, Wish(service=service, first=number, key=web_key))
    keys = (subscription["keys"]["p256dh"], subscription["keys"]["auth"])
    return Device(subscription["endpoint"], user, "live", registered_at, kind, keys)


def _base64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _some_time_ago(random: Random, now_ms: int) -> int:
    return now_ms - random.randrange(_DAY_MS, 300 * _DAY_MS)


def _sizes(random: Random, users: int, channels: int) -> list[int]:
    huge = [min(_LARGEST, int(users * share)) for share in _HUGE[: max(1, channels // 20)]]
    sizes = [size for size in huge if size >= 2][:channels]
    while len(sizes) < channels:
        (low, high) = random.choices(((2, 2), (3, 12), (13, 60), (61, 300)), (40, 36, 16, 8))[0]
        sizes.append(min(users, random.randint(low, high)))
    return sizes


def _room(random: Random, number: int, size: int, ids: list[str], people: dict[str, str]) -> Room:
    members = random.sample(ids, size)
    push = random.random() >= 0.04
    if size == 2:
        return Room(f"dm:{number}", None, frozenset(members), push)
    if number < len(EVERYBODY) and size > 300:
        return Room(f"everybody:{number}", EVERYBODY[number], frozenset(members))
    level: LevelName | None = "mentions" if random.random() < 0.06 else None
    kind, names = next(row for row in zip(("group", "team", "community"), ROOMS, strict=True) if _fits(row[0], size))
    name = random.choice(names).format(city=random.choice(SLOTS["city"]))
    if kind == "group" and random.random() < 0.4:
        first = sorted(people[user].split()[0] for user in members)
        name = ", ".join(first[:3]) + (f" and {size - 3} more" if size > 3 else "")
    return Room(f"{kind}:{number}", name, frozenset(members), push, level)


def _fits(kind: str, size: int) -> bool:
    return size <= {"group": 12, "team": 60}.get(kind, size)
