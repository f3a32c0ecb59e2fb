"""A home on another server that is silent costs who asks it a moment, and only two threads at most."""

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.processes import PATIENCE, wait_until
from worker.core.batch import Freed
from worker.state.gate import Gate
from worker.state.homes import Home, HomeAwayError, Homes
from worker.state.partition import Partition
from worker.state.parts import Parts
from worker.state.redis import Error, Unavailable


def partition(index: int, server: object, **scripts: Any) -> Partition:
    keys = SimpleNamespace(HOMEWARD=lambda: "homeward", NUMBERED=lambda id: f"numbered:{id}")
    scripted = SimpleNamespace(**scripts)
    found = SimpleNamespace(index=index, redis=server, keys=keys, scripts=scripted, gate=Gate())
    found.brief = found
    return cast("Partition", found)


class Silent:
    """A server that answers once it is `back`."""

    def __init__(self) -> None:
        self.back, self.asked = threading.Event(), 0

    def __call__(self, **_: object) -> tuple[int, int]:
        self.asked += 1
        assert self.back.wait(PATIENCE)
        return 0, 0


def test_two_wait_for_a_silent_home_and_others_go_on_at_once() -> None:
    server = Silent()
    home = Home(partition(1, object(), renew_claims=server, release_claims=server), 0, apart=True)
    home.partition.gate = Gate(0.01)
    home._apart = Parts(0.01)
    waiting = threading.Thread(target=home.release, args=("b1",))
    waiting.start()
    wait_until(lambda: server.asked == 1)
    for _ in range(2):
        with pytest.raises(HomeAwayError, match=r"does not answer$"):
            home.renew([], 8.0)
        wait_until(lambda: server.asked == 2)
    home._apart = Parts(PATIENCE)
    with pytest.raises(HomeAwayError, match="does not answer"):
        home.release("b1")
    assert server.asked == 2
    server.back.set()
    waiting.join()
    wait_until(lambda: _answers(home))
    assert not home._silent


def _answers(home: Home) -> bool:
    try:
        return home.renew([], 8.0) == Freed(0, 0)
    except Unavailable:
        return False


def test_on_the_same_server_no_thread_is_needed() -> None:
    asking: list[int] = []

    def renew(**_: object) -> tuple[int, int]:
        asking.append(threading.get_ident())
        return 0, 0

    server = object()
    partitions = [partition(0, server), partition(1, server, renew_claims=renew), partition(2, object())]
    every = Homes(partitions[0], lambda: partitions)
    every._home(1).renew([], 8.0)
    assert every._home(2)._apart is not None
    assert asking == [threading.get_ident()]


def test_a_note_that_a_home_does_not_take_holds_up_no_other_home() -> None:
    notes = [b"1 1 [[],[],[]]", b"2 2 [[],[],[]]", b"3 1 [[],[],[]]"]
    server = SimpleNamespace(lrange=lambda *_: list(notes), lrem=lambda _key, _n, note: notes.remove(note))
    taken: list[int] = []

    def fails(**_: object) -> None:
        raise Error("a right is missing")

    here = partition(0, server)
    every = [
        here,
        partition(1, server, carry_home=fails),
        partition(2, server, carry_home=lambda number, **_: taken.append(number)),
    ]
    with pytest.raises(Error):
        Homes(here, lambda: every).carry()
    assert (taken, len(notes)) == ([2], 2)
