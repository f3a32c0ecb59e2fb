"""Several companies: the Redis user of one app publishes for that app, and nothing that it writes touches another."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from msgspec.structs import replace

from producers import Publisher
from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, message, user_of
from tests.integration.security.acl import make, url_of
from worker.core.model import AppSettings


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str) -> Iterator[Pipeline]:
    made = Pipeline(postgres_url, redis_url)
    yield made
    made.close()


@pytest.fixture
def as_demo(redis_url: str) -> Iterator[str]:
    """The URL of the producer of the app `demo`."""
    with redis.Redis.from_url(redis_url) as admin:
        make(admin, "carillon-producer-demo")
        yield url_of(redis_url, "carillon-producer-demo")
        admin.execute_command("ACL", "DELUSER", "carillon-producer-demo")


def test_its_events_are_pushed_and_one_of_another_app_is_dead_lettered(pipeline: Pipeline, as_demo: str) -> None:
    pipeline.registry.save_app(AppSettings("victim"))
    pipeline.member("general", "leia", "han")
    pipeline.run()
    with Publisher(as_demo, own_stream=True) as publisher:
        publisher.publish(message(id="e1"))
    stranger = replace(message(id="e2"), app="victim", recipients=["han"])
    with redis.Redis.from_url(as_demo) as client:
        client.xadd("carillon:events:demo", {"event": ev.encode(stranger)})
    with Publisher(as_demo, own_stream=True) as publisher:
        publisher.publish(message(id="e3"))
    assert [user_of(one) for one in pipeline.run()] == ["han", "han"]
    [letter] = pipeline.ledger.dead_letters()
    assert letter.letter.event_id == "e2"
    assert pipeline.ledger.of_event("victim", "e2") == {}


def test_trimming_its_stream_takes_nothing_of_another_app(pipeline: Pipeline, as_demo: str) -> None:
    pipeline.registry.save_app(AppSettings("other"))
    other: Any = replace(message(id="e1"), app="other", recipients=["han"])
    with Publisher(pipeline.redis_url, own_stream=True) as publisher:
        publisher.publish(other)
    with redis.Redis.from_url(as_demo) as client:
        client.xadd("carillon:events:demo", {"event": "{}"}, maxlen=0, approximate=False)
    pipeline.run()
    pipeline.ledger.flush(pipeline.journal)
    assert pipeline.ledger.of_event("other", "e1")["page:0"]["skipped"] == {"no_device": ["han"]}
