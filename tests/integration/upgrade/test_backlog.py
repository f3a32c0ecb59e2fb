"""What the release before left unfinished is finished by this one: each device is notified, once."""

import base64
import json
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql
from redis import Redis

from tests.integration.pipeline.harness import Pipeline
from worker.core.push_ids import apns_id
from worker.database.migrate import migrate
from worker.state.breaker import Breaker

#: Milliseconds for which the system was down.
DOWN: Final = 3_600_000
BACKLOGS = sorted(Path(__file__).parent.glob("backlog-*.json"))


def octets(text: str) -> bytes:
    return base64.b64decode(text)


def restore_tables(url: str, document: dict[str, Any]) -> None:
    """The schema as that release had it, with its rows."""
    folder = files("worker.database.migrations")
    with psycopg.connect(url) as db:
        db.execute("CREATE SCHEMA carillon")
        db.execute("CREATE TABLE carillon.migrations (version text PRIMARY KEY, applied_at timestamptz DEFAULT now())")
        for name in document["migrations"]:
            db.execute(folder.joinpath(f"{name}.sql").read_text().encode())
            db.execute("INSERT INTO carillon.migrations (version) VALUES (%s)", (name,))
        for name, rows in document["tables"].items():
            table = sql.Identifier("carillon", name)
            # A migration may have made a row.
            db.execute(sql.SQL("DELETE FROM {}").format(table))
            db.execute(
                sql.SQL(
                    "INSERT INTO {0} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_recordset(NULL::{0}, %s)"
                ).format(table),
                (json.dumps(rows),),
            )
            for column in {"id"} & set(rows[0] if rows else ()):
                if isinstance(rows[0][column], int):
                    db.execute(
                        "SELECT setval(pg_get_serial_sequence(%s, %s), %s)",
                        (f"carillon.{name}", column, max(row[column] for row in rows)),
                    )


def restore_redis(redis: Any, document: dict[str, Any]) -> None:
    for one in document["redis"]:
        key, value = octets(one["key"]), one["value"]
        match one["type"]:
            case "string":
                redis.set(key, octets(value))
            case "hash":
                redis.hset(key, mapping={octets(field): octets(of) for field, of in value})
            case "list":
                redis.rpush(key, *map(octets, value))
            case "set":
                redis.sadd(key, *map(octets, value))
            case "zset":
                redis.zadd(key, {octets(member): score for member, score in value})
            case "stream":
                for id, fields in value:
                    redis.xadd(key, {octets(field): octets(of) for field, of in fields}, id=id)
        # What was to end by itself has ended meanwhile.
        if 0 < one.get("ttl", -1) < DOWN:
            redis.delete(key)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in BACKLOGS])
def test_a_backlog_of_an_earlier_release_is_delivered_once(path, empty_postgres_url, redis_url):
    document = json.loads(path.read_text())
    restore_tables(empty_postgres_url, document)
    with Redis.from_url(redis_url) as redis:
        restore_redis(redis, document)
    migrate(empty_postgres_url)
    pipeline = Pipeline(empty_postgres_url, redis_url, page=10, batch=7)
    try:
        second = pipeline.add_provider("second")
        Breaker(pipeline.partition).resume(second.id, by_hand=True)
        for _ in range(6):
            pipeline.run()
            pipeline.later(10**9)
        with psycopg.connect(empty_postgres_url) as db:
            devices = db.execute("SELECT id, token FROM carillon.devices").fetchall()
        sent = Counter(notification.id for notification in pipeline.apns.sent)
        ids = {token: id for id, token in devices}
        expected = {
            apns_id(event, "demo", ids[token]): (event, token)
            for event, tokens in document["expected"].items()
            for token in tokens
        }
        assert {expected[id] for id in expected if sent[id] != 1} == set()
        assert set(sent) - set(expected) == set()
        # Nothing is left behind, and what made no sense is kept for a person.
        assert pipeline.journal.backlog() == (0, 0)
        assert len(pipeline.ledger.dead_letters()) == 1
    finally:
        pipeline.close()
