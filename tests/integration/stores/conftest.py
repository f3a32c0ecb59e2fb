from collections.abc import Iterator

import pytest

from worker.database.postgres import Pool, open_pool
from worker.state.journal import Journal
from worker.state.partition import untagged
from worker.state.redis import Redis, connect


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def journal(redis: Redis) -> Journal:
    return Journal(untagged(redis), lease=8.0)


@pytest.fixture
def pool(postgres_url: str) -> Iterator[Pool]:
    made = open_pool(postgres_url, size=2)
    yield made
    made.close()
