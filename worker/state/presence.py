"""What the chat server writes about where its users are, and its bounds: keys with a life time, refreshed by the chat server.

No script reads or writes these keys.
"""

import logging
import threading
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple, cast

from redis.exceptions import ConnectionError as Unconnected
from redis.exceptions import ResponseError

from config.seldom import Seldom
from worker.core.digest import conversation
from worker.state import keys, servers
from worker.state.partition import Keyspace
from worker.state.parts import Parts
from worker.state.redis import Away, Redis

log = logging.getLogger(__name__)
seldom = Seldom(log)

#: The longest life time that a publisher gives, in seconds; a key without one gets it.
LONGEST: Final = 604_800
#: Seconds for which a read marker counts after the last write to its channel, where the chat server does not say.
MARKED: Final = 90_000
#: The reads of a process, each of which goes on alone where a node does not answer within so many seconds.
_PARTS: Final = Parts(1.0, passing=Away)
#: Bytes of a value: values have no meaning, but that of `viewing` is a channel, or a channel and a thread.
_LARGEST: Final = {keys.ONLINE: 64, keys.ACTIVE: 64, keys.VIEWING: 2048}


class Markers(NamedTuple):
    """How far each of some users has read a channel or thread."""

    #: The key of it, as `marker` gives it.
    key: str
    users: Sequence[str]


@lru_cache(maxsize=8192)
def marker(app: str, channel: str, thread: str | None = None) -> str:
    """The key of who has read a channel, or one of its threads."""
    return keys.READ(app, conversation(channel, thread or ""))


def read(
    redis: Redis, present: Collection[str], marked: Sequence[Markers]
) -> tuple[Mapping[str, bytes], list[Mapping[str, int]]]:
    """The values of those of the keys that exist, and for each of `marked` user -> milliseconds of the newest message read.

    One round trip where nobody has marked anything as read. In a cluster, what a node has that does not answer soon is not known:
    the users there count as if nothing were written of them, so that nobody else waits for it.
    """
    if not servers.spread(redis):
        return _read(redis, present, marked)
    pool, thread = id(cast("Any", redis.connection_pool).pool), threading.get_ident()
    outcome = _PARTS.call(("presence", pool, thread), lambda: _read(redis, present, marked))
    if outcome is not None:
        if outcome.fault is not None and not isinstance(outcome.fault, Away):
            raise outcome.fault
        if outcome.fault is None:
            found: tuple[Mapping[str, bytes], list[Mapping[str, int]]] = outcome.value
            return found
    return _of_those_that_answer(redis, present, marked, (pool, thread))


def _of_those_that_answer(
    redis: Redis, present: Collection[str], marked: Sequence[Markers], names: Hashable
) -> tuple[Mapping[str, bytes], list[Mapping[str, int]]]:
    by_key = {one.key: n for n, one in enumerate(marked)}
    works: dict[Hashable, Callable[[], Any]] = {}
    of: dict[Hashable, list[Markers]] = {}
    for at, some in servers.by_server(redis, {*present, *by_key}).items():
        theirs = [name for name in some if name in present]
        of[at, names] = [one for one in marked if one.key in some]
        works[at, names] = partial(_read, redis, theirs, of[at, names])
    values: dict[str, bytes] = {}
    read_by_key: dict[str, Mapping[str, int]] = {}
    silent = 0
    for name, outcome in _PARTS.calls(works).items():
        if outcome is None or isinstance(outcome.fault, Away):
            silent += 1
        elif outcome.fault is not None:
            raise outcome.fault
        else:
            values |= outcome.value[0]
            read_by_key |= {one.key: marks for one, marks in zip(of[name], outcome.value[1], strict=True)}
    if silent == len(works):
        raise Unconnected("no node answers of those that have the users' presence")
    seldom.warning("a node with users' presence does not answer, they count as absent", extra={"nodes": silent})
    return values, [read_by_key.get(one.key, {}) for one in marked]


def _read(
    redis: Redis, present: Collection[str], marked: Sequence[Markers]
) -> tuple[Mapping[str, bytes], list[Mapping[str, int]]]:
    if not present and not marked:
        return {}, []
    asked = list(present)
    with redis.pipeline(transaction=False) as pipe:
        if asked:
            pipe.mget(asked)
        if marked:
            pipe.exists(*{one.key for one in marked})
        answers = pipe.execute()
    values = answers[0] if asked else ()
    found = {key: value for key, value in zip(asked, values, strict=True) if value is not None}
    return found, read_by(redis, marked) if marked and answers[-1] else [{} for _ in marked]


def marked(redis: Redis, asked: Sequence[Markers]) -> list[Mapping[str, int]]:
    """As `read` without any presence."""
    return read(redis, (), asked)[1]


def marked_in(
    redis: Redis, names: Collection[str], asked: Callable[[], Sequence[Markers]]
) -> dict[str, Mapping[str, int]]:
    """The same by key, of those in which any of the users has read something.

    `asked` says whose markers are wanted, in some of the keys of these `names`. It is asked only where one of them exists.
    """
    if not servers.spread(redis) and not (names and redis.exists(*names)):
        return {}
    wanted = asked()
    found = marked(redis, wanted) if servers.spread(redis) else read_by(redis, wanted)
    return {one.key: of_users for one, of_users in zip(wanted, found, strict=True) if of_users}


def read_by(redis: Redis, marked: Sequence[Markers]) -> list[Mapping[str, int]]:
    """For each of these: user -> milliseconds of the newest message that they have read. Who has read nothing is missing."""
    with redis.pipeline(transaction=False) as pipe:
        for one in marked:
            pipe.zmscore(one.key, list(one.users))
        answers = pipe.execute(raise_on_error=False)
    return [
        {}  # the key is no sorted set
        if isinstance(scores, Exception)
        else {user: int(score) for user, score in zip(one.users, scores, strict=True) if score is not None}
        for one, scores in zip(marked, answers, strict=True)
    ]


def sweep(keyspace: Keyspace, count: int = 200) -> None:
    """Looks at about the next `count` keys of Redis: what has no end gets one, and what is too large or of another type goes.

    Whoever may write presence may forget both, and a user who stays online for ever gets no push any more.
    """
    redis, fleet = keyspace.redis, keyspace.fleet
    cursor_key = fleet.keys.PRESENCE_CURSOR()
    cursor, found = redis.scan(int(fleet.redis.get(cursor_key) or 0), match=f"{keys.PREFIX}[oavr]*", count=count)
    texts = [(key, most) for key in found for family, most in _LARGEST.items() if _is_of(family, key)]
    marked = [key for key in found if _is_of(keys.READ, key)]
    with redis.pipeline(transaction=False) as pipe:
        for key, _ in texts:
            pipe.ttl(key)
            pipe.strlen(key)
        for key in marked:
            pipe.ttl(key)
            pipe.zcard(key)
        seen = pipe.execute(raise_on_error=False)
        sizes = list(zip(seen[::2], seen[1::2], strict=True))
        for (key, most), (ttl, length) in zip(texts, sizes, strict=False):
            if isinstance(length, int) and length > most:
                pipe.set(key, 1, xx=True, keepttl=True)
            _mend(pipe, key, ttl, length, LONGEST)
        for key, (ttl, size) in zip(marked, sizes[len(texts) :], strict=True):
            _mend(pipe, key, ttl, size, MARKED)
        pipe.execute()
    fleet.redis.set(cursor_key, cursor)


def _is_of(family: keys.Family, key: Any) -> bool:
    return bool(key.startswith(family.beginning.encode()))


def _mend(pipe: Any, key: Any, ttl: int, size: int | Exception, longest: int) -> None:
    if isinstance(size, ResponseError):  # of another type
        pipe.unlink(key)
    elif ttl == -1:
        pipe.expire(key, longest, nx=True)
