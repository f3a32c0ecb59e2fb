"""Invents what people want to be notified of, and when. Everything comes from the generator that is handed in."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from worker.demo.world import Choice, Edit, LevelName, Line, Quiet, Room

#: Of a hundred people, who have chosen how loud everything is; of a hundred memberships, who have for a channel.
_CHOOSY: Final = 12
_CHOOSY_MEMBERS: Final = 3
_LEVELS: Final[dict[LevelName, int]] = {"mentions": 50, "personal": 25, "none": 15, "all": 10}
_SWITCHES: Final = ("here", "everyone", "group", "message", "mention")
#: Of a hundred people, who have quiet time, and of these, for whom it is quiet now.
_RESTFUL: Final = 12
_QUIET_NOW: Final = 50
#: Hours between now and the next begin or end of a quiet time: a demo is over long before.
_MARGIN: Final = 3
_ZONES: Final = (
    *(
        "America/Los_Angeles",
        "America/New_York",
        "America/Sao_Paulo",
        "Europe/Lisbon",
        "Europe/Berlin",
        "Africa/Nairobi",
    ),
    *("Asia/Kolkata", "Asia/Kathmandu", "Asia/Tokyo", "Australia/Lord_Howe", "Pacific/Auckland"),
)
#: Of a hundred memberships of small channels, whose user has it open on another device.
_READERS: Final = 6


#: Of the lines that leave such a member out, how many are edited.
_EDITED: Final = 0.1


class Wishes(NamedTuple):
    choices: dict[tuple[str, str], Choice]
    quiet: dict[str, Quiet]
    readers: frozenset[tuple[str, str]]
    viewing: dict[str, str]


def wishes(random: Random, users: list[str], rooms: dict[str, Room], active: frozenset[str], now_ms: int) -> Wishes:
    """What the users of these rooms want. `active`: those who are at a desktop."""
    small = [room for room in rooms.values() if len(room.members) <= 60]
    memberships = [(user, room.id) for room in small for user in sorted(room.members)]
    choices = {(user, ""): _choice(random) for user in users if random.random() * 100 < _CHOOSY}
    choices |= {one: _choice(random) for one in memberships if random.random() * 100 < _CHOOSY_MEMBERS}
    quiet = {user: _quiet(random, users, now_ms) for user in users if random.random() * 100 < _RESTFUL}
    readers = frozenset(one for one in memberships if random.random() * 100 < _READERS)
    seen = [(user, room) for user, room in memberships if user in active]
    viewing = dict(random.sample(seen, len(seen) // 4))
    return Wishes(choices, quiet, readers, viewing)


def edits(
    random: Random, app: str, lines: list[Line], rooms: dict[str, Room], choices: dict[tuple[str, str], Choice]
) -> list[Edit]:
    """Of some of the lines one each, which names a member who wants only to be called, and was not."""
    found: list[Edit] = []
    for line in lines:
        room = rooms.get(line.room)
        if (
            room is None
            or line.parent
            or line.group
            or line.here
            or line.everyone
            or line.deleted
            or line.late
            or line.skip_push
        ):
            continue
        choosy = sorted(
            user for user in room.members - {line.sender, *line.mentioned} if _wants_calls(user, room, choices)
        )
        if choosy and random.random() < _EDITED:
            found.append(Edit(f"{app}-edit-{len(found):03}", line, random.choice(choosy)))
    return found


def _wants_calls(user: str, room: Room, choices: dict[tuple[str, str], Choice]) -> bool:
    here = choices.get((user, room.id))
    return not room.is_direct and here is None and choices.get((user, "")) in (Choice("mentions"), Choice("personal"))


def _choice(random: Random) -> Choice:
    (level,) = random.choices([*_LEVELS, None], [*_LEVELS.values(), 30])
    switches = {random.choice(_SWITCHES): random.random() < 0.5} if level is None or random.random() < 0.3 else {}
    return Choice(level, switches)


def _quiet(random: Random, users: list[str], now_ms: int) -> Quiet:
    zone = random.choice(_ZONES)
    local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    begin = -_MARGIN if random.random() * 100 < _QUIET_NOW else _MARGIN
    since, until = (f"{local + timedelta(hours=hours):%H:%M}" for hours in (begin, begin + 2 * _MARGIN))
    friends = tuple(random.sample(users, min(3, len(users)))) if random.random() < 0.4 else ()
    return Quiet(zone, since, until, friends, random.random() < 0.3)
