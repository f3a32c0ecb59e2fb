"""Token buckets, probes and folding with `now` as a number."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from producers.events import Channel, Message, MessageNew, Sender
from worker.core.breaker import FIRST_PROBE, LONGEST_PROBE, Stopped, probe_interval
from worker.core.folding import folded
from worker.core.limits import Rate, per_minute, per_second, reserve, within


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


@pytest.mark.parametrize(("most", "seconds"), [(240, 60), (5000, 3600), (6, 60)])
def test_within_any_span_no_more_goes_than_may(most, seconds):
    times = list(reserve(0.0, 0.0, 2 * most, within(most, seconds), 1e9).delays(within(most, seconds)))
    assert all(later - earlier >= seconds for earlier, later in zip(times, times[most:], strict=False))
    assert sum(at == 0.0 for at in times) == most // 2


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
