from collections.abc import Iterator

import pytest

from tests.road.harness import Road


@pytest.fixture
def road(postgres_url: str, redis_url: str) -> Iterator[Road]:
    made = Road(postgres_url, redis_url)
    yield made
    made.close()


@pytest.fixture
def small_pages(postgres_url: str, redis_url: str) -> Iterator[Road]:
    """Pages of 10 members, batches of 7 jobs."""
    made = Road(postgres_url, redis_url, page=10, batch=7)
    yield made
    made.close()
