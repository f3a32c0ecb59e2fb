"""The world of a demo from a seed: the same arguments give the same world, to the last token."""

from collections.abc import Collection
from random import Random
from typing import Final

from worker.demo.attention import edits, wishes
from worker.demo.population import Population, populate
from worker.demo.services.web import keys_of
from worker.demo.talk import Talk
from worker.demo.world import DEAF, MEMBER_CAP, Device, KindName, Line, Nature, Room, Sync, World

#: Share of the devices that are reached early, by what is the matter with them.
_NATURES: Final[dict[KindName, dict[Nature, float]]] = {
    "apns": {"busy": 0.04, "returned": 0.02, "foreign": 0.04, "gone": 0.15},
    "fcm": {"busy": 0.02, "foreign": 0.03, "gone": 0.15},
    "web": {"busy": 0.04, "gone": 0.15},
}
#: Silent pushes, and to how many users each goes.
_SYNCS: Final = 10
_SYNCED: Final = 20


def generate(seed: int, *, app: str, users: int, channels: int, messages: int, steady: int, now_ms: int) -> World:
    """`steady` of the messages come first and at a pace; `now_ms` is in milliseconds since the epoch."""
    random = Random(seed)
    population = populate(
        random, users=users, channels=channels, now_ms=now_ms, seed=seed, web_key=keys_of(seed).public
    )
    rooms = population.rooms
    lines = Talk(random, app, population.people, rooms).lines(messages)
    steady = min(steady, messages)
    reached = _reached(lines[: 1 + steady // 3], rooms) - population.online
    at_once = _reached(lines[: 1 + steady // 12], rooms) & reached
    devices = _troubled(random, population, lines, reached, at_once)
    wanted = wishes(random, list(population.people), rooms, population.active, now_ms)
    return World(
        app=app,
        people=population.people,
        devices=devices,
        rooms=rooms,
        online=population.online,
        mutes=_mutes(random, rooms, lines),
        lines=lines,
        syncs=_syncs(random, population, devices),
        steady=steady,
        edits=edits(random, app, lines[:steady], rooms, wanted.choices),
        active=population.active,
        choices=wanted.choices,
        quiet=wanted.quiet,
        readers=wanted.readers,
        viewing=wanted.viewing,
        now_ms=now_ms,
    )


def _reached(lines: Collection[Line], rooms: dict[str, Room]) -> set[str]:
    """Members of the channels without a cap on pushes, in which something is said to all."""
    spoken = {line.room for line in lines if line.parent is None and not (line.late or line.skip_push)}
    heard = [rooms[room] for room in spoken & rooms.keys()]
    return {user for room in heard if room.push and len(room.members) <= MEMBER_CAP for user in room.members}


def _troubled(
    random: Random, population: Population, lines: list[Line], reached: set[str], at_once: set[str]
) -> list[Device]:
    """The devices, some of them with something the matter.

    FCM wants nothing tried again before 10 to 20 seconds, so a device of it that is `busy` is one that is reached at once.

    Members of a channel larger than the cap keep a device that works. Otherwise who gets a push there would depend on when
    a dead device is retired: its owner's place under the cap goes to another member from then on.
    """
    crowded = {user for room in population.rooms.values() if len(room.members) > MEMBER_CAP for user in room.members}
    crowded |= {user for line in lines if len(line.recipients or ()) > MEMBER_CAP for user in line.recipients or ()}
    devices = list(population.devices)
    working: dict[str, int] = {}
    for device in devices:
        working[device.user] = working.get(device.user, 0) + 1
    for kind, natures in _NATURES.items():
        candidates = [at for at, device in enumerate(devices) if device.kind == kind and device.user in reached]
        total = len(candidates)
        for nature, share in natures.items():
            random.shuffle(candidates)
            if (kind, nature) == ("fcm", "busy"):
                candidates.sort(key=lambda at: devices[at].user in at_once)
            wanted = max(1, round(total * share))
            while wanted and candidates:
                at = candidates.pop()
                device = devices[at]
                if nature in DEAF:
                    if working[device.user] == 1 and device.user in crowded:
                        continue
                    working[device.user] -= 1
                devices[at] = device._replace(nature=nature)
                wanted -= 1
    return devices


def _syncs(random: Random, population: Population, devices: list[Device]) -> list[Sync]:
    """To people whose devices work: how often a browser gets none would depend on when one is retired that does not."""
    deaf = {device.user for device in devices if device.nature in DEAF}
    users = [user for user in population.people if user not in deaf]
    return [Sync(f"sync-{number}", tuple(random.sample(users, min(_SYNCED, len(users))))) for number in range(_SYNCS)]


def _mutes(random: Random, rooms: dict[str, Room], lines: list[Line]) -> frozenset[tuple[str, str]]:
    """Some of those who would hear from somebody do not want to."""
    pairs = set()
    for line in random.sample(lines, len(lines) // 8):
        room = rooms.get(line.room)
        if room is not None:
            who = random.choice(sorted(room.members))
            if who != line.sender:
                pairs.add((who, line.sender))
    return frozenset(pairs)
