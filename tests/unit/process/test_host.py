"""A process that is asked to stop hears it at once, in whichever thread it waits."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.processes import PATIENCE
from worker.process.host import Stop


@pytest.fixture
def stop() -> Iterator[Stop]:
    made, before = Stop(), signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, made.heed)
    yield made
    signal.signal(signal.SIGHUP, before)


def test_it_waits_no_longer_than_it_may(stop: Stop) -> None:
    assert not stop.wait(0.01)
    assert not stop.is_set()


def test_a_thread_that_waits_for_a_signal_goes_on_when_it_comes(stop: Stop) -> None:
    heard = list[bool]()
    threads = [threading.Thread(target=lambda: heard.append(stop.wait(PATIENCE))) for _ in range(2)]
    for thread in threads:
        thread.start()
    os.kill(os.getpid(), signal.SIGHUP)
    for thread in threads:
        thread.join(PATIENCE)
    assert heard == [True, True], "each of them"
    assert stop.signal == "SIGHUP"


def test_the_main_thread_hears_its_own_signal_while_it_waits(stop: Stop) -> None:
    began = time.monotonic()
    threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGHUP)).start()
    assert stop.wait(PATIENCE)
    assert time.monotonic() - began < PATIENCE
    assert stop.wait(PATIENCE), "and does not wait again"
    assert stop.wait(), "nor without an end"
