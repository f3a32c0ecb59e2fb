"""Redis goes away between what APNs answers and its being written down: nobody is sent the same again."""

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.integration.pipeline.harness import Pipeline, message, token, user_of
from worker.core.model import Answer

USERS = ("leia", "han", "luke")


@pytest.fixture(autouse=True)
def back(pipeline: Pipeline) -> Iterator[None]:
    """Whatever a test did to the engine, the next one finds it well: also where the worker did not have to wait for that."""
    yield
    for timer in threading.enumerate():
        if isinstance(timer, threading.Timer):
            timer.join(20)
    pipeline.redis.config_set("maxmemory", 0)
    pipeline.redis.replicaof("NO", "ONE")


def full_for(pipeline: Pipeline, seconds: float) -> Callable[[], None]:
    """Redis has no memory from the moment at which something is sent, and has some again after so many seconds."""

    def fill() -> None:
        pipeline.apns.before = lambda: None
        pipeline.redis.config_set("maxmemory", 1)
        threading.Timer(seconds, pipeline.redis.config_set, ("maxmemory", 0)).start()

    return fill


def replica_for(pipeline: Pipeline, seconds: float) -> Callable[[], None]:
    """Likewise Redis is a replica, as in a failover: it answers, and takes nothing."""

    def fail_over() -> None:
        pipeline.apns.before = lambda: None
        pipeline.redis.replicaof("127.0.0.1", "1")
        threading.Timer(seconds, pipeline.redis.replicaof, ("NO", "ONE")).start()

    return fail_over


def sent(pipeline: Pipeline) -> list[str]:
    return sorted(user_of(notification) for notification in pipeline.apns.sent)


@pytest.mark.parametrize("away_for", [full_for, replica_for])
def test_what_was_answered_while_redis_took_nothing_is_sent_once(pipeline, away_for):
    pipeline.member("general", *USERS)
    pipeline.publish(message(id="e1"))
    pipeline.take()
    pipeline.expand()
    pipeline.apns.before = away_for(pipeline, 0.5)
    assert pipeline.deliver() == [{"accepted": 2}]
    # The worker's scripts run while Redis is full; what the test does to let time pass does not.
    pipeline.redis.config_set("maxmemory", 0)
    pipeline.later()
    pipeline.run()
    assert sent(pipeline) == ["han", "luke"]


@pytest.mark.parametrize(
    "answer",
    [Answer(403, "InvalidProviderToken"), Answer(403, "ExpiredProviderToken"), Answer(503, "ServiceUnavailable")],
)
def test_what_was_accepted_beside_a_refusal_while_redis_was_full_is_sent_once(pipeline, answer):
    pipeline.member("general", *USERS)
    pipeline.publish(message(id="e1"))
    pipeline.take()
    pipeline.expand()
    pipeline.apns.answers[token("luke")] = [answer, Answer(200)]
    pipeline.apns.before = full_for(pipeline, 0.5)
    assert pipeline.deliver()[0]["accepted"] == 1
    # The worker's scripts run while Redis is full; what the test does to let time pass does not.
    pipeline.redis.config_set("maxmemory", 0)
    pipeline.later()
    pipeline.deliver()
    assert sent(pipeline).count("han") == 1
