"""Deletes what Redis has of one user. What is on its way is left: `REMAINS` says for how long."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from worker.core.forgetting import names
from worker.core.reminder import parts_of
from worker.state import keys
from worker.state.keys import Family
from worker.state.partition import Partition
from worker.state.redis import Redis

#: Keys that one call of SCAN looks at, and members of one key.
_COUNT: Final = 1_000
#: Entries of a stream that are looked at.
_ENTRIES: Final = 100_000

#: Keys of a user alone: app and user are the parts of their name.
OF_USER: Final = (keys.ONLINE, keys.ACTIVE, keys.VIEWING, keys.CLEARING, keys.ACTIVITY_STARTS, keys.DIGEST)
#: Sorted sets for all apps, with `app, line break, user`.
NAMED: Final = (keys.DIGESTS, keys.SILENT_BADGES)
#: Keys of an app that have users among their members or fields: how these may be named, `%` standing for the user.
AMONG: Final[Mapping[Family, Sequence[str]]] = {
    keys.READ: ("%",),
    keys.ACTIVITY: ("%",),
    keys.BURST: ("%", "\t%"),
    keys.SOUNDS: ("%", "\t%"),
    keys.PUSHES_OF_DAY: ("%",),
    keys.FOLDS: ("%",),
    keys.CALL: ("ended:%",),
}
#: Handled one by one below.
OTHERS: Final = (keys.SHOWN, keys.RECENT, keys.REMINDERS, keys.REMINDER, keys.REMINDERS_SENT, keys.BADGE, keys.CLEARED)
#: What names users and is left, and until when.
REMAINS: Final[Mapping[Family, str]] = {
    keys.EVENTS: "until the event is delivered, or too old",
    keys.APP_EVENTS: "until the event is delivered, or too old",
    keys.BATCH: "until the batch is done",
    keys.SECOND_LOOKS: "until these users are decided",
    keys.HOMEWARD: "until it was carried to the app's home, by the next tick that reaches it",
    keys.ACCOUNTS: "until the ledger has it, a second",
    keys.REPLY: "a minute",
    keys.CALL: "ten minutes: the event that began the call",
    keys.ACTS: "until a worker has logged the act, a second",
}


def forget(partition: Partition, app: str, user: str, *, dry: bool = False, producers: bool = True) -> dict[str, int]:
    """How many keys, members and fields there were, by the families that `keys.py` has. A dry run only counts them.

    `producers`: the keys of producers as well, which are of no partition.
    """
    found: dict[str, int] = {}
    for family, calls in _calls(partition, app, user):
        if family.scope == "producers" and not producers:
            continue
        redis = partition.any_slot if family.scope == "producers" else partition.redis
        # A key may be of another type: a producer wrote it.
        with redis.pipeline(transaction=False) as pipe:
            for command, key, *members in calls:
                (_ask if dry else _remove)(pipe, command, key, members)
            answers = pipe.execute(raise_on_error=False)
        n = sum(_number(answer) for answer in answers)
        if n:
            name = family.pattern.partition(":<")[0]
            found[name] = found.get(name, 0) + n
    return found


def forget_badges(partition: Partition, app: str, devices: Sequence[int]) -> None:
    """The numbers of devices that are deleted."""
    with partition.redis.pipeline(transaction=False) as pipe:
        for key in (partition.keys.BADGE(app), partition.keys.CLEARED(app)):
            pipe.hdel(key, *map(str, devices))
        pipe.execute()


def on_streams(partition: Partition, app: str, user: str) -> int:
    """How many of the entries on the app's streams name the user; of the first 100,000 of each."""
    found = 0
    for stream in partition.names.streams([app]):
        first, left = "-", _ENTRIES
        while left > 0:
            some: Any = partition.redis.xrange(stream, min=first, count=min(_COUNT, left))
            found += sum(_names(fields, app, user) for _, fields in some)
            left -= _COUNT
            if len(some) < _COUNT:
                break
            first = f"({some[-1][0].decode()}"
    return found


def _names(fields: Mapping[bytes, bytes], app: str, user: str) -> bool:
    document = b"".join(fields.values())
    return f'"{app}"'.encode() in document and names(document, user)


_Call = tuple[Any, ...]


def _calls(partition: Partition, app: str, user: str) -> Iterator[tuple[Family, list[_Call]]]:
    """What is to be removed: a command, a key, and members of it."""
    of = partition.keys
    for family in OF_USER:
        yield family, [("UNLINK", _in(partition, family)(app, user))]
    for family in NAMED:
        yield family, [("ZREM", _in(partition, family)(), f"{app}\n{user}")]
    yield from _reminders(partition, app, user)
    yield keys.SHOWN, [("ZREM", of.SHOWN(app), *some) for some in _members(partition.redis, of.SHOWN(app), user)]
    among = [(_in(partition, family), family) for family in (*AMONG, keys.RECENT)]
    tagged = partition.prefix != keys.PREFIX
    for redis, pattern in [
        (partition.redis, f"{partition.prefix}*"),
        *([(partition.any_slot, f"{keys.READ.beginning}{_literal(app)}:*")] if tagged else ()),
    ]:
        for key in redis.scan_iter(match=pattern, count=_COUNT):
            found = next((one for bound, one in among if key.startswith(f"{bound.beginning}{app}:".encode())), None)
            if found is keys.RECENT:
                yield found, _recent(redis, key, user)
            elif found is not None:
                members = [form.replace("%", user) for form in AMONG[found]]
                yield found, [("ZREM" if found.type == "zset" else "HDEL", key, *members)]


def _in(partition: Partition, family: Family) -> Family:
    """The family's keys there."""
    return family.below(partition.prefix) if family.scope == "partition" else family


def _reminders(partition: Partition, app: str, user: str) -> Iterator[tuple[Family, list[_Call]]]:
    of = partition.keys
    for member, _ in partition.redis.zscan_iter(of.REMINDERS(), count=_COUNT):
        name = member.decode()
        of_app, *_, of_user = parts_of(name)
        if (of_app, of_user) == (app, user):
            yield keys.REMINDERS, [("ZREM", of.REMINDERS(), name)]
            yield keys.REMINDER, [("UNLINK", of.REMINDER(name))]
            yield keys.REMINDERS_SENT, [("HDEL", of.REMINDERS_SENT(), name)]


def _literal(text: str) -> str:
    """The text as a pattern of SCAN that matches nothing else."""
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in text)


def _members(redis: Redis, key: str, user: str) -> Iterator[list[bytes]]:
    end = b"\n" + user.encode()
    for member, _ in redis.zscan_iter(key, count=_COUNT):
        if member.endswith(end):
            yield [member]


def _recent(redis: Redis, key: Any, user: str) -> list[_Call]:
    return [("HDEL", key, field) for field, document in redis.hscan_iter(key, count=_COUNT) if names(document, user)]


def _remove(pipe: Any, command: str, key: Any, members: Sequence[Any]) -> None:
    pipe.execute_command(command, key, *members)


def _ask(pipe: Any, command: str, key: Any, members: Sequence[Any]) -> None:
    match command:
        case "UNLINK":
            pipe.exists(key)
        case "ZREM":
            pipe.zmscore(key, list(members))
        case _:
            pipe.hmget(key, *members)


def _number(answer: Any) -> int:
    if isinstance(answer, Exception):
        return 0
    return sum(one is not None for one in answer) if isinstance(answer, list) else int(answer)
