"""Redis goes away between what APNs answers and its being written down: nobody is sent the same again."""

import threading
from collections.abc import Callable, Iterator

import pytest

from tests.road.harness import Road, message, token, user_of
from worker.core.model import Answer

USERS = ("leia", "han", "luke")


@pytest.fixture(autouse=True)
def back(road: Road) -> Iterator[None]:
    """Whatever a test did to the engine, the next one finds it well: also where the worker did not have to wait for that."""
    yield
    for timer in threading.enumerate():
        if isinstance(timer, threading.Timer):
            timer.join(20)
    road.redis.config_set("maxmemory", 0)
    road.redis.replicaof("NO", "ONE")


def full_for(road: Road, seconds: float) -> Callable[[], None]:
    """Redis has no memory from the moment at which something is sent, and has some again after so many seconds."""

    def fill() -> None:
        road.apns.before = lambda: None
        road.redis.config_set("maxmemory", 1)
        threading.Timer(seconds, road.redis.config_set, ("maxmemory", 0)).start()

    return fill


def replica_for(road: Road, seconds: float) -> Callable[[], None]:
    """Likewise Redis is a replica, as in a failover: it answers, and takes nothing."""

    def fail_over() -> None:
        road.apns.before = lambda: None
        road.redis.replicaof("127.0.0.1", "1")
        threading.Timer(seconds, road.redis.replicaof, ("NO", "ONE")).start()

    return fail_over


def sent(road: Road) -> list[str]:
    return sorted(user_of(notification) for notification in road.apns.sent)


@pytest.mark.parametrize("away_for", [full_for, replica_for])
def test_what_was_answered_while_redis_took_nothing_is_sent_once(road, away_for):
    road.member("general", *USERS)
    road.publish(message(id="e1"))
    road.take()
    road.expand()
    road.apns.before = away_for(road, 0.5)
    assert road.deliver() == [{"accepted": 2}]
    road.later()
    road.run()
    assert sent(road) == ["han", "luke"]


@pytest.mark.parametrize(
    "answer",
    [Answer(403, "InvalidProviderToken"), Answer(403, "ExpiredProviderToken"), Answer(503, "ServiceUnavailable")],
)
def test_what_was_accepted_beside_a_refusal_while_redis_was_full_is_sent_once(road, answer):
    road.member("general", *USERS)
    road.publish(message(id="e1"))
    road.take()
    road.expand()
    road.apns.answers[token("luke")] = [answer, Answer(200)]
    road.apns.before = full_for(road, 0.5)
    assert road.deliver()[0]["accepted"] == 1
    # The worker's scripts run while Redis is full; what the test does to let time pass does not.
    road.redis.config_set("maxmemory", 0)
    road.later()
    road.deliver()
    assert sent(road).count("han") == 1
