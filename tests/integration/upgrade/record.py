"""Records the backlog that a release leaves behind, whole: every kind of unfinished work in Redis, and the rows in Postgres.

Run once a release, in a checkout of it, with its own code:

    PYTHONPATH=<checkout> python tests/integration/upgrade/record.py > tests/integration/upgrade/backlog-<release>.json

The document has `migrations` (names), `redis` (key, type, value, base64; ttl in ms, -1: none), `tables` (name, rows as JSON) and
`expected` (event id -> tokens still to be notified).
"""

import base64
import json
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, message, stamp, token
from worker.core.model import Answer
from worker.database.migrate import migrate
from worker.embedded import Engines
from worker.state.breaker import Breaker

#: What refers to others comes after them; the other tables follow.
FIRST = ("apps", "providers", "templates", "devices", "channels")


def tables(db: Any) -> list[str]:
    """The tables of the schema; the parts of a divided one are in it. The lease ended with the process that had it."""
    found = db.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'carillon'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition AND relname NOT IN ('migrations', 'lease') ORDER BY relname"
    ).fetchall()
    return sorted((name for (name,) in found), key=lambda name: name not in FIRST)


def text(value: bytes | str) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else value.encode()).decode()


def kept(redis: Any) -> list[dict[str, Any]]:
    found = []
    for key in sorted(redis.keys("*")):
        kind = redis.type(key).decode()
        value: Any
        match kind:
            case "string":
                value = text(redis.get(key))
            case "hash":
                value = [[text(field), text(of)] for field, of in redis.hgetall(key).items()]
            case "list":
                value = [text(one) for one in redis.lrange(key, 0, -1)]
            case "set":
                value = [text(one) for one in redis.smembers(key)]
            case "zset":
                value = [[text(one), score] for one, score in redis.zrange(key, 0, -1, withscores=True)]
            case "stream":
                value = [
                    [id.decode(), [[text(field), text(of)] for field, of in fields.items()]]
                    for id, fields in redis.xrange(key)
                ]
        found.append({"key": text(key), "type": kind, "value": value, "ttl": redis.pttl(key)})
    return found


USERS = [f"u{n:02}" for n in range(25)]
Expected = dict[str, list[str]]


def backlog(pipeline: Pipeline) -> Expected:
    """Makes work of every kind and leaves it unfinished; what is still to be notified by event."""
    pipeline.member("general", "leia", *USERS)
    pipeline.member("pair", "leia", "han")
    pipeline.member("root", "leia", "ann", "bob")
    pipeline.publish(message("root", sender="ann", id="root"))
    pipeline.publish(ev.UserMuted(**stamp(), user="han", target="boba"))
    pipeline.run()
    return held(pipeline) | batches(pipeline) | expansions(pipeline) | unread(pipeline)


def held(pipeline: Pipeline) -> Expected:
    """A batch that waits for a provider which a person paused."""
    second = pipeline.add_provider("second")
    pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="other"), users=["kay"]))
    pipeline.publish(
        ev.DeviceRegistered(**stamp(), user="kay", device=ev.Device(token=token("kay"), provider="second"))
    )
    pipeline.publish(message("other", id="held"))
    pipeline.take()
    pipeline.expand()
    Breaker(pipeline.partition).stop(second.id, "paused by hand", pipeline.now, manual=True)
    pipeline.deliver()
    return {"held": [token("kay")]}


def batches(pipeline: Pipeline) -> Expected:
    """One that is tried again later, one that is leased and has some answers marked, and one that is ready."""
    pipeline.apns.answers[token("han")] = [Answer(503, "ServiceUnavailable")]
    pipeline.publish(message("pair", id="retry"))
    pipeline.take()
    pipeline.expand()
    pipeline.deliver()
    del pipeline.apns.answers[token("han")]

    pipeline.publish(message("general", id="leased"))
    pipeline.take()
    pipeline.expand()
    known = {token(user) for user in USERS[:4]}
    pipeline.apns.half = known
    with suppress(pipeline.apns.Died):
        pipeline.delivery.deliver("bulk")
    pipeline.apns.half = None

    pipeline.publish(message("pair", id="ready"))
    pipeline.take()
    pipeline.expand()
    rest = [token(user) for user in USERS if token(user) not in known]
    return {"retry": [token("han")], "leased": rest, "ready": [token("han")]}


def expansions(pipeline: Pipeline) -> Expected:
    """One that waits, one of which a page is done, and one that is scheduled."""
    pipeline.publish(ev.BadgeCleared(**stamp(1), user="ann"))
    pipeline.publish(message("root", sender="leia", id="reply", parent_id="m-root"))
    pipeline.take()
    pipeline.publish(message("general", id="paged"))
    pipeline.take()
    pipeline.fan_out.expand(pipeline.journal.take_messages("urgent", 1))
    for one in pipeline.journal.take_messages("urgent", 10):
        pipeline.journal.give_back("urgent", [one])
    soon = datetime.now(UTC) + timedelta(hours=1)
    envelope = {"v": 1, "type": "push.send", "id": "scheduled", "app": "demo", "at": "2026-11-21T20:00:00Z"}
    pipeline.publish(
        json.dumps(envelope | {"where": {"user": "bob"}, "alert": "later", "send_at": soon.isoformat()}).encode()
    )
    pipeline.take()
    return {"reply": [token("ann")], "paged": [token(user) for user in USERS], "scheduled": [token("bob")]}


def unread(pipeline: Pipeline) -> Expected:
    """Entries that no leader has read, one of them of no use."""
    pipeline.publish(message("pair", id="unread"), message("general", sender="u01", id="unread-2"), b"\xff not json")
    others = [token(user) for user in ["leia", *USERS] if user != "u01"]
    return {"unread": [token("han")], "unread-2": others}


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        engines = Engines(Path(directory))
        urls = engines.start()
        try:
            migrate(urls.postgres)
            pipeline = Pipeline(urls.postgres, urls.redis, page=10, batch=7)
            expected = backlog(pipeline)
            with psycopg.connect(urls.postgres) as db:
                rows = {
                    name: [
                        row
                        for (row,) in db.execute(
                            sql.SQL("SELECT to_jsonb(t) FROM carillon.{} AS t").format(sql.Identifier(name))
                        )
                    ]
                    for name in tables(db)
                }
                names = [name for (name,) in db.execute("SELECT version FROM carillon.migrations ORDER BY version")]
            document = {"expected": expected, "migrations": names, "redis": kept(pipeline.redis), "tables": rows}
            json.dump(document, sys.stdout, separators=(",", ":"))
            pipeline.close()
        finally:
            engines.stop()


if __name__ == "__main__":
    main()
