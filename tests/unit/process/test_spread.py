"""Who leads a partition depends on the server of that partition alone."""

from types import SimpleNamespace
from typing import Any

import pytest

from worker.core import spread as rules
from worker.process import spread
from worker.process.spread import Spread
from worker.state import redis

PARTITIONS = [SimpleNamespace(index=n, partition=n) for n in range(4)]
WORKERS = ("a", "b")
CHOSEN = rules.chosen(WORKERS, len(PARTITIONS))


class World:
    """The clock, the workers' signs of life, and who leads; an exception in their place is raised."""

    def __init__(self) -> None:
        self.now = 100.0
        self.signs: Any = WORKERS
        self.leader: dict[int, Any] = {}

    def read_signs(self, _fleet: object) -> list[Any]:
        if isinstance(self.signs, Exception):
            raise self.signs
        return [SimpleNamespace(name=name, age=0.0) for name in self.signs]

    def hint(self, partition: int) -> Any:
        def read() -> Any:
            if isinstance(found := self.leader.get(partition), Exception):
                raise found
            return found

        return SimpleNamespace(read=read)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr("worker.process.spread.signs.read", made.read_signs)
    monkeypatch.setattr(spread, "LeaderHint", made.hint)
    monkeypatch.setattr("worker.process.spread.time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def make(name: str = "a", partitions: int = 4) -> Any:
    return Spread(SimpleNamespace(partitions=PARTITIONS[:partitions], fleet=None), name)  # type: ignore[arg-type]


def test_with_one_partition_nothing_is_asked(world: World) -> None:
    world.signs, world.leader = redis.Error(), {0: redis.Error()}
    found = make(partitions=1)
    found.look()
    assert found.may_try(PARTITIONS[0])
    assert found.hand_over(0) is None


def test_the_chosen_one_tries_and_another_one_where_nobody_leads_for_a_second(world: World) -> None:
    found = make()
    found.look()
    mine, others = ([of for of in PARTITIONS if (CHOSEN[of.index] == "a") is is_mine] for is_mine in (True, False))
    assert [found.may_try(of) for of in mine] == [True, True]
    assert [found.may_try(of) for of in others] == [False, False]
    world.now += rules.PATIENCE
    world.leader[others[0].index] = "b 1"
    assert [found.may_try(of) for of in others] == [False, True]


def test_who_leads_goes_on_while_the_server_of_the_workers_signs_is_away(world: World) -> None:
    found = make()
    found.look()
    world.signs = redis.Away[0]("away")
    world.now += rules.STEADY
    found.look()
    mine = CHOSEN.index("a")
    assert found.may_try(PARTITIONS[mine])
    assert found.hand_over(mine) is None
    world.now += rules.PATIENCE
    fresh = make()
    fresh.look()
    assert not fresh.may_try(PARTITIONS[0]), "no worker is known to be the chosen one"
    assert fresh.hand_over(0) is None
    world.now += rules.PATIENCE
    assert fresh.may_try(PARTITIONS[0]), "nobody leads"


def test_the_server_of_another_partition_may_be_away(world: World) -> None:
    found = make()
    found.look()
    world.leader = dict.fromkeys(range(4), redis.Away[0]("away"))
    mine = CHOSEN.index("a")
    del world.leader[mine]
    found.look()
    assert found.may_try(PARTITIONS[mine])


def test_it_hands_over_to_who_has_been_the_chosen_one_for_a_while_and_not_again_soon(world: World) -> None:
    found = make()
    found.look()
    theirs = CHOSEN.index("b")
    assert found.hand_over(theirs) is None
    world.now += rules.STEADY
    found.look()
    assert found.hand_over(theirs) == "b"
    assert found.hand_over(theirs) is None
    world.now += rules.AGAIN
    assert found.hand_over(theirs) == "b"
