"""Token buckets, probes and folding with `now` as a number; and the bucket of the store beside the pure one."""

import threading
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from producers.events import Channel, Message, MessageNew, Sender
from worker.core.breaker import FIRST_PROBE, LONGEST_PROBE, Stopped, probe_interval
from worker.core.folding import folded, folds
from worker.core.limits import Rate, per_minute, per_second, reserve
from worker.core.model import AppSettings
from worker.core.rules import Push
from worker.state.limiter import FIRST, LAST, Limiter, Wanted
from worker.state.redis import connect


def test_a_full_bucket_gives_its_burst_and_then_times_at_its_rate():
    rate = Rate(per_second=10, burst=5)
    first = reserve(0.0, 100.0, 8, rate, 60.0)
    assert list(first.delays(rate)) == pytest.approx([0, 0, 0, 0, 0, 0.1, 0.2, 0.3])
    second = reserve(first.full_at, 100.0, 2, rate, 60.0)
    assert list(second.delays(rate)) == pytest.approx([0.4, 0.5])
    assert list(reserve(second.full_at, 101.0, 1, rate, 60.0).delays(rate)) == [0.0]


def test_what_is_beyond_its_life_reserves_nothing():
    rate = Rate(per_second=10, burst=5)
    first = reserve(0.0, 100.0, 100, rate, 2.0)
    assert first.taken == 25
    assert max(first.delays(rate)) == pytest.approx(2.0)
    assert reserve(first.full_at, 100.0, 100, rate, 2.0).full_at == first.full_at
    assert reserve(first.full_at, 100.0, 1, rate, 3.0).taken == 1, "what lives longer has its time all the same"


def test_rates_have_a_burst_of_at_least_one():
    assert per_second(0.1) == Rate(0.1, 1.0)
    assert per_minute(2) == Rate(2 / 60, 2)


@given(
    st.floats(0.5, 500),
    st.integers(1, 100),
    st.lists(st.tuples(st.floats(0, 2), st.integers(1, 50)), min_size=1, max_size=60),
)
def test_no_more_than_the_rate_allows_up_to_any_moment(speed, burst, requests):
    rate, full_at, now, times = Rate(speed, burst), 0.0, 1000.0, list[float]()
    for pause, wanted in requests:
        now += pause
        given = reserve(full_at, now, wanted, rate, 1e6)
        assert given.taken == wanted
        full_at = given.full_at
        times += [now + delay for delay in given.delays(rate)]
    assert times == sorted(times), "the order is that of the reservations"
    for n, at in enumerate(times, 1):
        assert n <= burst + (at - 1000.0) * speed + 1e-3 * len(requests)


def test_the_store_s_bucket_is_the_pure_one_under_concurrency(redis_url):
    """Eight threads reserve in one bucket of 100 whose rate is 10: each of 320 has a time of its own."""
    redis = connect(redis_url)
    limiter, rate = Limiter(redis), Rate(10.0, 100.0)
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
    limiter, rate = Limiter(redis), Rate(10.0, 10.0)
    [bulk] = limiter.reserve([Wanted("two", rate, [(600, 3600.0)], LAST)])
    assert max(bulk.runs[0].delays(rate)) == pytest.approx(59.0, abs=0.1)
    [urgent] = limiter.reserve([Wanted("two", rate, [(30, 3600.0)], FIRST)])
    assert max(urgent.runs[0].delays(rate)) == pytest.approx(2.0, abs=0.1)
    assert limiter.moved("two") - bulk.moved == pytest.approx(3.0, abs=0.1), "what waited goes later by as much"
    [after] = limiter.reserve([Wanted("two", rate, [(1, 3600.0)], LAST)])
    assert max(after.runs[0].delays(rate)) == pytest.approx(62.1, abs=0.2)
    redis.close()


@pytest.mark.parametrize(
    ("stopped_for", "interval"),
    [
        pytest.param(0, FIRST_PROBE, id="soon at first"),
        pytest.param(60, 15, id="then a quarter of the time"),
        pytest.param(86_400, LONGEST_PROBE, id="never rarer than this"),
    ],
)
def test_probes_grow_rarer(stopped_for, interval):
    assert probe_interval(Stopped("BadTopic", since=1000.0), 1000.0 + stopped_for) == interval


@pytest.mark.parametrize(
    ("count", "why", "settings", "expected"),
    [
        pytest.param(3, "member", {"fold_after": 3}, False, id="up to the bound one by one"),
        pytest.param(4, "member", {"fold_after": 3}, True, id="beyond it folded"),
        pytest.param(99, "mention", {"fold_after": 3}, False, id="a mention breaks through"),
        pytest.param(99, "member", {}, False, id="off unless the app says so"),
    ],
)
def test_folding(count, why, settings, expected):
    assert folds(Push("han", [], why), count, AppSettings("demo", **settings)) is expected


def test_a_folded_message_says_how_many():
    event = MessageNew(
        id="e",
        app="demo",
        at=datetime(2026, 11, 21, tzinfo=UTC),
        channel=Channel(id="c"),
        message=Message(id="m", text="hello"),
        sender=Sender(id="leia"),
    )
    named = replace(event, channel=Channel(id="c", name="General"))
    assert folded(named, "12 new messages").message.text == "General: 12 new messages"
    assert folded(event, "12 new messages").message.text == "12 new messages"
