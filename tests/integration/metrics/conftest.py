from collections.abc import Iterator

import pytest

from tests.integration.pipeline.harness import Pipeline


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str) -> Iterator[Pipeline]:
    made = Pipeline(postgres_url, redis_url)
    yield made
    made.close()
