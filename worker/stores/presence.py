"""Who is online: a key with a life time for each user, refreshed by the chat server. Reads only."""

from collections.abc import Collection

from worker.stores.redis import Redis


def online(redis: Redis, users: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of the (app, user) whose presence key is there now."""
    asked = list(users)
    if not asked:
        return set()
    found = redis.mget([f"carillon:online:{app}:{user}" for app, user in asked])
    return {key for key, value in zip(asked, found, strict=True) if value is not None}
