"""`carillon app delete`: an app whose name stands everywhere is found nowhere afterwards, and another app is as it was.

What is planted is compared with the schema and with the list of keys, so that a table or key that comes later cannot be left out.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from config.settings import Settings
from tests.integration.pipeline.harness import Pipeline, message
from tests.integration.stores.test_forget_user import _TABLES, content
from worker.core.model import AppSettings
from worker.database import delete_app as rows
from worker.database.postgres import Pool
from worker.demo.stage import forget
from worker.embedded import Urls
from worker.pipeline.forgetting import delete_app_data, give_work_up, in_use
from worker.process.runtime import Runtime
from worker.state import app_of, keys
from worker.state import delete_app as members
from worker.state.partition import Keyspace
from worker.state.redis import Redis

APP, OTHER = "doomed-app", "other-app"
_PART: Final = re.compile(r"<([^>]*)>")
#: Values of columns that a row has to have, beside the app.
_VALUES: Final = {
    "text": "'x'", "bigint": "7", "integer": "7", "boolean": "true", "jsonb": "'{}'", "date": "current_date", "bytea": "'x'",
    "timestamp with time zone": "now()", "double precision": "1", "ARRAY": "'{}'", "smallint": "1",
}  # fmt: skip


#: Parts of a key's name by which the app is known.
_NAMED: Final = {"app", "channel", "group", "app, channel, thread, user", "limit", "way", "provider"}
#: Families of no app and no provider.
NO_APP: Final = {
    *(
        "INTAKE_TOKEN",
        "LEADER",
        "TAKEN_AT_ONCE",
        "WOKEN",
        "TURN",
        "ASKED",
        "WATCHED",
        "NONE",
        "DEFERRED_ASKED",
        "CONDITIONS_LOOKED",
        "WORKERS",
        "LAYOUT",
        "NEXT_LAYOUT",
        "HOMEWARD_LAST",
        "CARRIED",
    ),
    *("UNREADABLE_DEVICES", "BEAT", "BUSY", "CANARY", "PRUNED", "SAMPLED", "DEVICES_WALK", "PRESENCE_CURSOR", "OUTBOX"),
}


@pytest.fixture
def db(pool: Pool) -> Iterator[psycopg.Connection]:
    with pool.connection() as connection:
        yield connection


def plant(db: psycopg.Connection, redis: Any, app: str, provider: int) -> None:
    """A row in every table with an app, and a key or member of every family that may name an app or a provider of it."""
    db.execute("INSERT INTO carillon.apps (name) VALUES (%s)", (app,))
    db.execute(
        "INSERT INTO carillon.providers (id, app, name, environment, topic, team_id, key_id, credential, host, port)"
        " OVERRIDING SYSTEM VALUE VALUES (%s, %s, 'p', 'production', 't', 't', 'k', '', 'h', 1)",
        (provider, app),
    )
    db.execute(
        "INSERT INTO carillon.templates (provider_id, kind, locale, document) VALUES (%s, '', '', '{}')", (provider,)
    )
    for table in (*rows.OF_APP, "devices", "ledger", "audit"):
        columns = db.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'carillon' AND table_name = %s"
            " AND is_nullable = 'NO' AND is_identity = 'NO' AND column_default IS NULL AND column_name <> 'app'",
            (table,),
        ).fetchall()
        names = [sql.Identifier("app"), *(sql.Identifier(name) for name, _ in columns)]
        values = [sql.Literal(app), *(sql.SQL(_VALUES[of]) for _, of in columns)]
        if table == "dead_letters":
            values = [
                sql.Literal(f"{app}-1") if name == sql.Identifier("entry") else v
                for name, v in zip(names, values, strict=True)
            ]
        db.execute(
            sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier("carillon", table), sql.SQL(", ").join(names), sql.SQL(", ").join(values)
            )
        )
    db.execute(
        "INSERT INTO carillon.device_use (device, accepted) SELECT id, current_date FROM carillon.devices WHERE app = %s",
        (app,),
    )
    db.execute(
        "INSERT INTO carillon.device_history (device, what) SELECT id, 'x' FROM carillon.devices WHERE app = %s", (app,)
    )
    db.execute("INSERT INTO carillon.cursors (stream, cursor) VALUES (%s, '1-0')", (f"carillon:events:{app}",))
    db.execute("INSERT INTO carillon.outbox (event, moved_at) VALUES (%s, now())", (f'{{"app": "{app}"}}',))
    for name, family in keys.FAMILIES.items():
        if name not in members.REMAINS and "LAYOUT" not in name and (key := _key(family, app, provider)):
            _write(redis, family, key, _member(name, app, provider))


def _key(family: keys.Family, app: str, provider: int) -> str:
    values = {
        "app": app,
        "channel": f"00ff@{app}",
        "group": f"3@{app}",
        "way": f"{provider}@push.example",
        "provider": provider,
    }
    values |= {"app, channel, thread, user": f"{app}\nc\nu", "limit": f"app:{app}", "lane": "urgent"}
    parts = _PART.findall(family.pattern)
    if "app" in parts:
        values["channel"] = "c"
    return family(*(values.get(part, "x1") for part in parts))


def _member(name: str, app: str, provider: int) -> str:
    if name in app_of.STREAM_NAMES:
        return f"carillon:events:{app}"
    form = app_of.BEGINNINGS.get(name)
    return "x" if form is None else form.replace("%", app) + ("u" if form.endswith("\n") else "")


def _write(redis: Any, family: keys.Family, key: str, member: str) -> None:
    match family.type:
        case "string":
            redis.set(key, member)
        case "hash":
            redis.hset(key, member, "1")
        case "list":
            redis.rpush(key, member)
        case "set":
            redis.sadd(key, member)
        case "zset":
            redis.zadd(key, {member: 1})
        case "stream":
            redis.xadd(key, {"event": "x"})


def tables_with(db: psycopg.Connection, app: str) -> set[str]:
    found = set()
    for (name,) in db.execute(_TABLES).fetchall():
        statement = sql.SQL("SELECT count(*) FROM {} t WHERE strpos(t::text, {}) > 0")
        [(n,)] = db.execute(statement.format(sql.Identifier("carillon", name), sql.Literal(app))).fetchall()
        if n:
            found.add(name)
    return found


def keys_with(redis: Any, app: str, provider: int) -> set[str]:
    """Every key that has the app, or the number of its provider, in its name or its content."""
    needles = (app.encode(), str(provider).encode())
    return {
        key.decode()
        for key in redis.scan_iter(count=1_000)
        if any(needle in text for needle in needles for text in (key, *content(redis, key)))
    }


def test_every_table_and_every_key_is_known_to_name_apps_or_not(db: psycopg.Connection) -> None:
    there = {name for (name,) in db.execute(_TABLES).fetchall()}
    known = {*rows.OF_APP, *rows.OTHERS, *rows.REMAINS, *rows.NO_APP}
    assert there == known, "does the new table name apps? See worker/database/delete_app.py"
    assert len(known) == sum(map(len, (rows.OF_APP, rows.OTHERS, rows.REMAINS, rows.NO_APP)))
    with_app = db.execute(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'carillon' AND column_name = 'app'"
    ).fetchall()
    assert {name for (name,) in with_app if name in there} <= {*rows.OF_APP, *rows.OTHERS, *rows.REMAINS}


def test_every_family_of_keys_is_known_to_name_apps_or_not() -> None:
    by_name = {name for name, family in keys.FAMILIES.items() if _NAMED & set(_PART.findall(family.pattern))}
    known = {*by_name, *app_of.BEGINNINGS, *app_of.STREAM_NAMES, *members.REMAINS, *NO_APP}
    assert known == set(keys.FAMILIES), "does the new key name an app? See worker/state/app_of.py"
    assert not NO_APP & {*by_name, *app_of.BEGINNINGS, *app_of.STREAM_NAMES, *members.REMAINS}


def test_a_deleted_app_is_found_nowhere_and_another_one_is_as_before(
    db: psycopg.Connection, pool: Pool, redis: Redis
) -> None:
    plant(db, redis, APP, 4711)
    plant(db, redis, OTHER, 4712)
    assert tables_with(db, APP) >= {*rows.OF_APP, "devices", "ledger", "cursors", "outbox", "apps", "providers"}
    before = tables_with(db, OTHER), keys_with(redis, OTHER, 4712)
    assert len(before[1]) > 50
    with db.transaction():
        assert rows.delete_settings(db, APP) == [4711]
    keyspace = Keyspace(redis)
    found = delete_app_data(pool, keyspace, APP, [4711])
    assert tables_with(db, APP) == set(rows.REMAINS)
    assert keys_with(redis, APP, 4711) == set()
    assert (tables_with(db, OTHER), keys_with(redis, OTHER, 4712)) == before
    assert found.postgres == dict.fromkeys(
        (*rows.OF_APP, "devices", "device_use", "device_history", "ledger", "cursors", "outbox"), 1
    ) | {"tallies": 2}
    assert delete_app_data(pool, keyspace, APP, [4711]) == ({}, {})
    assert not rows.is_there(db, APP)


def test_a_call_that_ends_in_the_middle_is_gone_on_with(
    db: psycopg.Connection, pool: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(db, redis, APP, 4711)
    db.execute(
        "INSERT INTO carillon.members (app, channel, user_id, at, present)"
        " SELECT %s, 'c' || n, 'u', 1, true FROM generate_series(1, 30) n",
        (APP,),
    )
    monkeypatch.setattr(rows, "_BITE", 7)
    with db.transaction():
        providers = rows.delete_settings(db, APP)
    db.execute(
        "INSERT INTO carillon.audit (who, host, act, app, detail) VALUES ('mira', 'h', 'app deleted', %s, %s::jsonb)",
        (APP, f'{{"providers": {providers}}}'),
    )
    with closing(rows._steps(pool, APP, f"carillon:events:{APP}", len)) as steps:
        next(table for table, _ in steps if table == "members")
    assert rows.is_there(db, APP) and rows.providers_before(db, APP) == {4711}
    found = delete_app_data(pool, Keyspace(redis), APP, rows.providers_before(db, APP))
    assert found.postgres["members"] == 31 - 7
    assert tables_with(db, APP) == set(rows.REMAINS) and keys_with(redis, APP, 4711) == set()


def test_the_demo_leaves_nothing_in_engines_of_others(
    db: psycopg.Connection, redis: Redis, postgres_url: str, redis_url: str
) -> None:
    plant(db, redis, APP, 4711)
    plant(db, redis, OTHER, 4712)
    db.commit()
    before = tables_with(db, OTHER), keys_with(redis, OTHER, 4712)
    runtime = Runtime(Settings(), Urls(redis_url, postgres_url))
    try:
        forget(runtime, APP)
    finally:
        runtime.close()
    assert tables_with(db, APP) == set(rows.REMAINS)
    assert keys_with(redis, APP, 4711) == set()
    assert (tables_with(db, OTHER), keys_with(redis, OTHER, 4712)) == before


def test_an_app_that_takes_events_is_in_use_and_its_work_is_given_up(postgres_url: str, redis_url: str) -> None:
    pipeline = Pipeline(postgres_url, redis_url)
    try:
        pipeline.registry.save_app(AppSettings("idle"))
        pipeline.member("general", "leia", "han")
        assert in_use(pipeline.keyspace, pipeline.pool, "idle") is None
        pipeline.publish(message())
        pipeline.take()
        assert "wait" in str(in_use(pipeline.keyspace, pipeline.pool, "demo"))
        pipeline.expand()
        with pipeline.pool.connection() as db, db.transaction():
            gone = rows.delete_settings(db, "demo")
        pipeline.take()  # the leader sees it
        assert not give_work_up(pipeline.keyspace, pipeline.pool, "demo", 0.0), "a batch waits for a worker"
        pipeline.deliver()
        assert pipeline.apns.sent == []
        assert give_work_up(pipeline.keyspace, pipeline.pool, "demo", 0.0)
        while pipeline.ledger.flush(pipeline.journal):
            pass
        delete_app_data(pipeline.pool, pipeline.keyspace, "demo", gone)
        with pipeline.pool.connection() as db:
            assert tables_with(db, "demo") <= set(rows.REMAINS)
            assert in_use(pipeline.keyspace, pipeline.pool, "demo") is None
    finally:
        pipeline.close()
