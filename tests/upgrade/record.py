"""Records the backlog that a release leaves behind, whole: every kind of unfinished work in Redis, and the rows in Postgres.

Run once a release, in a checkout of it, with its own code:

    PYTHONPATH=<checkout> python tests/upgrade/record.py > tests/data/backlog-<release>.json

The document has `migrations` (names), `redis` (key, type, value, base64), `tables` (name, rows as JSON) and `expected`
(event id -> tokens still to be notified).
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
from tests.road.harness import Road, message, stamp, token
from worker.core.model import Answer
from worker.database.migrate import migrate
from worker.embedded import Engines
from worker.state.breaker import Breaker

TABLES = (
    *("apps", "providers", "templates", "devices", "device_use", "device_history", "channels", "members", "mutes"),
    *("messages", "thread_participants", "intake", "ledger", "dead_letters", "registration_buckets", "outbox"),
)


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
        found.append({"key": text(key), "type": kind, "value": value})
    return found


USERS = [f"u{n:02}" for n in range(25)]
Expected = dict[str, list[str]]


def backlog(road: Road) -> Expected:
    """Makes work of every kind and leaves it unfinished; what is still to be notified by event."""
    road.member("general", "leia", *USERS)
    road.member("pair", "leia", "han")
    road.member("root", "leia", "ann", "bob")
    road.publish(message("root", sender="ann", id="root"))
    road.publish(ev.UserMuted(**stamp(), user="han", target="boba"))
    road.run()
    return held(road) | batches(road) | expansions(road) | unread(road)


def held(road: Road) -> Expected:
    """A batch that waits for a provider which a person paused."""
    second = road.add_provider("second")
    road.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="other"), users=["kay"]))
    road.publish(ev.DeviceRegistered(**stamp(), user="kay", device=ev.Device(token=token("kay"), provider="second")))
    road.publish(message("other", id="held"))
    road.take()
    road.expand()
    Breaker(road.redis).stop(second.id, "paused by hand", road.now, manual=True)
    road.deliver()
    return {"held": [token("kay")]}


def batches(road: Road) -> Expected:
    """One that is tried again later, one that is leased and has some answers marked, and one that is ready."""
    road.apns.answers[token("han")] = [Answer(503, "ServiceUnavailable")]
    road.publish(message("pair", id="retry"))
    road.take()
    road.expand()
    road.deliver()
    del road.apns.answers[token("han")]

    road.publish(message("general", id="leased"))
    road.take()
    road.expand()
    known = {token(user) for user in USERS[:4]}
    road.apns.half = known
    with suppress(road.apns.Died):
        road.delivery.deliver("bulk")
    road.apns.half = None

    road.publish(message("pair", id="ready"))
    road.take()
    road.expand()
    rest = [token(user) for user in USERS if token(user) not in known]
    return {"retry": [token("han")], "leased": rest, "ready": [token("han")]}


def expansions(road: Road) -> Expected:
    """One that waits, one of which a page is done, and one that is scheduled."""
    road.publish(ev.BadgeCleared(**stamp(1), user="ann"))
    road.publish(message("root", sender="leia", id="reply", parent_id="m-root"))
    road.take()
    road.publish(message("general", id="paged"))
    road.take()
    road.fan_out.expand(road.journal.take_messages("urgent", 1))
    for one in road.journal.take_messages("urgent", 10):
        road.journal.give_back("urgent", [one])
    soon = datetime.now(UTC) + timedelta(hours=1)
    envelope = {"v": 1, "type": "push.send", "id": "scheduled", "app": "demo", "at": "2026-11-21T20:00:00Z"}
    road.publish(
        json.dumps(envelope | {"where": {"user": "bob"}, "alert": "later", "send_at": soon.isoformat()}).encode()
    )
    road.take()
    return {"reply": [token("ann")], "paged": [token(user) for user in USERS], "scheduled": [token("bob")]}


def unread(road: Road) -> Expected:
    """Entries that no leader has read, one of them of no use."""
    road.publish(message("pair", id="unread"), message("general", sender="u01", id="unread-2"), b"\xff not json")
    others = [token(user) for user in ["leia", *USERS] if user != "u01"]
    return {"unread": [token("han")], "unread-2": others}


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        engines = Engines(Path(directory))
        urls = engines.start()
        try:
            migrate(urls.postgres)
            road = Road(urls.postgres, urls.redis, page=10, batch=7)
            expected = backlog(road)
            with psycopg.connect(urls.postgres) as db:
                tables = {
                    name: [
                        row
                        for (row,) in db.execute(
                            sql.SQL("SELECT to_jsonb(t) FROM carillon.{} AS t").format(sql.Identifier(name))
                        )
                    ]
                    for name in TABLES
                }
                names = [name for (name,) in db.execute("SELECT version FROM carillon.migrations ORDER BY version")]
            document = {"expected": expected, "migrations": names, "redis": kept(road.redis), "tables": tables}
            json.dump(document, sys.stdout, separators=(",", ":"))
            road.close()
        finally:
            engines.stop()


if __name__ == "__main__":
    main()
