from collections.abc import Iterator

import pytest

from producers.partitions import UNTAGGED, Layout
from tests.integration.pipeline.harness import Pipeline
from worker.reports.invariants import check_invariants


def used(pipeline: Pipeline) -> Iterator[Pipeline]:
    """Whatever a test did with it, what must hold does when it is over."""
    yield pipeline
    with pipeline.pool.connection() as db:
        found = check_invariants(pipeline.keyspace, db, looks=1)
    pipeline.close()
    assert found == []


@pytest.fixture
def layout() -> Layout:
    """Of one partition without a tag; test_tagged.py has others."""
    return UNTAGGED


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str, layout: Layout) -> Iterator[Pipeline]:
    yield from used(Pipeline(postgres_url, redis_url, layout=layout))


@pytest.fixture
def small_pages(postgres_url: str, redis_url: str, layout: Layout) -> Iterator[Pipeline]:
    """Pages of 10 members, batches of 7 jobs."""
    yield from used(Pipeline(postgres_url, redis_url, page=10, batch=7, layout=layout))
