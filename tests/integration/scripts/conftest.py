from collections.abc import Iterator

import pytest

from worker.state.journal import Journal
from worker.state.partition import untagged
from worker.state.redis import Redis, connect
from worker.state.scripts import Scripts


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def scripts(redis: Redis) -> Scripts:
    return untagged(redis).scripts


@pytest.fixture
def journal(redis: Redis) -> Journal:
    return Journal(untagged(redis), lease=8.0)
