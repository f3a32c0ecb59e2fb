from collections.abc import Iterator

import pytest

from tests.integration.pipeline.harness import Pipeline


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str) -> Iterator[Pipeline]:
    made = Pipeline(postgres_url, redis_url)
    yield made
    made.close()


@pytest.fixture
def small_pages(postgres_url: str, redis_url: str) -> Iterator[Pipeline]:
    """Pages of 10 members, batches of 7 jobs."""
    made = Pipeline(postgres_url, redis_url, page=10, batch=7)
    yield made
    made.close()
