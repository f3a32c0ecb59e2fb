"""What the fleet shares about providers and bursts, asked by eight threads at once on the real store."""

import threading
from collections.abc import Callable
from itertools import count

import pytest

from worker.state.breaker import RECENT, Breaker
from worker.state.bursts import Burst, Bursts, Pushed, Turn
from worker.state.journal import Recorded
from worker.state.partition import untagged

THREADS = 8


def at_once(ask: Callable[[], object]) -> None:
    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_one_of_all_workers_stops_a_provider_and_the_first_reason_stays(redis):
    breaker, numbers = Breaker(untagged(redis)), iter(range(1000))
    fresh: list[bool] = []
    at_once(lambda: fresh.extend(breaker.stop(1, f"reason {next(numbers)}", now=1000.0) for _ in range(20)))
    assert fresh.count(True) == 1
    stopped = breaker.stopped(1)
    assert stopped is not None
    breaker.stop(1, "another", now=2000.0)
    assert breaker.stopped(1) == stopped


def test_no_answer_is_forgotten_or_counted_twice_while_few_count(redis):
    breaker = Breaker(untagged(redis))
    at_once(lambda: [breaker.record(1, answered=2, refused=range(1)) for _ in range(RECENT // 2 // THREADS)])
    assert breaker.record(1, answered=0, refused=())[:3] == (RECENT, RECENT // 2, 0)


def test_shares_outlive_the_numbers_that_they_come_from(redis):
    breaker = Breaker(untagged(redis))
    at_once(lambda: [breaker.record(1, answered=100, refused=range(10), gone=30) for _ in range(50)])
    seen = breaker.record(1, answered=0, refused=())
    assert RECENT // 2 <= seen.answered <= RECENT
    assert seen.refused / seen.answered == pytest.approx(0.1, abs=0.02)
    assert seen.gone / seen.answered == pytest.approx(0.3, abs=0.02)


def test_each_message_of_a_burst_has_a_number_of_its_own_for_each_member(redis):
    users, pages, bursts = ["han", "leia"], count(), Bursts(untagged(redis))
    everybody = [*map(Pushed, users)]
    seen: list[dict[str, Turn]] = []

    def one_more() -> dict[str, Turn]:
        return bursts.count([Burst("demo", "general", 60, f"{next(pages)}-0:0", everybody)], now=1000.0)[0]

    at_once(lambda: seen.extend(one_more() for _ in range(20)))
    for user in users:
        assert sorted(turns[user].number for turns in seen) == list(range(1, 20 * THREADS + 1))


def test_one_app_s_blast_leaves_the_others_their_share(journal, redis):
    blast = [Recorded(f"1-{n}", "demo", n) for n in range(1, 1001)]
    both = [*blast, Recorded("2-1", "other", 2001), Recorded("2-2", "other", 2002)]
    for one in both:
        redis.xadd("carillon:events", {"event": ""}, id=one.entry)
    journal.open(both, token=0)
    first = journal.take_messages("urgent", 100)
    assert [one.app for one in first].count("other") == 2
    assert len(first) == 100
    assert len(journal.take_messages("urgent", 100)) == 100
