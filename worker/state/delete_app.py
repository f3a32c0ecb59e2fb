"""Deletes what Redis has of an app that is no more. What workers have of it at the time is left to them: `REMAINS`."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from worker.core.way import provider_in, way_in
from worker.state import app_of, keys
from worker.state.journal import Journal
from worker.state.keys import Family
from worker.state.partition import Partition

_COUNT: Final = 1_000
_PARTS: Final = re.compile(r"<([^>]*)>")

#: Seconds that it takes a leader to see that an app is gone.
SEEN: Final = 10.0

#: What names an app, or its providers, and is left, and until when.
REMAINS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            *(
                "EVENTS",
                "OPEN",
                "TRIES",
                "EXPANDING",
                "EXPANDING_CHANNELS",
                "EXPANDING_GROUPS",
                "SCHEDULED",
                "SECOND_LOOKS",
            ),
            *("SECOND_LOOKS_DUE", "BATCH", "DUE", "WAITS", "FOLLOWERS", "OUT_OF_TURN", "REPLY", "NUMBERED"),
        ),
        "until workers are done with it: they give up what is of no app",
    ),
    "HOMEWARD": "until it was carried to the app's home, by the next tick that reaches it",
    "ACCOUNTS": "until the ledger has it, a second",
    "ACTS": "until a worker has logged the act, a second",
    "CONDITIONS": "15 s",
    "OLD_CONDITIONS": "a day",
    "LOOK": "5 s",
    "DEFERRED_PROVIDERS": "until its devices are decided, seconds",
    "CERTIFICATES": "a day",
    "UNREADABLE": "40 s",
    "PROVIDER_TOKEN": "an hour",
    "PROVIDER_TOKEN_LEASE": "5 s",
}


def is_of(family: str, parts: tuple[str, ...], app: str, gone: Collection[int]) -> bool:
    """Whether a key of the family is the app's, by the parts of its name. `gone`: numbers of its providers."""
    kind, _, name = (app_of.of_key(family, parts) or "").partition(" ")
    match kind:
        case "app":
            return name == app
        case "way" if name.partition("@")[0].isdigit():
            return provider_in(way_in(name.encode())) in gone
    return False


def delete(partition: Partition, app: str, providers: Collection[int]) -> dict[str, int]:
    """How many keys and members there were, by the families that `keys.py` has. `providers`: numbers of the app's."""
    found: dict[str, int] = {}
    for family, n in _removed(partition, app, providers):
        found[family.pattern] = found.get(family.pattern, 0) + n
    return {pattern: n for pattern, n in found.items() if n}


def _removed(partition: Partition, app: str, providers: Collection[int]) -> Iterator[tuple[Family, int]]:
    redis = partition.redis
    for name, form in app_of.BEGINNINGS.items():
        family = keys.FAMILIES[name]
        bound = family.below(partition.prefix)
        for lane in ("urgent", "bulk", "looks") if "<" in family.pattern else ("",):
            key = bound(lane) if lane else bound()
            yield family, _drop(redis, family.type, key, form.replace("%", app))
    stream = partition.names.stream_for(app)
    for name in app_of.STREAM_NAMES:
        yield keys.FAMILIES[name], int(redis.hdel(keys.FAMILIES[name].below(partition.prefix)(), stream))
    families = sorted(keys.FAMILIES.items(), key=lambda of: -len(_PARTS.sub("", of[1].pattern)))
    families = [(name, one) for name, one in families if "<" in one.pattern and one.scope != "fleet"]
    scanned = [(redis, partition.prefix)]
    if partition.prefix != keys.PREFIX:
        scanned.append((partition.any_slot, keys.PREFIX))
    for client, prefix in scanned:
        bound_families = [
            (name, one, one if one.scope == "producers" else one.below(partition.prefix)) for name, one in families
        ]
        for key in client.scan_iter(match=f"{prefix}*", count=_COUNT):
            text = key.decode(errors="surrogateescape")
            for name, family, bound in bound_families:
                parts = bound.parts(text) if text.startswith(bound.beginning) else None
                if parts is not None and is_of(name, parts, app, providers):
                    yield family, int(client.unlink(key))
                    break


def _drop(redis: Any, kind: str, key: str, beginning: str) -> int:
    """Removes members or fields: that one, or all that begin so, where it ends with a line break."""
    if not beginning.endswith("\n"):
        match kind:
            case "set":
                return int(redis.srem(key, beginning))
            case "hash":
                return int(redis.hdel(key, beginning))
            case _:
                return int(redis.lrem(key, 0, beginning))
    each = redis.hscan_iter(key, count=_COUNT) if kind == "hash" else redis.zscan_iter(key, count=_COUNT)
    members = [member for member, _ in each if member.startswith(beginning.encode())]
    if members:
        (redis.hdel if kind == "hash" else redis.zrem)(key, *members)
    return len(members)


def is_known(partition: Partition, app: str) -> bool:
    """Whether the leader of the partition still moves the app's events."""
    return bool(partition.redis.sismember(partition.keys.APPS(), app))


def give_up(journal: Journal, partition: Partition, app: str) -> int:
    """Scheduled pushes and second looks, which would wait for their time; how many."""
    redis, of = partition.redis, partition.keys
    looks = [look for look, state in redis.hscan_iter(of.SECOND_LOOKS(), count=_COUNT) if _app(state) == app]
    entries = list(redis.sscan_iter(of.SCHEDULED(), count=_COUNT))
    states: Any = redis.hmget(of.EXPANDING(), entries) if entries else []
    scheduled = [
        entry for entry, state in zip(entries, states, strict=True) if state is not None and _app(state) == app
    ]
    for id in (*looks, *scheduled):
        journal.abandon(id.decode())
    if scheduled:
        redis.srem(of.SCHEDULED(), *scheduled)
    return len(looks) + len(scheduled)


def _app(state: bytes) -> str:
    return state.partition(b"\n")[0].decode()
