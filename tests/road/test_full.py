"""A Redis at `maxmemory` becomes free by itself, whoever filled it."""

from contextlib import suppress
from typing import Any

import pytest
import redis as client

from producers.events import STREAM
from tests.road.harness import Road, message
from worker.state.streams import pressure


@pytest.fixture
def full(road: Road) -> Any:
    """Filled to the last by producers that look at nothing; returns how many messages they wrote."""
    road.save_app(fold_after=3)
    road.member("general", "leia", "han", "luke")
    road.run()
    used: Any = road.redis.info("memory")
    before: Any = road.redis.config_get("maxmemory")
    road.redis.config_set("maxmemory", used["used_memory"] + 4_000_000)
    written = 0
    for size in (3_000, 300, 3):
        with suppress(client.OutOfMemoryError):
            while written < 100_000:
                road.publish(message(id=f"e{written}", text="x" * size))
                written += 1
    yield written
    road.redis.config_set("maxmemory", before["maxmemory"])


def test_it_drains_by_itself(road, full):
    road.streams.tell_pressure()
    told = pressure(road.redis)
    assert told is not None
    assert told[0] >= 98, "publishers are told"
    assert road.journal.unwatched(), "a worker ticks"
    ends = 50
    while road.redis.xlen(STREAM) and ends:
        ends -= 1
        road.take()
        road.expand()
        road.deliver()
        road.journal.make_due_ready()
    assert len(road.apns.sent) == 2 * full
    assert road.journal.backlog() == (0, 0)
