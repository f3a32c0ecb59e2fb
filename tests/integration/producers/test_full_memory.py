"""Publishing stops while Redis still has room for the workers that empty it."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from producers import BackPressureError
from producers.wire import FULL
from tests.integration.outbox.relays import badge
from tests.valkey import Valkey
from worker.state.partition import untagged
from worker.state.streams import Streams


@pytest.fixture
def filled(valkey: Valkey) -> Valkey:
    """A Valkey just past the bound of its memory."""
    with redis.Redis.from_url(valkey.url) as client:
        Streams(untagged(client)).tell_pressure()  # its script takes room, too
        used: Any = client.info("memory")
        client.config_set("maxmemory", int(used["used_memory"] / (FULL / 100)) - 1)
        assert Streams(untagged(client)).tell_pressure() >= FULL
    return valkey


def test_publishing_is_refused_before_redis_is_full(filled: Valkey, make: Callable[..., Any]) -> None:
    publisher = make(filled.url)
    for publish in (publisher.publish, lambda event: publisher.publish_many([event])):
        with pytest.raises(BackPressureError, match=r"\d\d % of its maxmemory"):
            publish(badge(1))
    with redis.Redis.from_url(filled.url) as client:
        assert client.xlen("carillon:events") == 0
        client.set("a worker", "still writes")
        client.config_set("maxmemory", 0)
        Streams(untagged(client)).tell_pressure()
    publisher.publish(badge(2))
