"""The thread that gives signs of life notices soon that the only Redis is frozen, and logs it, and that it is over."""

import time
from contextlib import closing

import pytest

from config.settings import Settings
from tests.valkey import Valkey, wait_until
from worker.embedded import Urls
from worker.process.lookout import AWAY, PAUSE, Lookout
from worker.process.runtime import Runtime
from worker.reports.conditions import OVER
from worker.reports.watch import Watch
from worker.state import servers


def test_a_frozen_redis_is_logged_after_a_few_rounds_of_two_seconds(
    valkey: Valkey, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def logged(phrase: str) -> list[dict[str, object]]:
        records = [vars(one) for one in caplog.records if one.getMessage() == phrase]
        return [one for one in records if one["condition"] == "redis_away"]

    runtime, clock = Runtime(Settings(), Urls(valkey.url, postgres_url)), [time.time()]
    vars(runtime)["watch"] = Watch(runtime.keyspace, runtime.pool, now=lambda: clock[0])
    lookout = Lookout(runtime, "urgent@here", list)
    with closing(servers.impatient(runtime.redis)) as client, closing(runtime):
        fleet = runtime.fleet.through(client)

        def look() -> float:
            """A round, in which a silent server is waited for two seconds."""
            pause = lookout._look(fleet)
            clock[0] += pause + 2.0
            return pause

        assert look() == PAUSE
        valkey.freeze()
        assert [look(), look()] == [AWAY, AWAY]
        assert not logged("condition begins")
        assert look() == AWAY
        [begun] = logged("condition begins")
        assert begun["levelname"] == "ERROR"
        assert "look at its server" in str(begun["what"])
        valkey.thaw()
        wait_until(lambda: lookout._look(fleet) == PAUSE, "it is not seen that Redis answers")
        for _ in range(2):
            clock[0] += OVER
            runtime.fleet.redis.delete(runtime.fleet.keys.CONDITIONS_LOOKED())
            look()
        assert len(logged("condition begins")) == len(logged("condition is over")) == 1
