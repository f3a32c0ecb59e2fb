"""A Redis at `maxmemory` becomes free by itself, whoever filled it."""

from contextlib import suppress
from typing import Any

import pytest
import redis as client

from producers.events import STREAM
from tests.integration.pipeline.harness import Pipeline, message
from worker.state.streams import pressure


@pytest.fixture
def full(pipeline: Pipeline) -> Any:
    """Filled to the last by producers that look at nothing; returns how many messages they wrote."""
    pipeline.save_app(fold_after=3)
    pipeline.member("general", "leia", "han", "luke")
    pipeline.run()
    used: Any = pipeline.redis.info("memory")
    before: Any = pipeline.redis.config_get("maxmemory")
    pipeline.redis.config_set("maxmemory", used["used_memory"] + 4_000_000)
    written = 0
    for size in (3_000, 300, 3):
        with suppress(client.OutOfMemoryError):
            while written < 100_000:
                pipeline.publish(message(id=f"e{written}", text="x" * size))
                written += 1
    yield written
    pipeline.redis.config_set("maxmemory", before["maxmemory"])


def test_it_drains_by_itself(pipeline, full):
    pipeline.streams.tell_pressure()
    measured = pressure(pipeline.partition)
    assert measured is not None
    assert measured[0] >= 98, "publishers see it"
    assert pipeline.journal.unwatched(), "a worker ticks"
    ends = 50
    while pipeline.redis.xlen(STREAM) and ends:
        ends -= 1
        pipeline.take()
        pipeline.expand()
        pipeline.deliver()
        pipeline.journal.make_due_ready()
    assert len(pipeline.apns.sent) == 2 * full
    assert pipeline.journal.backlog() == (0, 0)
