import sys
from threading import Thread

from worker.state.recent_accounts import RecentAccounts


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_those_of_the_last_seconds_are_kept() -> None:
    clock = Clock()
    recent = RecentAccounts(clock, seconds=30, octets=1 << 20)
    recent.add([b"old"])
    clock.now = 20
    recent.add([b"newer", b"newest"])
    assert recent.all() == [b"old", b"newer", b"newest"]
    clock.now = 30
    assert recent.all() == [b"newer", b"newest"]
    clock.now = 50
    assert recent.all() == []


def test_large_ones_take_no_more_room_than_small_ones() -> None:
    recent = RecentAccounts(Clock(), seconds=30, octets=100_000)
    recent.add(b"x" * 10_000 + b"%d" % number for number in range(1_000))
    kept = recent.all()
    assert kept == [b"x" * 10_000 + b"%d" % number for number in range(991, 1_000)]
    recent.add([b"y" * 200_000])
    assert recent.all() == []
    recent.add([b"z"])
    assert recent.all() == [b"z"]


def test_ten_thousand_small_ones_fit_into_a_few_megabytes_with_what_python_needs() -> None:
    recent = RecentAccounts(Clock(), seconds=30, octets=4 << 20)
    recent.add(b"%0150d" % number for number in range(100_000))
    kept = recent.all()
    assert len(kept) > 10_000
    assert sum(sys.getsizeof(one) + sys.getsizeof((0.0, one)) for one in kept) <= 4 << 20


def test_threads_that_add_at_once_lose_nothing_and_keep_to_the_room() -> None:
    recent = RecentAccounts(Clock(), seconds=30, octets=4 << 20)

    def add(thread: int) -> None:
        for number in range(500):
            recent.add([b"%d.%d" % (thread, number)])

    threads = [Thread(target=add, args=(which,)) for which in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(recent.all()) == 4_000
    recent.add([b"x" * (3 << 20)] * 2)
    assert recent.all() == [b"x" * (3 << 20)]
