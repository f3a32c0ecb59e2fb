"""Relays that run: woken by commits, patient with engines, in order beside each other."""

import random
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
import redis

from tests.integration.outbox.relays import InThread, badge, published, rows, write
from tests.processes import wait_until
from tests.valkey import Valkey
from worker.pipeline.outbox_relay import Pace


def stands(client: Any, count: int) -> bool:
    """Whether so many events are on the stream."""
    return len(published(client)) == count


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as connected:
        yield connected


def test_a_commit_wakes_the_relay(postgres_url: str, redis_url: str, client: Any) -> None:
    with InThread(postgres_url, redis_url, Pace(poll=50.0)):
        for n in range(3):  # the polls are too far apart to have seen even the second
            write(postgres_url, badge(n))
            wait_until(partial(stands, client, n + 1))


def test_without_notifications_the_relay_looks_by_itself(postgres_url: str, redis_url: str, client: Any) -> None:
    with psycopg.connect(postgres_url) as db:
        db.execute("DROP TRIGGER outbox_notify ON carillon.outbox")
    with InThread(postgres_url, redis_url, Pace(poll=0.1)):
        for n in range(3):
            write(postgres_url, badge(n))
            wait_until(partial(stands, client, n + 1))


def test_what_was_committed_before_an_event_was_written_comes_before_it(
    postgres_url: str, redis_url: str, client: Any
) -> None:
    """Twelve writers whose transactions last for differing times, three relays: ids and commits are all mixed up."""
    committed: list[str] = []
    before: dict[str, int] = {}

    def writer(number: int) -> None:
        chance = random.Random(number)
        with psycopg.connect(postgres_url) as db:
            for n in range(60):
                name = f"{number}.{n}"
                with db.transaction():
                    db.execute("SELECT 1")
                    before[name] = len(committed)
                    db.execute("INSERT INTO carillon.outbox (event) VALUES (%s)", (badge(name),))
                    if chance.random() < 0.3:
                        time.sleep(chance.random() * 0.03)
                committed.append(name)

    relays = [InThread(postgres_url, redis_url, Pace(batch=7, poll=0.02)) for _ in range(3)]
    writers = [threading.Thread(target=writer, args=(number,)) for number in range(12)]
    with relays[0], relays[1], relays[2]:
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join()
        wait_until(lambda: not rows(postgres_url))
    order = published(client)
    assert sorted(order) == sorted(committed)
    place = {name: at for at, name in enumerate(order)}
    latest = [-1]
    for name in committed:
        latest.append(max(latest[-1], place[name]))
    overtaken = [name for name in committed if place[name] < latest[before[name]]]
    assert not overtaken


def test_the_relay_waits_for_a_redis_that_is_away(postgres_url: str, valkey: Valkey) -> None:
    with redis.Redis.from_url(valkey.url) as client, InThread(postgres_url, valkey.url):
        write(postgres_url, badge(0))
        wait_until(lambda: not rows(postgres_url))
        valkey.kill()
        write(postgres_url, *(badge(n) for n in range(1, 50)))
        valkey.start()
        wait_until(lambda: not rows(postgres_url))
        assert published(client) == [str(n) for n in range(50)]


def test_the_relay_waits_for_a_postgres_that_ends_its_sessions(postgres_url: str, redis_url: str, client: Any) -> None:
    with InThread(postgres_url, redis_url), psycopg.connect(postgres_url, autocommit=True) as db:
        for n in range(5):
            write(postgres_url, *(badge(f"{n}.{k}") for k in range(100)))
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        wait_until(lambda: not rows(postgres_url))
    assert published(client) == [f"{n}.{k}" for n in range(5) for k in range(100)]


def test_the_relay_waits_for_its_table(empty_postgres_url: str, redis_url: str, client: Any) -> None:
    from producers import outbox

    with InThread(empty_postgres_url, redis_url):
        with psycopg.connect(empty_postgres_url) as db:
            db.execute(outbox.sql().encode())
        write(empty_postgres_url, badge("at last"))
        wait_until(lambda: published(client) == ["at last"])


def test_a_long_stream_holds_the_relay_up_only_until_there_is_room(
    postgres_url: str, redis_url: str, client: Any
) -> None:
    write(postgres_url, *(badge(n) for n in range(30)))
    client.hset("carillon:pressure", mapping={"redis_percent": 0, "demo": 10})
    with InThread(postgres_url, redis_url, Pace(batch=5, poll=0.05), max_backlog=10):
        assert client.xlen("carillon:events") == 0
        client.hset("carillon:pressure", mapping={"redis_percent": 80, "demo": 0})
        assert client.xlen("carillon:events") == 0
        client.delete("carillon:pressure")
        wait_until(lambda: client.xlen("carillon:events") == 30)
    assert published(client) == [str(n) for n in range(30)]
