"""What a leader opened goes to an idle thread of its process, and to nobody where there is none."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.processes import PATIENCE, wait_until
from worker.process.hand_over import HandOver


@pytest.fixture
def threads() -> Iterator[HandOver]:
    made = HandOver(1)
    made.start(lambda: True)
    yield made
    made.stop()


def test_an_idle_thread_takes_the_work(threads: HandOver) -> None:
    done = threading.Event()
    wait_until(lambda: threads.offer(done.set))
    assert done.wait(PATIENCE)


def test_all_that_they_do_is_within_what_was_given() -> None:
    order, done = list[str](), threading.Event()

    @contextmanager
    def within() -> Iterator[None]:
        order.append("begins")
        yield
        order.append("ends")
        done.set()

    threads = HandOver(1, within=within)
    threads.start(lambda: True)
    wait_until(lambda: threads.offer(lambda: order.append("works")))
    assert done.wait(PATIENCE)
    assert order == ["begins", "works", "ends"]
    threads.stop()


def test_nobody_takes_what_is_offered_while_all_threads_work(threads: HandOver) -> None:
    began, goes_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        goes_on.wait(PATIENCE)

    wait_until(lambda: threads.offer(work))
    assert began.wait(PATIENCE)
    assert not threads.offer(done.set)
    goes_on.set()
    wait_until(lambda: threads.offer(done.set))
    assert done.wait(PATIENCE)


def test_one_idle_thread_takes_one_work_though_it_has_not_begun_yet() -> None:
    threads, asked = HandOver(1), threading.Event()
    threads.start(lambda: True)
    wait_until(lambda: threads.offer(lambda: asked.wait(PATIENCE)))
    assert [threads.offer(asked.set) for _ in range(3)] == [False] * 3
    asked.set()
    threads.stop()


def test_work_that_fails_ends_no_thread(threads: HandOver, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise KeyError

    wait_until(lambda: threads.offer(fail))
    done = threading.Event()
    wait_until(lambda: threads.offer(done.set))
    assert done.wait(PATIENCE)
    assert "what was handed over failed" in caplog.text


def test_a_process_that_does_not_work_on_urgent_messages_takes_nothing() -> None:
    threads = HandOver(1)
    assert not threads.offer(print), "it has not started"
    threads.start(lambda: False)
    assert not threads.offer(print)
    threads.stop()
    threads.join(time.monotonic() + PATIENCE)


def test_who_leaves_a_thread_to_others_takes_the_last_idle_one_from_nobody(threads: HandOver) -> None:
    wait_until(threads.reserve)
    threads.give(None)
    assert not threads.offer(print, spare=1)
    done = threading.Event()
    wait_until(lambda: threads.offer(done.set))
    assert done.wait(PATIENCE)


def test_a_thread_that_is_reserved_is_nobody_else_s(threads: HandOver) -> None:
    done = threading.Event()
    wait_until(threads.reserve)
    assert not threads.reserve()
    assert not threads.offer(done.set)
    threads.give(done.set)
    assert done.wait(PATIENCE)


def test_a_thread_that_is_given_nothing_is_idle_again(threads: HandOver) -> None:
    wait_until(threads.reserve)
    threads.give(None)
    assert threads.reserve()
    threads.give(None)


def test_what_a_reserved_thread_is_given_after_the_stop_is_done() -> None:
    """A leader may have opened messages meanwhile, which are leased."""
    threads, done = HandOver(2), threading.Event()
    threads.start(lambda: True)
    wait_until(threads.reserve)
    wait_until(threads.reserve)
    threads.stop()
    assert not threads.reserve()
    threads.give(done.set)
    threads.give(None)
    assert done.wait(PATIENCE)
    threads.join(time.monotonic() + PATIENCE)
    assert not any(thread.is_alive() for thread in threads._threads)
