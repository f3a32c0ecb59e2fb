"""Several workers behind a pooler in transaction mode: one leads, also after the leader froze, and every message is pushed."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration.pipeline.harness import token
from tests.pooler import pooler
from tests.processes import wait_until
from tests.programs import pgbouncer
from tests.system.fleet import Fleet
from tests.system.pipeline.test_workers import new_message, populate
from worker.database.lease import holder

USERS = 20


@pytest.fixture(params=["ours", "pgbouncer"])
def fleet(request: pytest.FixtureRequest, postgres_url: str, redis_url: str, tmp_path: Path) -> Iterator[Fleet]:
    between = pooler(postgres_url) if request.param == "ours" else pgbouncer(postgres_url, tmp_path)
    logs = tmp_path / "logs"
    logs.mkdir()
    with between as url, Fleet(url, redis_url, logs) as made:
        yield made


def leader(postgres_url: str) -> int | None:
    """The pid of the worker that leads, asked directly."""
    with psycopg.connect(postgres_url) as db:
        found = holder(db)
    return None if found is None or found.until < found.now else int(found.owner.rpartition(":")[2])


def test_every_message_is_pushed_and_a_frozen_leader_is_replaced(fleet: Fleet, postgres_url: str) -> None:
    workers = {fleet.start("worker", "--name", name, "--concurrency", "2").pid for name in ("one", "two")}
    users = [f"u{n}" for n in range(USERS)]
    populate(fleet, "general", ["leia", *users])
    fleet.publisher.publish_many(new_message(f"e{n}") for n in range(180))
    wait_until(lambda: len(fleet.simulator.accepted) >= 180 * USERS and fleet.idle())
    first = leader(postgres_url)
    assert first in workers
    os.kill(first, signal.SIGSTOP)
    try:
        fleet.publisher.publish_many(new_message(f"e{n}") for n in range(180, 280))
        wait_until(lambda: leader(postgres_url) in workers - {first})
        wait_until(lambda: len(fleet.simulator.accepted) >= 280 * USERS)
    finally:
        os.kill(first, signal.SIGCONT)
    wait_until(fleet.idle)
    assert Counter(entry.token for entry in fleet.simulator.accepted) == {token(user): 280 for user in users}
