"""Messages of one channel are expanded in the order of the stream, whatever tasks do at the same time, and also when some die."""

import random
from typing import Any

import pytest

from worker.core.batch import OVERTAKE, channel_key
from worker.state.journal import DONE, Journal, Opened, Recorded, Step
from worker.state.redis import Redis

APPS, CHANNELS = ("demo", "other"), ("a", "b", "c")


def group_number(channel: str) -> int:
    return int(channel_key(channel)[:2], 16) % 32


class Fleet:
    """Tasks that take and expand, and what they expanded: (app, channel, place, page)."""

    def __init__(self, journal: Journal, redis: Redis, *, long: float = 0.0, seed: int = 0) -> None:
        self.journal, self.redis, self.random, self.long = journal, redis, random.Random(seed), long
        self.messages: dict[str, tuple[str, str, int, int]] = {}
        self.expanded: list[tuple[str, str, int, int]] = []
        self.freed = 0
        #: entry -> as it was taken last
        self.leases: dict[str, Opened] = {}

    def publish(self, n: int = 1, app: str = "", channel: str = "", pages: int = 0) -> None:
        opened = []
        for _ in range(n):
            place = len(self.messages) + 1
            # Of one millisecond, so that the order of places is not that of names.
            entry = f"1-{place}"
            self.redis.xadd("carillon:events", {"event": "{}"}, id=entry)
            one = Recorded(entry, app or self.random.choice(APPS), place, channel or self.random.choice(CHANNELS))
            self.messages[entry] = (one.app, one.channel, place, pages or 1 + (self.random.random() < self.long) * 2)
            opened.append(one)
        self.journal.open(opened, token=0)

    def take(self, limit: int = 500, lane: Any = "urgent") -> list[Opened]:
        opened = self.journal.take_messages(lane, limit)
        self.leases |= {one.entry: one for one in opened}
        return opened

    def expand(self, opened: list[Opened], most: int = 1000) -> set[str]:
        """As a fan-out does: what follows a message that goes on is given back. Returns what others were first with."""
        steps: list[Step] = []
        pages, unfinished = [], set()
        left = []
        for one in opened:
            app, channel, place, total = self.messages[one.entry]
            page = int(one.cursor or 0)
            if len(steps) == most or (app, channel) in unfinished:
                left.append(one)
                continue
            last = page + 1 == total
            if not last:
                unfinished.add((app, channel))
            steps.append(one.step(DONE if last else str(page + 1)))
            pages.append((app, channel, place, page))
        stale, freed = self.journal.expand(steps, [], {}, [])
        if stale:
            return stale | self.expand([one for one in opened if one.entry not in stale], most)
        self.expanded += pages
        self.freed += freed
        self.journal.give_back("urgent", left)
        return set()

    def leases_end(self, *tasks: list[Opened]) -> None:
        members = {
            f"g:{self.group(one)}" if one.turn != "0" else f"e:{one.entry}": 0
            for task in tasks
            for one in task
            if self.leases[one.entry] is one
        }
        if members:
            self.redis.zadd("carillon:due", members, xx=True)
        self.journal.make_due_ready()

    def group(self, one: Opened) -> str:
        app, channel, _, _ = self.messages[one.entry]
        return f"{group_number(channel)}@{app}"

    def of(self, app: str, channel: str) -> list[tuple[int, int]]:
        return [(place, page) for a, c, place, page in self.expanded if (a, c) == (app, channel)]

    def assert_in_order(self) -> None:
        for app in APPS:
            for channel in CHANNELS:
                found = self.of(app, channel)
                assert found == sorted(found), (app, channel)

    def assert_nothing_left(self) -> None:
        assert sorted(self.expanded) == sorted(
            (app, channel, place, page)
            for app, channel, place, pages in self.messages.values()
            for page in range(pages)
        )
        keys: Any = self.redis.keys("carillon:held:*")
        assert keys == []
        assert self.redis.keys("carillon:taken:*") == []
        assert self.redis.hgetall("carillon:expanding_channels") == {}
        assert self.redis.hgetall("carillon:expanding_groups") == {}
        assert self.redis.zcard("carillon:due") == 0
        assert self.redis.hlen("carillon:open") == 0


@pytest.fixture
def fleet(journal: Journal, redis: Redis) -> Fleet:
    return Fleet(journal, redis)


def of_the_same_group(channel: str) -> str:
    """Another channel."""
    return next(name for n in range(10_000) if group_number(name := f"{channel}{n}") == group_number(channel))


def places(opened: list[Opened]) -> list[int]:
    return [one.place for one in opened]


def test_a_channel_waits_for_the_task_that_has_it_and_others_pass(fleet):
    fleet.publish(2, "demo", "a")
    first = fleet.take()
    fleet.publish(2, "demo", "a")
    fleet.publish(1, "demo", "b")
    fleet.publish(1, "other", "a")
    assert sorted(places(fleet.take())) == [5, 6]
    assert fleet.take() == []
    fleet.publish(1, "demo", "a")
    fleet.expand(first)
    assert fleet.freed == 3, "who expands wakes the next"
    assert places(fleet.take()) == [3, 4, 5 + 2]


def test_what_stands_behind_many_of_a_busy_channel_is_found(fleet):
    fleet.publish(1, "demo", "a")
    first = fleet.take()
    fleet.publish(30, "demo", "a")
    fleet.publish(1, "demo", "b")
    assert places(fleet.take(10)) == [32]
    assert fleet.take(10) == []
    fleet.expand(first)
    assert places(fleet.take()) == list(range(2, 32))


def test_what_a_dead_worker_had_is_before_what_came_later(fleet):
    fleet.publish(12, "demo", "a")
    dead = fleet.take(12)
    fleet.publish(3, "demo", "a")
    assert fleet.take(2) == []
    fleet.leases_end(dead)
    assert places(fleet.take(4)) == [1, 2, 3, 4]
    assert fleet.take(4) == []


def test_what_a_task_gives_back_is_before_what_waited(fleet):
    fleet.publish(3, "demo", "a")
    first = fleet.take()
    fleet.publish(2, "demo", "a")
    assert fleet.take() == []
    fleet.expand(first, most=1)
    assert places(fleet.take()) == [2, 3, 4, 5]


def test_a_channel_of_several_pages_is_expanded_to_its_end_first(fleet):
    fleet.publish(1, "demo", "a", pages=3)
    fleet.publish(2, "demo", "a", pages=2)
    fleet.publish(1, "demo", "b")
    fleet.expand(fleet.take())
    assert fleet.take() == []
    for _ in range(2):
        fleet.expand(fleet.take(1, "bulk"))
    assert fleet.freed == 1, "one after another: the next is as long"
    second = fleet.take()
    assert places(second) == [2]
    fleet.expand(second)
    assert fleet.take() == []
    fleet.expand(fleet.take(1, "bulk"))
    fleet.expand(fleet.take())
    fleet.expand(fleet.take(1, "bulk"))
    fleet.assert_in_order()
    fleet.assert_nothing_left()


def test_a_channel_waits_half_a_minute_and_then_goes_and_that_is_counted(fleet, redis):
    fleet.publish(1, "demo", "a", pages=3)
    fleet.expand(fleet.take())
    page = fleet.take(1, "bulk")
    fleet.publish(2, "demo", "a")
    assert fleet.take() == []
    [(member, at)] = [(m, at) for m, at in redis.zrange("carillon:due", 0, -1, withscores=True) if m.startswith(b"c:")]
    assert OVERTAKE - 5 < at - redis.time()[0] <= OVERTAKE + 1
    redis.zadd("carillon:due", {member: 0})
    assert fleet.journal.make_due_ready() == 2
    assert fleet.journal.counts("demo")["channels_overtaken"] == 1
    fleet.expand(fleet.take())
    assert fleet.of("demo", "a") == [(1, 0), (2, 0), (3, 0)]
    fleet.expand(page)
    fleet.expand(fleet.take(1, "bulk"))
    fleet.assert_nothing_left()


def test_a_message_that_is_given_up_frees_its_channel(fleet):
    fleet.publish(1, "demo", "a")
    [one] = fleet.take()
    fleet.publish(1, "demo", "a")
    assert fleet.take() == []
    fleet.journal.abandon(one.entry)
    assert places(fleet.take()) == [2]


def test_a_message_that_is_tried_again_holds_its_channel_and_no_other_of_its_group(fleet, redis):
    beside = of_the_same_group("a")
    fleet.publish(1, "demo", "a")
    fleet.publish(1, "demo", beside)
    fleet.publish(1, "demo", "a")
    failing, other, behind = fleet.take()
    assert fleet.journal.postpone(failing) == 0
    fleet.expand([other])
    fleet.journal.give_back("urgent", [behind])
    fleet.publish(1, "demo", beside)
    assert places(fleet.take()) == [4], "the channel waits"
    redis.zadd("carillon:due", {f"e:{failing.entry}": 0})
    assert fleet.journal.make_due_ready() == 1
    assert fleet.take() == [], "its group is in work"


def test_a_task_that_lost_its_group_expands_nothing_of_it(fleet):
    fleet.publish(3, "demo", "a")
    slow = fleet.take(1)
    fleet.leases_end(slow)
    again = fleet.take(2)
    assert fleet.journal.expand([one.step(DONE) for one in slow], [], {}, []) == ({slow[0].entry}, 0)
    fleet.journal.give_back("urgent", slow)
    assert fleet.journal.postpone(slow[0]) == 0
    fleet.expand(again)
    assert fleet.of("demo", "a") == [(1, 0), (2, 0)]
    assert places(fleet.take()) == [3]


def test_what_is_published_to_a_group_in_work_wakes_nobody(fleet, journal):
    fleet.publish(1, "demo", "a")
    task = fleet.take()
    for name, ready in (("a", 0), ("b", 1)):
        entry = fleet.redis.xadd("carillon:events", {"event": "{}"}).decode()
        assert journal.open([Recorded(entry, "demo", 9, name)], token=0) == ready
    assert journal.load() == {"demo": (2, 0)}, "but it is load"
    assert journal.ready("e", "urgent") == 1
    assert fleet.journal.expand([one.step(DONE) for one in task], [], {}, []) == (set(), 1)


def test_messages_that_a_release_before_opened_wait_for_nobody(fleet, redis):
    for n, state in enumerate(("demo\n", "demo\n\n2"), start=1):
        redis.xadd("carillon:events", {"event": "{}"}, id=f"1-{n}")
        redis.hset("carillon:open", f"1-{n}", 1)
        redis.hset("carillon:expanding", f"1-{n}", state)
        redis.rpush("carillon:ready:e:urgent:demo", f"1-{n}")
    redis.rpush("carillon:ready:e:urgent", "demo")
    assert places(fleet.take(1)) == [0]
    assert places(fleet.take(1)) == [2]


@pytest.mark.parametrize("seed", range(10))
def test_whatever_two_workers_do_and_however_often_one_dies_a_channel_keeps_its_order(journal, redis, seed):
    fleet = Fleet(journal, redis, long=0.15 if seed % 2 else 0.0, seed=seed)
    dice = fleet.random
    tasks: list[list[Opened]] = []
    for _ in range(400):
        what = dice.random()
        if what < 0.25 and len(fleet.messages) < 250:
            fleet.publish(dice.randrange(1, 12))
        elif what < 0.45:
            tasks.append(fleet.take(dice.choice((1, 3, 20))))
        elif what < 0.6:
            tasks.append(fleet.take(1, "bulk"))
        elif tasks:
            task = tasks.pop(dice.randrange(len(tasks)))
            if what > 0.9:
                fleet.leases_end(task)
                if what > 0.95:  # it was only slow
                    tasks.append(task)
            else:
                fleet.expand(task, most=dice.choice((1, 2, 1000)))
    fleet.leases_end(*tasks)
    while some := [*fleet.take(), *fleet.take(1, "bulk")]:
        fleet.expand(some)
    fleet.assert_in_order()
    fleet.assert_nothing_left()
