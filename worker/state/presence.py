"""Who is online: a key with a life time for each user, refreshed by the chat server."""

from collections.abc import Collection
from typing import Any, Final

from redis.exceptions import ResponseError

from worker.state import keys
from worker.state.redis import Redis

#: The longest life time that a publisher gives, in seconds; a key without one gets it.
LONGEST: Final = 604_800
#: Bytes of a value. Values have no meaning.
_LARGEST: Final = 64


def online(redis: Redis, users: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """The (app, user) pairs whose presence key exists now."""
    asked = list(users)
    if not asked:
        return set()
    found = redis.mget([keys.ONLINE(app, user) for app, user in asked])
    return {key for key, value in zip(asked, found, strict=True) if value is not None}


def sweep(redis: Redis, count: int = 200) -> None:
    """Looks at about the next `count` keys of Redis: presence without an end gets one, and a large value becomes a small one.

    Whoever may write presence may forget both, and a user who stays online for ever gets no push any more.
    """
    cursor, found = redis.scan(
        int(redis.get(keys.PRESENCE_CURSOR()) or 0), match=keys.ONLINE.beginning + "*", count=count
    )
    with redis.pipeline(transaction=False) as pipe:
        pipe.set(keys.PRESENCE_CURSOR(), cursor)
        for key in found:
            pipe.ttl(key)
            pipe.strlen(key)
        _, *seen = pipe.execute(raise_on_error=False)
        for key, ttl, length in zip(found, seen[::2], seen[1::2], strict=True):
            _mend(pipe, key, ttl, length)
        pipe.execute()


def _mend(pipe: Any, key: Any, ttl: int, length: int | Exception) -> None:
    if isinstance(length, ResponseError):  # no text at all
        pipe.unlink(key)
        return
    if isinstance(length, int) and length > _LARGEST:
        pipe.set(key, 1, xx=True, keepttl=True)
    if ttl == -1:
        pipe.expire(key, LONGEST, nx=True)
