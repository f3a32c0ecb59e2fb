# mypy: disallow-untyped-decorators=False
"""The obvious design, written as a good engineer would: one Celery task a message, one more for each device.

Same Postgres, same Valkey, same rules, same payload and headers, same simulator. Each prefork child keeps one Postgres
connection, one httpx client with HTTP/2 and one provider token. A database query reads everything about a message at once;
pushes are queued over one held connection. A 410 retires the device, a passing trouble is tried again.
"""

import os
import ssl
import time
from typing import Any, Final

import httpx
import psycopg
import redis
from celery import Celery, signals

from producers import MessageNew, decode
from worker.core.notification import collapse_id, expiration, render
from worker.core.push_ids import apns_id
from worker.providers.apns.token import mint

MEMBER_CAP: Final = 100
MAX_AGE: Final = 3600

app = Celery("peer", broker=os.environ.get("PEER_REDIS_URL"), set_as_current=False)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=4,
    task_default_queue="peer",
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)

_READ: Final = b"""
    SELECT m.user_id, d.id, d.token
    FROM carillon.members m
    JOIN carillon.devices d ON d.app = m.app AND d.user_id = m.user_id AND d.active
    LEFT JOIN carillon.mutes x ON x.app = m.app AND x.user_id = m.user_id AND x.target = %(sender)s AND x.muted
    WHERE m.app = %(app)s AND m.channel = %(channel)s AND m.present AND m.user_id <> %(sender)s AND x.target IS NULL
    ORDER BY m.user_id, d.id
"""
_RECORD: Final = b"""
    INSERT INTO peer.messages (app, event_id, message_id, channel, sender)
    VALUES (%(app)s, %(event)s, %(message)s, %(channel)s, %(sender)s) ON CONFLICT DO NOTHING
"""
#: Made once by the benchmark: refuses a repeated event.
SCHEMA: Final = """
    CREATE SCHEMA peer;
    CREATE TABLE peer.messages (
        app text COLLATE "C", event_id text COLLATE "C", message_id text, channel text, sender text,
        seen_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (app, event_id)
    )
"""
_CHANNEL: Final = b"SELECT name, push FROM carillon.channels WHERE app = %(app)s AND id = %(channel)s"
_RETIRE: Final = b"""
    UPDATE carillon.devices SET active = false, retired_reason = %s, retired_at = now()
    WHERE id = %s AND active AND registered_at <= %s
"""


class Child:
    """What one process keeps."""

    def __init__(self) -> None:
        self.db = psycopg.connect(os.environ["PEER_POSTGRES_URL"], autocommit=True)
        self.redis = redis.Redis.from_url(os.environ["PEER_REDIS_URL"])
        context = ssl.create_default_context(cadata=os.environ["PEER_CA"])
        self.client = httpx.Client(http2=True, verify=context, timeout=10, base_url=os.environ["PEER_APNS"])
        self._token, self._minted = "", 0.0

    def authorization(self) -> str:
        if time.time() - self._minted > 3000:
            self._minted = time.time()
            self._token = mint(os.environ["PEER_TEAM"], os.environ["PEER_KEY_ID"], os.environ["PEER_KEY"], self._minted)
        return f"bearer {self._token}"


_children: list[Child] = []


@signals.worker_process_init.connect
def _start(**_: object) -> None:
    _children[:] = [Child()]


@app.task(name="peer.message")
def message(document: str) -> None:
    """Decides who gets a push, and queues a push for each device."""
    event, child = decode(document), _children[0]
    if not isinstance(event, MessageNew) or event.message.skip_push or time.time() - event.at.timestamp() > MAX_AGE:
        return
    key = {
        "app": event.app,
        "event": event.id,
        "message": event.message.id,
        "channel": event.channel.id,
        "sender": event.sender.id,
    }
    if not child.db.execute(_RECORD, key).rowcount:
        return
    channel = child.db.execute(_CHANNEL, key, prepare=True).fetchone()
    if channel is None or not channel[1]:
        return
    rows = child.db.execute(_READ, key, prepare=True).fetchall()
    if not rows:
        return
    with child.redis.pipeline(transaction=False) as pipe:
        pipe.mget([f"carillon:online:{event.app}:{row[0]}" for row in rows])
        for row in rows:
            pipe.hincrby(f"peer:badge:{event.app}", row[1], 1)
        online, *badges = pipe.execute()
    _queue(event, [(row, badge) for row, badge, here in zip(rows, badges, online, strict=True) if here is None])


def _queue(event: MessageNew, rows: list[Any]) -> None:
    rendered = render(event)
    expires, collapse = expiration(event, MAX_AGE), collapse_id(event.app, event.message.id, event.channel.id)
    notified: set[str] = set()
    with app.producer_pool.acquire(block=True) as producer:
        for (user, device, token), badge in rows:
            if user not in notified and len(notified) == MEMBER_CAP:
                break
            notified.add(user)
            payload = rendered.payload(badge).decode()
            push.apply_async(
                (device, token, apns_id(event.id, event.app, device), payload, expires, collapse), producer=producer
            )


@app.task(name="peer.push", bind=True, max_retries=5)
def push(self: Any, device: int, token: str, id: str, payload: str, expires: int, collapse: str) -> None:
    """Sends one notification and acts on its answer."""
    child = _children[0]
    headers = {
        "authorization": child.authorization(),
        "content-type": "application/json",
        "apns-id": id,
        "apns-topic": os.environ["PEER_TOPIC"],
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-expiration": str(expires),
        "apns-collapse-id": collapse,
    }
    try:
        answer = child.client.post(f"/3/device/{token}", content=payload, headers=headers)
    except httpx.TransportError as fault:
        raise self.retry(exc=fault, countdown=2**self.request.retries) from None
    if answer.status_code == 410:
        said = answer.json()
        child.db.execute(_RETIRE, (said["reason"], device, said["timestamp"]), prepare=True)
    elif answer.status_code in (429, 500, 503):
        raise self.retry(countdown=2**self.request.retries)
