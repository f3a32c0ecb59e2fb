"""The world of a demo from a seed: the same arguments give the same world, to the last token."""

from collections.abc import Collection
from random import Random
from typing import Final

from worker.demo.population import Population, populate
from worker.demo.talk import Talk
from worker.demo.world import DEAF, MEMBER_CAP, Line, Nature, Phone, Room, World

#: Share of the phones that are reached early, by what is the matter with them.
_NATURES: Final[tuple[tuple[Nature, float], ...]] = (
    ("busy", 0.04),
    ("returned", 0.02),
    ("foreign", 0.04),
    ("gone", 0.15),
)


def generate(seed: int, *, app: str, users: int, channels: int, messages: int, steady: int, now_ms: int) -> World:
    """`steady` of the messages come first and at a pace; `now_ms` is in milliseconds since the epoch."""
    random = Random(seed)
    population = populate(random, users=users, channels=channels, now_ms=now_ms)
    rooms = population.rooms
    lines = Talk(random, app, population.people, rooms).lines(messages)
    steady = min(steady, messages)
    reached = _reached(lines[: 1 + steady // 3], rooms) - population.online
    return World(
        app=app,
        people=population.people,
        phones=_troubled(random, population, lines, reached),
        rooms=rooms,
        online=population.online,
        mutes=_mutes(random, rooms, lines),
        lines=lines,
        steady=steady,
    )


def _reached(lines: Collection[Line], rooms: dict[str, Room]) -> set[str]:
    """Members of the channels without a cap on pushes, in which something is said to all."""
    spoken = {line.room for line in lines if line.parent is None and not (line.late or line.skip_push)}
    heard = [rooms[room] for room in spoken & rooms.keys()]
    return {user for room in heard if room.push and len(room.members) <= MEMBER_CAP for user in room.members}


def _troubled(random: Random, population: Population, lines: list[Line], reached: set[str]) -> list[Phone]:
    """The phones, some of them with something the matter.

    Members of a channel larger than the cap keep a phone that works. Otherwise who gets a push there would depend on when
    a dead phone is retired: its owner's place under the cap goes to another member from then on.
    """
    crowded = {user for room in population.rooms.values() if len(room.members) > MEMBER_CAP for user in room.members}
    crowded |= {user for line in lines if len(line.recipients or ()) > MEMBER_CAP for user in line.recipients or ()}
    phones = list(population.phones)
    working: dict[str, int] = {}
    for phone in phones:
        working[phone.user] = working.get(phone.user, 0) + 1
    candidates = [at for at, phone in enumerate(phones) if phone.user in reached]
    random.shuffle(candidates)
    total = len(candidates)
    for nature, share in _NATURES:
        wanted = max(1, round(total * share))
        while wanted and candidates:
            at = candidates.pop()
            phone = phones[at]
            if nature in DEAF:
                if working[phone.user] == 1 and phone.user in crowded:
                    continue
                working[phone.user] -= 1
            phones[at] = phone._replace(nature=nature)
            wanted -= 1
    return phones


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
