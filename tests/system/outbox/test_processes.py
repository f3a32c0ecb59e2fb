"""`carillon outbox` as processes: killed at any moment, side by side, and stopped."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import psycopg
import pytest
import redis

from tests.integration.outbox.relays import badge, environment, process, published, rows, write
from tests.processes import PATIENCE, wait_until


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as connected:
        yield connected


@pytest.mark.slow
def test_relays_killed_at_random_moments_lose_nothing_and_double_nothing(
    postgres_url: str, redis_url: str, client: Any
) -> None:
    chance, total = random.Random(5), 6_000
    done = threading.Event()

    def writer() -> None:
        with psycopg.connect(postgres_url) as db:
            for n in range(0, total, 5):
                with db.transaction(), db.cursor() as cursor:
                    cursor.executemany(
                        "INSERT INTO carillon.outbox (event) VALUES (%s)", [(badge(k),) for k in range(n, n + 5)]
                    )
        done.set()

    def start(stack: ExitStack) -> "subprocess.Popen[bytes]":
        return stack.enter_context(process(postgres_url, redis_url, "--batch", "20", "--poll", "0.05"))

    def grown_or_done(length: int) -> bool:
        return done.is_set() or client.xlen("carillon:events") > length

    thread = threading.Thread(target=writer)
    with ExitStack() as stack:
        relays = [start(stack), start(stack)]
        thread.start()
        for _ in range(10):
            length = client.xlen("carillon:events")
            wait_until(partial(grown_or_done, length))
            time.sleep(chance.random() * 0.1)
            victim = relays.pop(chance.randrange(2))
            victim.kill()
            victim.wait()
            relays.append(start(stack))
        wait_until(lambda: done.is_set() and not rows(postgres_url))
        thread.join()
    assert published(client) == [str(n) for n in range(total)]


@pytest.mark.slow
def test_a_relay_that_is_stopped_ends_well(postgres_url: str, redis_url: str, client: Any) -> None:
    with process(postgres_url, redis_url) as relay:
        write(postgres_url, badge(1))
        wait_until(lambda: published(client) == ["1"])
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(PATIENCE) == 0


def carillon(postgres_url: str, redis_url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "worker.cli", "outbox", *arguments]
    return subprocess.run(
        command, env=environment(postgres_url, redis_url), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_status_shows_what_waits_and_what_failed(postgres_url: str, redis_url: str) -> None:
    write(postgres_url, badge("secret text"), badge(2))
    with psycopg.connect(postgres_url) as db:
        db.execute(
            "UPDATE carillon.outbox SET failed_at = now(), error = 'type: required, but missing' WHERE id ="
            " (SELECT min(id) FROM carillon.outbox)"
        )
    shown = carillon(postgres_url, redis_url, "status")
    assert shown.returncode == 1
    assert "1 waiting" in shown.stdout
    assert "type: required, but missing" in shown.stdout
    assert "secret text" not in shown.stdout
    machine = json.loads(carillon(postgres_url, redis_url, "status", "--json").stdout)
    assert (machine["waiting"], machine["failed"], machine["kept"]) == (1, 1, 0)


def test_status_without_a_table_says_what_to_run(empty_postgres_url: str, redis_url: str) -> None:
    shown = carillon(empty_postgres_url, redis_url, "status")
    assert shown.returncode == 1
    assert "carillon outbox sql" in shown.stderr


def test_the_printed_sql_can_be_piped_into_psql(empty_postgres_url: str, redis_url: str) -> None:
    printed = carillon(empty_postgres_url, redis_url, "sql").stdout
    with psycopg.connect(empty_postgres_url) as db:
        db.execute(printed.encode())
    assert carillon(empty_postgres_url, redis_url, "status").stdout.startswith("0 waiting")
