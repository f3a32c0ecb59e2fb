"""The bucket of the store beside the pure one."""

import threading
import time

import pytest

from worker.core.limits import Rate, reserve
from worker.state.limiter import FIRST, LAST, Limiter, Wanted
from worker.state.partition import untagged
from worker.state.redis import connect


def test_the_store_s_bucket_is_the_pure_one_under_concurrency(redis_url):
    """Eight threads reserve in one bucket of 100 whose rate is 10: each of 320 has a time of its own."""
    redis = connect(redis_url)
    limiter, rate = Limiter(untagged(redis)), Rate(10.0, 100.0)
    given: list[float] = []

    def ask() -> None:
        began = time.monotonic()
        for _ in range(20):
            [found] = limiter.reserve([Wanted("test", rate, [(2, 600.0)])])
            given.extend(time.monotonic() - began + delay for delay in found.runs[0].delays(rate))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == 320
    pure = reserve(0.0, 100.0, 320, rate, 600.0)
    assert max(given) == pytest.approx(max(pure.delays(rate)), abs=5.0)
    [over] = limiter.reserve([Wanted("test", rate, [(1000, 1.0), (1, 600.0)])])
    assert over.runs[0].taken == 0
    assert over.runs[1].taken == 1
    assert over.runs[0].ahead == pytest.approx(over.runs[1].ahead, abs=0.001)
    assert redis.pttl("carillon:notbefore:test") <= 40_000
    redis.close()


def test_the_first_queue_goes_before_all_that_waits_in_the_last(redis_url):
    redis = connect(redis_url)
    limiter, rate = Limiter(untagged(redis)), Rate(10.0, 10.0)
    [bulk] = limiter.reserve([Wanted("two", rate, [(600, 3600.0)], LAST)])
    assert max(bulk.runs[0].delays(rate)) == pytest.approx(59.0, abs=0.1)
    [urgent] = limiter.reserve([Wanted("two", rate, [(30, 3600.0)], FIRST)])
    assert max(urgent.runs[0].delays(rate)) == pytest.approx(2.0, abs=0.1)
    assert limiter.moved("two") - bulk.moved == pytest.approx(3.0, abs=0.1), "what waited goes later by as much"
    [after] = limiter.reserve([Wanted("two", rate, [(1, 3600.0)], LAST)])
    assert max(after.runs[0].delays(rate)) == pytest.approx(62.1, abs=0.2)
    redis.close()
