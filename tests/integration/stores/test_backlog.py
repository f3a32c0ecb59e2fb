"""Of a large backlog not everything is looked at."""

from typing import Any

from worker.state import backlog
from worker.state.partition import Keyspace
from worker.state.redis import Redis


def test_a_large_backlog_is_counted_and_what_is_in_it_estimated(redis: Redis) -> None:
    with redis.pipeline() as pipe:
        for n in range(backlog._IN_LINES + 200):
            batch: Any = {
                "app": "demo",
                "lane": "bulk",
                "provider": 7,
                "doc": "x" * 10,
                "entries": f"{n + 1}-0",
            }
            pipe.hset(f"carillon:batch:r{n}", mapping=batch | {"devices": "@7//,1,2,3"})
            pipe.zadd("carillon:line:bulk:7", {f"r{n}": n})
        for n in range(backlog._DUE + 500):
            pipe.hset(f"carillon:batch:d{n:05}", mapping=batch | {"entries": f"{n + 7}-0", "devices": "@7//,1,@8//,2"})
            pipe.zadd("carillon:due", {f"b:d{n:05}": 1e12 - n})
        pipe.rpush("carillon:turns:bulk", "demo")
        pipe.rpush("carillon:turns:bulk:demo", 7)
        pipe.execute()
    found = backlog.read(Keyspace(redis), {})
    assert found.estimated
    assert {one.state: (one.messages, one.batches, one.notifications) for one in found.waiting} == {
        "ready": (0, backlog._IN_LINES + 200, 3 * (backlog._IN_LINES + 200)),
        "due": (0, backlog._DUE + 500, 2 * (backlog._DUE + 500)),
    }
    oldest = {one.state: one.oldest or 0.0 for one in found.waiting}
    assert oldest["ready"] == max(oldest.values())
    assert round(1000 * (oldest["ready"] - oldest["due"])) == 6
