"""Relays as processes and in threads, writers of rows, and what came to the stream."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import psycopg

from producers.events import FIELD, STREAM
from worker.database.outbox import Outbox
from worker.pipeline.outbox_relay import Pace, Relay
from worker.state.fence import Fence


def badge(number: int | str, app: str = "demo") -> str:
    """A small valid document whose event id is `number`."""
    return json.dumps(
        {"v": 1, "type": "badge.cleared", "id": str(number), "app": app, "at": "2026-11-21T20:00:00Z", "user": "leia"}
    )


def write(postgres_url: str, *documents: str) -> None:
    """Commits these documents together, in any language's way."""
    with psycopg.connect(postgres_url) as db, db.cursor() as cursor:
        cursor.executemany("INSERT INTO carillon.outbox (event) VALUES (%s)", [(one,) for one in documents])


def published(client: Any, stream: str = STREAM) -> list[str]:
    """The event ids on the stream, in its order, repeated ones too."""
    entries: Any = client.xrange(stream)
    return [json.loads(fields[FIELD.encode()])["id"] for _, fields in entries]


def rows(postgres_url: str, what: str = "id") -> list[Any]:
    """`what` of every row of the table, by id."""
    with psycopg.connect(postgres_url) as db:
        return [row[0] for row in db.execute(f"SELECT {what} FROM carillon.outbox ORDER BY id".encode())]


class InThread:
    """A relay in a thread of the test."""

    def __init__(self, postgres_url: str, redis_url: str, pace: Pace | None = None, max_backlog: int = 1_000_000):
        self._stop = threading.Event()
        pace = pace or Pace(poll=0.1)
        self.relay = Relay(
            Outbox(postgres_url),
            lambda source: Fence(redis_url, source, max_backlog=max_backlog),
            pace,
            self._stop.wait,
        )
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.relay.run(self._stop.is_set)
        finally:
            self.relay.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


def environment(postgres_url: str, redis_url: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CARILLON_")}
    return clean | {"CARILLON_REDIS_URL": redis_url, "CARILLON_POSTGRES_URL": postgres_url}


@contextmanager
def process(postgres_url: str, redis_url: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`carillon outbox relay` as a process; killed at the end if the test has not."""
    command = [sys.executable, "-m", "worker.cli", "outbox", "relay", *options]
    running = subprocess.Popen(command, env=environment(postgres_url, redis_url), stderr=subprocess.DEVNULL)
    try:
        yield running
    finally:
        if running.poll() is None:
            running.kill()
        running.wait()
