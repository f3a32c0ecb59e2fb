"""`carillon user forget`: a user whose id stands everywhere is found nowhere afterwards, and everybody else is as they were.

What is planted is compared with the schema and with the list of keys, so that a table or key that comes later cannot be left out.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from worker.core.forgetting import FORGOTTEN, is_of, names, without
from worker.database import forget_user as rows
from worker.database.postgres import Pool
from worker.pipeline.forgetting import forget_user
from worker.state import forget_user as members
from worker.state import keys
from worker.state.partition import Keyspace
from worker.state.redis import Redis

APP, USER, OTHER = "chat", "han-4711", "leia-4712"
NOW: Final = 1_800_000_000


def document(user: str, *, app: str = APP) -> str:
    event = {"v": 1, "type": "message.new", "id": f"e-{user}", "app": app, "at": "2026-11-21T20:00:00Z"}
    message = {"id": "m", "text": "hello", "mentioned": [user]}
    return json.dumps(event | {"channel": {"id": "c"}, "message": message, "sender": {"id": user}})


def account(user: str) -> str:
    """An account with every part that has users."""
    made = {
        "considered": 2,
        "pushed": [user, "chewie"],
        "skipped": {"muted": [user]},
        "delayed": [user],
        "rest": {"muted": 1},
    }
    return json.dumps(
        made | {"by": {user: "all"}, "passed": {user: "x"}, "folding": {user: 5}, "accepted": [[user, 7]]}
    )


#: By table: rows that name a user, `%(user)s`, and what makes them differ for another one, `%(n)s`.
ROWS: Final[Mapping[str, tuple[str, ...]]] = {
    "devices": (
        (
            "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active)"
            " VALUES ('chat', 't' || %(n)s, %(user)s, 1, 1, true), ('chat', 'old' || %(n)s, %(user)s, 1, 1, false)"
        ),
        (
            "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active, tombstones)"
            " VALUES ('chat', 'other' || %(n)s, 'greedo', 1, 1, true, jsonb_build_object(%(user)s::text, 5, 'jabba', 6))"
        ),
    ),
    "device_use": (
        (
            "INSERT INTO carillon.device_use (device, accepted) SELECT id, current_date FROM carillon.devices"
            " WHERE user_id = %(user)s"
        ),
    ),
    "device_history": (
        (
            "INSERT INTO carillon.device_history (device, what, user_id) SELECT id, 'registered', %(user)s"
            " FROM carillon.devices WHERE user_id IN (%(user)s, 'greedo')"
        ),
        "INSERT INTO carillon.device_history (device, what, user_id) VALUES (999999, 'registered', %(user)s)",
    ),
    "members": (
        "INSERT INTO carillon.members (app, channel, user_id, at, present) VALUES ('chat', 'c', %(user)s, 1, true)",
    ),
    "member_past": (
        "INSERT INTO carillon.member_past (app, channel, user_id, since, until) VALUES ('chat', 'c', %(user)s, 1, 2)",
    ),
    "mutes": (
        (
            "INSERT INTO carillon.mutes (app, user_id, target, at, muted)"
            " VALUES ('chat', %(user)s, 'x' || %(n)s, 1, true), ('chat', 'x' || %(n)s, %(user)s, 1, false)"
        ),
    ),
    "mute_past": (
        (
            "INSERT INTO carillon.mute_past (app, user_id, target, since, until)"
            " VALUES ('chat', %(user)s, 'x', 1, 2), ('chat', 'x', %(user)s, 1, 2)"
        ),
    ),
    "preferences": (
        "INSERT INTO carillon.preferences (app, user_id, channel, thread, at, place) VALUES ('chat', %(user)s, 'c', '', 1, 1)",
    ),
    "quiet": ("INSERT INTO carillon.quiet (app, user_id, at, place, setting) VALUES ('chat', %(user)s, 1, 1, '{}')",),
    "thread_participants": (
        (
            "INSERT INTO carillon.threads (app, channel, id, root_seen, people, day)"
            " VALUES ('chat', 'c', 'th', true, 2, current_date) ON CONFLICT DO NOTHING"
        ),
        "INSERT INTO carillon.thread_participants (app, channel, thread, user_id, since) VALUES ('chat', 'c', 'th', %(user)s, 1)",
    ),
    "messages": (
        (
            "INSERT INTO carillon.messages (app, event_id, position, message_id, channel, sender, mentioned)"
            " VALUES ('chat', 'a' || %(n)s, 1, 'm', 'c', %(user)s, NULL),"
            " ('chat', 'b' || %(n)s, 1, 'm', 'c', 'x', ARRAY[%(user)s, 'chewie'])"
        ),
    ),
    "apps": ("UPDATE carillon.apps SET only_to = only_to || %(user)s::text WHERE name = 'chat'",),
    "ledger": (
        (
            "INSERT INTO carillon.ledger (app, event_id, part, account) VALUES ('chat', 'a' || %(n)s, 'page:0', %(account)s),"
            " ('chat', 'digest:' || %(user)s || ':1800', 'page:0', '{}'),"
            " ('chat', 'reminder:' || %(user)s || ':00ff00ff00ff00ff:1800', 'page:0', '{}')"
        ),
        (
            "INSERT INTO carillon.ledger (app, event_id, part, account, day)"
            " VALUES ('chat', 'long ago' || %(n)s, 'page:0', %(account)s, current_date - 400)"
        ),
    ),
    "message_changes": (
        (
            "INSERT INTO carillon.message_changes (app, channel, message_id, at, place, deleted, known, written, document,"
            " content, named) VALUES ('chat', 'c', 'm' || %(n)s, 1, 1, false, true, 1, %(document)s, 'x', '{}'),"
            " ('chat', 'c', 'gone' || %(n)s, 1, 1, true, true, 1, NULL, '', jsonb_build_object(%(user)s::text, 5))"
        ),
    ),
    "dead_letters": (
        (
            "INSERT INTO carillon.dead_letters (entry, app, event_id, error, document, size)"
            " VALUES ('1-' || %(n)s, 'chat', 'e', 'bad', convert_to(%(document)s, 'UTF8'), 1),"
            " ('2-' || %(n)s, NULL, NULL, 'bad', convert_to('{\"user\": \"' || %(user)s || '\",', 'UTF8'), 1)"
        ),
    ),
    "outbox": (
        "INSERT INTO carillon.outbox (event, failed_at) VALUES (%(document)s, now())",
        "INSERT INTO carillon.outbox (event, moved_at) VALUES (%(document)s, now())",
    ),
    "audit": (
        (
            "INSERT INTO carillon.audit (who, host, act, app, target, detail, note) VALUES ('mira', 'h', 'device added', 'chat',"
            " %(user)s, jsonb_build_object('users', jsonb_build_array(%(user)s::text, 'chewie')), 'for ' || %(user)s || '.')"
        ),
    ),
}

#: By family: commands that write the user's id, with `{user}`, and `{document}` for an event that names them.
KEYS: Final[Mapping[keys.Family, tuple[tuple[str, ...], ...]]] = {
    keys.ONLINE: (("SET", "carillon:online:chat:{user}", "1"),),
    keys.ACTIVE: (("SET", "carillon:active:chat:{user}", "1"),),
    keys.VIEWING: (("SET", "carillon:viewing:chat:{user}", "c"),),
    keys.READ: (("ZADD", "carillon:read:chat:c", "1", "{user}"), ("ZADD", "carillon:read:chat:c\nt1", "1", "{user}")),
    keys.CLEARING: (("HSET", "carillon:clearing:chat:{user}", "ends", "1"),),
    keys.ACTIVITY: (("ZADD", "carillon:activity:chat:a", "1", "{user}"),),
    keys.ACTIVITY_STARTS: (("ZADD", "carillon:activity_starts:chat:{user}", "1", "e"),),
    keys.DIGEST: (("HSET", "carillon:digest:chat:{user}", "c", "1 0"),),
    keys.DIGESTS: (("ZADD", "carillon:digests", "1", "chat\n{user}"),),
    keys.SILENT_BADGES: (("ZADD", "carillon:silent_badges", "1", "chat\n{user}"),),
    keys.REMINDERS: (("ZADD", "carillon:reminders", "1", "chat\nc\nt1\n{user}", "2", "chat\nc\n{user}"),),
    keys.REMINDER: (("ZADD", "carillon:reminder:chat\nc\n{user}", "1", "m\nx\ny"),),
    keys.REMINDERS_SENT: (("HSET", "carillon:reminders:sent", "chat\nc\n{user}", "1"),),
    keys.SHOWN: (("ZADD", "carillon:shown:chat", "1", "c\n{user}", "1", "c\nt1\n{user}"),),
    keys.BURST: (("HSET", "carillon:burst:chat:c:5", "{user}", "1", "\t{user}", "5"),),
    keys.SOUNDS: (("HSET", "carillon:sounds:chat:c:5", "{user}", "1", "\t{user}", "5"),),
    keys.PUSHES_OF_DAY: (("HSET", "carillon:pushes:chat:20000", "{user}", "1 m"),),
    keys.FOLDS: (("HSET", "carillon:folds:chat:c", "{user}", "1"),),
    keys.CALL: (("HSET", "carillon:call:chat:k", "ended:{user}", "x"),),
    keys.RECENT: (("HSET", "carillon:recent:chat:20000", "{user}".replace("{user}", "b{n}"), "{document}"),),
    keys.BADGE: (), keys.CLEARED: (),  # their fields are devices: see the test of these
    # What remains, and for how long.
    keys.EVENTS: (("XADD", "carillon:events", "*", "event", "{document}"),),
    keys.APP_EVENTS: (("XADD", "carillon:events:chat", "*", "event", "{document}"),),
    keys.BATCH: (("HSET", "carillon:batch:b{n}", "doc", "{document}"),),
    keys.SECOND_LOOKS: (("HSET", "carillon:looks", "0/1-{n}", "chat\n[\"fold\",[\"{user}\"]]\n1"),),
    keys.HOMEWARD: (("RPUSH", "carillon:homeward", "1 0 {document}"),),
    keys.ACCOUNTS: (("RPUSH", "carillon:accounts", "{document}"),),
    keys.REPLY: (("RPUSH", "carillon:reply:r{n}", "{document}"),),
    keys.ACTS: (("RPUSH", "carillon:acts", "{document}"),),
}  # fmt: skip
#: Families whose keys, members and values name no user: numbers, entries, apps, channels, providers.
NO_USER: Final = {
    *("LAYOUT", "NEXT_LAYOUT", "FIRST_REFUSALS", "HOMEWARD_LAST", "CARRIED", "NUMBERED"),
    *("PRESSURE", "APPS", "MOVED", "TRIMMED", "INTAKE_TOKEN", "LEADER", "OPEN", "OPENED", "TRIES", "EXPANDING"),
    *("EXPANDING_CHANNELS", "CHANNEL_LINE", "EXPANDING_GROUPS", "TAKEN", "READY", "READY_OF_APP", "GROUPS_IN_TURN"),
    *(
        "READY_IN_GROUP",
        "SCHEDULED",
        "SECOND_LOOKS_DUE",
        "TAKEN_AT_ONCE",
        "WOKEN",
        "TURNS",
        "TURNS_OF_APP",
        "LINE",
        "OUT_OF_TURN",
        "TURN",
    ),
    *(
        "SENDING",
        "WAITS",
        "FOLLOWERS",
        "LATER",
        "DUE",
        "ASKED",
        "WATCHED",
        "OLD_READY",
        "OLD_READY_OF_APP",
        "NONE",
        "COUNTS",
    ),
    *(
        "ACTIVITY_URGENT",
        "SPEAKER",
        "SPEAKER_SENT",
        "ORIGINS",
        "BREAKER",
        "PROBE",
        "LOOKED",
        "STOPPED",
        "REFUSED",
        "ANSWERS",
    ),
    *(
        "DEFERRED_PROVIDERS",
        "DEFERRED",
        "DEFERRED_ASKED",
        "RATE",
        "COOLDOWNS",
        "COOLDOWN_REFUSALS",
        "QUOTA",
        "BUSY_DEVICES",
    ),
    *(
        "PROVIDER_TOKEN",
        "PROVIDER_TOKEN_LEASE",
        "CONDITIONS",
        "LOOK",
        "OLD_CONDITIONS",
        "CONDITIONS_LOOKED",
        "CERTIFICATES",
    ),
    *("UNREADABLE", "UNREADABLE_DEVICES", "WORKERS", "BEAT", "BUSY", "CANARY", "PRUNED", "SAMPLED", "DEVICES_WALK"),
    *("PRESENCE_CURSOR", "OUTBOX"),
}


def plant(db: psycopg.Connection, redis: Redis, user: str, n: int) -> None:
    values: dict[str, Any] = {"user": user, "n": n, "document": document(user), "account": account(user)}
    for statements in ROWS.values():
        for statement in statements:
            db.execute(statement.encode(), values)
    for commands in KEYS.values():
        for command in commands:
            redis.execute_command(*(_filled(part, values) for part in command))


def _filled(part: str, values: Mapping[str, Any]) -> str:
    for name in ("user", "n", "document"):
        part = part.replace(f"{{{name}}}", str(values[name]))
    return part


def tables_with(db: psycopg.Connection, user: str) -> set[str]:
    """Every table of the schema in whose rows the id stands, whatever the column."""
    found = set()
    for (name,) in db.execute(_TABLES).fetchall():
        row = sql.SQL("SELECT count(*) FROM {} t WHERE strpos(t::text, {}) > 0 OR strpos(t::text, {}) > 0").format(
            sql.Identifier("carillon", name), sql.Literal(user), sql.Literal(user.encode().hex())
        )
        [(n,)] = db.execute(row).fetchall()
        if n:
            found.add(name)
    return found


_TABLES: Final = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'carillon'::regnamespace AND relkind IN ('r', 'p')"
    " AND NOT relispartition"
)


def keys_with(redis: Any, user: str) -> set[keys.Family]:
    """The families of every key that has the id in its name or its content."""
    found = set()
    for key in redis.scan_iter(count=1000):
        if user.encode() in key or any(user.encode() in one for one in content(redis, key)):
            [family] = [of for of in KEYS if of.parts(key.decode()) is not None]
            found.add(family)
    return found


def content(redis: Any, key: bytes) -> Iterator[bytes]:
    match redis.type(key):
        case b"string":
            yield redis.get(key)
        case b"hash":
            for pair in redis.hgetall(key).items():
                yield from pair
        case b"list":
            yield from redis.lrange(key, 0, -1)
        case b"set":
            yield from redis.smembers(key)
        case b"zset":
            yield from redis.zrange(key, 0, -1)
        case b"stream":
            yield repr(redis.xrange(key)).encode()


@pytest.fixture
def db(pool: Pool) -> Iterator[psycopg.Connection]:
    with pool.connection() as connection:
        connection.execute("INSERT INTO carillon.apps (name, only_to) VALUES ('chat', '{}'), ('game', NULL)")
        yield connection


def test_every_table_and_every_key_is_known_to_have_users_or_not(db: psycopg.Connection) -> None:
    there = {name for (name,) in db.execute(_TABLES).fetchall()}
    handled = {*rows.TABLES, *rows.WITH}
    assert there == handled | rows.NOBODY, "does the new table name users? See worker/database/forget_user.py"
    assert not handled & rows.NOBODY
    assert handled == set(ROWS)
    of_redis = {*members.OF_USER, *members.NAMED, *members.AMONG, *members.OTHERS, *members.REMAINS}
    named = {name for name, family in keys.FAMILIES.items() if family in of_redis}
    assert named | NO_USER == set(keys.FAMILIES), "does the new key name users? See worker/state/forget_user.py"
    assert not named & NO_USER
    assert of_redis == set(KEYS)


def test_a_forgotten_user_is_found_nowhere_and_everybody_else_is_as_before(
    db: psycopg.Connection, pool: Pool, redis: Redis
) -> None:
    plant(db, redis, USER, 1)
    plant(db, redis, OTHER, 2)
    assert tables_with(db, USER) == set(ROWS) - {"device_use"}
    before = tables_with(db, OTHER), keys_with(redis, OTHER)
    counted = forget_user(pool, Keyspace(redis), APP, USER, dry=True)
    assert tables_with(db, USER) == set(ROWS) - {"device_use"}, "a dry run changes nothing"
    found = forget_user(pool, Keyspace(redis), APP, USER)
    assert found == counted
    assert tables_with(db, USER) == set()
    assert keys_with(redis, USER) <= set(members.REMAINS)
    assert (tables_with(db, OTHER), keys_with(redis, OTHER)) == before
    assert found.postgres["devices"] == 2 and found.postgres["memberships"] == 2 and found.postgres["mutes"] == 4
    assert found.waiting == 2
    again = forget_user(pool, Keyspace(redis), APP, USER)
    assert (again.postgres, again.redis) == ({}, {})


def test_nothing_of_another_app_is_touched(db: psycopg.Connection, pool: Pool, redis: Redis) -> None:
    plant(db, redis, USER, 1)
    before = tables_with(db, USER), keys_with(redis, USER)
    # Of a letter without an app, and of a device that is gone, nobody knows whose they were.
    found = forget_user(pool, Keyspace(redis), "game", USER)
    assert (found.postgres, found.redis, found.waiting) == ({"history of devices": 1, "dead letters": 1}, {}, 0)
    assert (tables_with(db, USER), keys_with(redis, USER)) == before


def test_the_numbers_of_the_devices_go_with_them(db: psycopg.Connection, pool: Pool, redis: Redis) -> None:
    plant(db, redis, USER, 1)
    [(id,), (other,)] = db.execute(
        "SELECT min(id) FROM carillon.devices GROUP BY user_id IS DISTINCT FROM %s ORDER BY 1", (USER,)
    ).fetchall()
    for key in (keys.BADGE(APP), keys.CLEARED(APP)):
        redis.hset(key, mapping={str(id): 3, str(other): 4})
    forget_user(pool, Keyspace(redis), APP, USER)
    assert redis.hgetall(keys.BADGE(APP)) == redis.hgetall(keys.CLEARED(APP)) == {str(other).encode(): b"4"}


def test_numbers_stay_right_where_the_id_stood(db: psycopg.Connection, pool: Pool, redis: Redis) -> None:
    plant(db, redis, USER, 1)
    forget_user(pool, Keyspace(redis), APP, USER)
    [(kept,)] = db.execute("SELECT account FROM carillon.ledger WHERE event_id = 'a1'").fetchall()
    assert kept["pushed"] == [FORGOTTEN, "chewie"] and kept["skipped"] == {"muted": [FORGOTTEN]} and kept["by"] == {}
    [(people,)] = db.execute("SELECT people FROM carillon.threads").fetchall()
    assert people == 1
    [(target, detail, note)] = db.execute("SELECT target, detail, note FROM carillon.audit").fetchall()
    assert (target, detail, note) == (FORGOTTEN, {"users": [FORGOTTEN, "chewie"]}, f"for {FORGOTTEN}.")
    senders = db.execute("SELECT sender, mentioned FROM carillon.messages ORDER BY event_id").fetchall()
    assert senders == [(FORGOTTEN, None), ("x", ["chewie"])]


def test_a_walk_that_ends_in_the_middle_is_gone_on_with(
    db: psycopg.Connection, pool: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(db, redis, USER, 1)

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(rows, "without", fails)
    with pytest.raises(ZeroDivisionError):
        forget_user(pool, Keyspace(redis), APP, USER)
    monkeypatch.undo()
    forget_user(pool, Keyspace(redis), APP, USER)
    assert tables_with(db, USER) == set()


def test_a_large_table_is_walked_in_steps(
    db: psycopg.Connection, pool: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute(
        "INSERT INTO carillon.members (app, channel, user_id, at, present)"
        " SELECT 'chat', 'c' || n, CASE WHEN n %% 100 = 0 THEN %s ELSE 'u' || n END, 1, true FROM generate_series(1, 5000) n",
        (USER,),
    )
    monkeypatch.setattr(rows, "_PAGES", 10)
    assert forget_user(pool, Keyspace(redis), APP, USER).postgres == {"memberships": 50}
    assert db.execute("SELECT count(*) FROM carillon.members").fetchone() == (4950,)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        pytest.param(document("han"), True, id="the sender"),
        pytest.param('{"user": "han", "id": "e"}', True, id="a user"),
        pytest.param('{"badge": {"han": 3}}', True, id="a key"),
        pytest.param('{"app": "han", "type": "han", "message": {"text": "han"}, "channel": {"id": "han"}}', False, id="no user"),
        pytest.param('{"message": {"text": "he said \\"han\\""}}', False, id="a text with quotes"),
        pytest.param('{"user": "hannah"}', False, id="a longer id"),
        pytest.param('{"user": "han", ', True, id="no JSON"),
    ],
)  # fmt: skip
def test_which_documents_name_a_user(text: str, named: bool) -> None:
    assert names(text.encode(), "han") is named


def test_an_id_of_any_form_is_found_and_is_no_pattern() -> None:
    odd = 'a"b\\c.ü*'
    assert names(json.dumps({"user": odd}).encode(), odd) and names(
        json.dumps({"user": odd}, ensure_ascii=False).encode(), odd
    )
    assert without({"pushed": [odd], "skipped": {"pushed": ["x"]}}, odd) == {
        "pushed": [FORGOTTEN],
        "skipped": {"pushed": ["x"]},
    }
    assert without({"pushed": ["pushed"]}, "pushed") == {"pushed": [FORGOTTEN]}
    assert is_of("digest:a:b:5", "a:b") and not is_of("digest:a:b:5", "a") and not is_of("digest:axb:5", "a.b")


@pytest.mark.parametrize("user", ['a"b\\c.ü*(', "100%_x", "users"])
def test_ids_of_any_form_leave_the_audit_log_and_every_table(
    db: psycopg.Connection, pool: Pool, redis: Redis, user: str
) -> None:
    plant(db, redis, user, 1)
    forget_user(pool, Keyspace(redis), APP, user)
    [(target, detail, note)] = db.execute("SELECT target, detail, note FROM carillon.audit").fetchall()
    assert (target, detail, note) == (FORGOTTEN, {"users": [FORGOTTEN, "chewie"]}, f"for {FORGOTTEN}.")
    assert forget_user(pool, Keyspace(redis), APP, user).postgres == {}
    assert db.execute("SELECT count(*) FROM carillon.ledger").fetchone() == (2,)
