"""A provider that is silent or slow holds a bounded part of a process's threads, and what it cannot take waits in the store."""

import threading

import pytest

from tests.integration.pipeline.harness import Pipeline, message, token
from worker.core.model import Answer, NoAnswer
from worker.core.way import Way, way_of
from worker.pipeline.bulkhead import LEAST, PATIENCE, QUIET_SECONDS, Bulkhead


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def enter_all(bulkhead: Bulkhead, provider: Way) -> int:
    """Batches of the provider until one is turned away; returns how many got in."""
    n = 0
    while bulkhead.enter(provider):
        n += 1
    return n


def test_silent_providers_leave_room_for_the_next_however_many_they_are(clock):
    bulkhead = Bulkhead(8, 56, clock=clock)
    for provider in range(8):
        assert bulkhead.enter(provider)
    clock.now += 2 * QUIET_SECONDS
    held = sum(1 + enter_all(bulkhead, provider) for provider in range(8))
    assert held <= 56
    assert enter_all(bulkhead, 99) >= 4


def test_silent_origins_of_one_provider_leave_room_however_many_they_are(clock):
    bulkhead = Bulkhead(8, 56, clock=clock)
    ways = [way_of(1, f"h{n}.example") for n in range(200)]
    for way in ways:
        if bulkhead.enter(way):
            bulkhead.leave(way, answered=False)
    held = sum(enter_all(bulkhead, way) for way in ways)
    assert LEAST <= held <= 32
    assert bulkhead.enter(way_of(1, "good.example")), "an origin that answers has its own share"
    assert enter_all(bulkhead, 2) >= 8
    assert set(bulkhead.full()) >= set(ways), "none of them is taken in vain"


def test_eight_that_fall_silent_at_full_speed_leave_room(clock):
    bulkhead = Bulkhead(8, 56, clock=clock)
    for _ in range(8):
        for provider in range(8):
            bulkhead.enter(provider)
    clock.now += 2 * QUIET_SECONDS
    assert bulkhead.enter(99)


def test_a_provider_alone_has_more_than_threads_work_at_once(clock):
    assert enter_all(Bulkhead(8, 56, clock=clock), 1) > 8


def test_a_provider_that_left_a_batch_without_answer_has_little_until_it_answers(clock):
    bulkhead = Bulkhead(8, 56, clock=clock)
    bulkhead.enter(1)
    bulkhead.leave(1, answered=False)
    quiet = enter_all(bulkhead, 1)
    assert LEAST <= quiet <= 8
    bulkhead.leave(1, answered=True)
    assert enter_all(bulkhead, 1) > quiet


def test_a_thread_that_waits_in_vain_lets_another_work_and_goes_on_at_once(clock):
    bulkhead, begun = Bulkhead(1, 8, clock=clock), threading.Event()
    seen: list[int | None] = [None] * 3

    def work() -> None:
        with bulkhead.working():
            begun.set()

    other = threading.Thread(target=work)
    with bulkhead.working():
        assert bulkhead.enter(1)
        with bulkhead.answers(1, seen):
            other.start()
            assert not begun.wait(0.05), "its provider is not silent yet"
            seen[0] = 200
            clock.now += 2 * PATIENCE
            assert not begun.wait(0.3), "an answer came"
            clock.now += 2 * PATIENCE
            assert begun.wait(10)
        bulkhead.leave(1, answered=True)
    other.join(10)
    with bulkhead.working():
        pass


def test_few_threads_compute_for_the_bulk_lane_and_the_next_is_turned_away(clock: Clock) -> None:
    bulkhead = Bulkhead(4, 8, clock=clock)
    bulkhead.resize(4, bulk=1)
    with bulkhead.working(bulk=True) as first:
        with bulkhead.working(bulk=True) as second, bulkhead.working() as urgent:
            assert (first, second, urgent) == (True, False, True)
        assert bulkhead.figures().working == 1
    with bulkhead.working(bulk=True) as works:
        assert works
    assert bulkhead.figures().working == 0


def test_who_waits_for_answers_computes_nothing_for_the_bulk_lane(clock: Clock) -> None:
    bulkhead, found = Bulkhead(4, 8, clock=clock), list[bool]()
    bulkhead.resize(4, bulk=1)

    def work() -> None:
        with bulkhead.working(bulk=True) as works:
            found.append(works)

    def other() -> bool:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return found[-1]

    with bulkhead.working(bulk=True):
        with bulkhead.answers(1, [None]):
            assert other()
        assert not other(), "it computes again"
    assert other()


def test_what_a_provider_has_no_room_for_waits_in_the_store_and_goes_when_there_is(pipeline: Pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="e1"))
    pipeline.take()
    pipeline.expand()
    bulkhead, id = pipeline.bulkhead, pipeline.provider.id
    held = enter_all(bulkhead, id)
    assert bulkhead.full() == [id]
    assert pipeline.deliver() == []
    assert pipeline.apns.sent == []
    assert pipeline.journal.ready("b", "urgent") == 1, "another process may have room"
    pipeline.publish(message(id="e2"))
    bulkhead._in_work[id] -= 1
    pipeline.run()
    assert len(pipeline.apns.sent) == 2
    assert pipeline.journal.backlog() == (0, 0)
    assert bulkhead._in_work[id] == held - 1


def test_a_batch_gives_its_share_back_whatever_becomes_of_it(pipeline: Pipeline):
    pipeline.member("general", "leia", "han")
    for answer in (Answer(200), NoAnswer("unknown", "deadline"), Answer(403, "InvalidProviderToken"), Answer(200)):
        pipeline.apns.answers[token("han")] = [answer]
        pipeline.publish(message(id=f"e{len(pipeline.apns.sent)}"))
        pipeline.run()
    assert not pipeline.bulkhead._in_work
