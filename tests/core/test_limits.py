"""Token buckets, probes and folding with `now` as a number; and the bucket of the store beside the pure one."""

import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.events import Channel, Message, MessageNew, Sender
from worker.core.breaker import FIRST_PROBE, LONGEST_PROBE, Stopped, probe_interval
from worker.core.folding import folded, folds
from worker.core.limits import Rate, grant, per_minute, per_second
from worker.core.model import AppSettings
from worker.core.rules import Push
from worker.stores.limiter import Limiter
from worker.stores.redis import connect


def test_a_full_bucket_gives_its_burst_and_then_its_rate():
    rate = Rate(per_second=10, burst=5)
    first = grant(0.0, 100.0, 8, rate)
    assert first.allowed == 5
    assert first.wait == pytest.approx(0.1)
    assert grant(first.full_at, 100.0 + first.wait, 8, rate).allowed == 1
    assert grant(first.full_at, 101.0, 8, rate).allowed == 5


def test_rates_have_a_burst_of_at_least_one():
    assert per_second(0.1) == Rate(0.1, 1.0)
    assert per_minute(2) == Rate(2 / 60, 2)


@given(
    st.floats(0.5, 500),
    st.integers(1, 100),
    st.lists(st.tuples(st.floats(0, 2), st.integers(1, 50)), min_size=1, max_size=60),
)
def test_no_more_than_the_rate_allows_in_any_run_of_requests(speed, burst, requests):
    rate, full_at, now, given_out = Rate(speed, burst), 0.0, 1000.0, 0
    for pause, wanted in requests:
        now += pause
        granted = grant(full_at, now, wanted, rate)
        full_at, given_out = granted.full_at, given_out + granted.allowed
        assert 0 <= granted.allowed <= wanted
        assert (granted.wait > 0) == (granted.allowed < wanted)
    assert given_out <= burst + (now - 1000.0) * speed + 1e-3 * len(requests)


def test_the_store_s_bucket_is_the_pure_one_under_concurrency(redis_url):
    """Eight threads ask one bucket of 100 whose rate is next to nothing: exactly 100 go."""
    redis = connect(redis_url)
    limiter, rate = Limiter(redis), Rate(0.001, 100)
    allowed: list[int] = []

    def ask() -> None:
        allowed.extend(limiter.take([("test", 1, rate)])[0].allowed for _ in range(40))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == 100
    refused = limiter.take([("test", 1, rate)])[0]
    assert 0 < refused.wait <= 1000
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
    assert folded(event, 12, "General").message.text == "12 new messages in General"
    assert folded(event, 12, None).message.text == "12 new messages"
