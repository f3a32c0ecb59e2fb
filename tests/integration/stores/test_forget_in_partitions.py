"""A user is forgotten, and an app deleted, in the partition of the app, whatever the keys begin with."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from producers.partitions import Layout, tags
from tests.integration.stores import test_delete_app as apps
from tests.integration.stores import test_forget_user as users
from worker.database import delete_app as rows
from worker.database.postgres import Pool
from worker.pipeline.forgetting import delete_app_data, forget_user
from worker.state import forget_user as of_user
from worker.state import keys
from worker.state.partition import Keyspace
from worker.state.redis import Redis


class Tagged:
    """A client that writes keys of a partition under its prefix, as workers of that layout do."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis, self._prefix = redis, prefix

    def _key(self, key: str) -> str:
        of = next((one for one in keys.FAMILIES.values() if one.parts(key) is not None), None)
        return key if of is None or of.scope != "partition" else self._prefix + key.removeprefix(keys.PREFIX)

    def execute_command(self, command: str, key: str, *more: Any) -> Any:
        return self._redis.execute_command(command, self._key(key), *more)

    def __getattr__(self, name: str) -> Any:
        return lambda key, *more, **others: getattr(self._redis, name)(self._key(key), *more, **others)


@pytest.fixture
def keyspace(redis: Redis) -> Keyspace:
    return Keyspace(redis, lambda _: Layout(2, tags(4)))


@pytest.fixture
def db(pool: Pool) -> Iterator[psycopg.Connection]:
    with pool.connection() as connection:
        yield connection


def names_with(redis: Any, text: str) -> set[str]:
    return {
        key.decode()
        for key in redis.scan_iter(count=1_000)
        if text.encode() in key or any(text.encode() in one for one in users.content(redis, key))
    }


def test_a_user_is_forgotten_in_a_partition(
    db: psycopg.Connection, pool: Pool, redis: Redis, keyspace: Keyspace
) -> None:
    db.execute("INSERT INTO carillon.apps (name, only_to) VALUES ('chat', '{}')")
    partition = keyspace.of_app("chat")
    assert "{" in partition.prefix
    users.plant(db, Tagged(redis, partition.prefix), users.USER, 1)  # type: ignore[arg-type]
    users.plant(db, Tagged(redis, partition.prefix), users.OTHER, 2)  # type: ignore[arg-type]
    other = names_with(redis, users.OTHER)
    found = forget_user(pool, keyspace, "chat", users.USER)
    left = {
        keys.PREFIX + name.removeprefix(partition.prefix).removeprefix(keys.PREFIX)
        for name in names_with(redis, users.USER)
    }
    assert all(any(of.parts(name) is not None for of in of_user.REMAINS) for name in left), left
    assert names_with(redis, users.OTHER) == other
    assert found.redis["read"] == 2 and found.redis["online"] == 1 and found.waiting == 2


def test_an_app_is_deleted_in_a_partition(db: psycopg.Connection, pool: Pool, redis: Redis, keyspace: Keyspace) -> None:
    partition = keyspace.of_app(apps.APP)
    apps.plant(db, Tagged(redis, partition.prefix), apps.APP, 4711)
    redis.hset(partition.keys.MOVED(), partition.names.stream_for(apps.APP), 1)
    assert len(names_with(redis, apps.APP)) > 40
    with db.transaction():
        rows.delete_settings(db, apps.APP)
    delete_app_data(pool, keyspace, apps.APP, [4711])
    # What was planted there is the name of a stream without a tag.
    assert redis.hgetall(partition.keys.MOVED()) == {f"carillon:events:{apps.APP}".encode(): b"1"}
    redis.delete(partition.keys.MOVED(), partition.keys.TRIMMED(), partition.keys.OPENED())
    assert names_with(redis, apps.APP) == names_with(redis, "4711") == set()


@pytest.mark.parametrize("away", [1, 2, 3])
def test_of_a_spread_app_it_is_forgotten_in_every_partition(
    db: psycopg.Connection, pool: Pool, redis: Redis, away: int
) -> None:
    keyspace = Keyspace(redis, lambda _: Layout(2, tags(4), spread=frozenset({"chat", apps.APP})))
    db.execute("INSERT INTO carillon.apps (name, only_to) VALUES ('chat', '{}')")
    partition = keyspace.all_of("chat")[away]
    users.plant(db, Tagged(redis, partition.prefix), users.USER, 1)  # type: ignore[arg-type]
    found = forget_user(pool, keyspace, "chat", users.USER)
    left = {
        keys.PREFIX + name.removeprefix(partition.prefix).removeprefix(keys.PREFIX)
        for name in names_with(redis, users.USER)
    }
    assert all(any(of.parts(name) is not None for of in of_user.REMAINS) for name in left), left
    assert found.redis["online"] == 1 and found.waiting == 2
    redis.flushall()
    partition = keyspace.all_of(apps.APP)[away]
    apps.plant(db, Tagged(redis, partition.prefix), apps.APP, 4711)
    with db.transaction():
        rows.delete_settings(db, apps.APP)
    delete_app_data(pool, keyspace, apps.APP, [4711])
    redis.delete(partition.keys.MOVED(), partition.keys.TRIMMED(), partition.keys.OPENED())
    assert names_with(redis, apps.APP) == names_with(redis, "4711") == set()
