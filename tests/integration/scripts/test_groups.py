"""Groups of channels: the journal names them as the scripts do, and what a task has of them is its own until it is done."""

import pytest

from worker.state import keys
from worker.state.journal import DONE, Journal, Recorded
from worker.state.redis import Redis

CHANNELS = [f"channel-{n}" for n in range(64)]


def opened(redis: Redis, journal: Journal, channels: list[str]) -> None:
    for n, _ in enumerate(channels, 1):
        redis.xadd(keys.EVENTS(), {"event": "{}"}, id=f"{n}-1")
    journal.open([Recorded(f"{n}-1", "demo", n, channel) for n, channel in enumerate(channels, 1)], token=0)


def test_the_journal_puts_a_channel_into_the_group_in_which_scripts_look_for_it(redis: Redis, journal: Journal) -> None:
    opened(redis, journal, CHANNELS)
    taken = journal.take_messages("urgent", 100)
    assert len({one.group for one in taken}) > 16
    for one in taken:
        journal.abandon(one.entry)
    assert not redis.exists(keys.EXPANDING(), keys.EXPANDING_GROUPS(), keys.DUE())
    assert not redis.keys(keys.TAKEN("*"))


def test_of_a_group_some_messages_are_expanded_and_the_others_stay_the_tasks(redis: Redis, journal: Journal) -> None:
    opened(redis, journal, ["general"] * 3)
    first, second, third = journal.take_messages("urgent", 10)
    assert journal.expand([first.step(DONE)], [], {}, []) == (set(), 0)
    assert journal.expand([first.step(DONE), second.step(DONE)], [], {}, []) == ({first.entry}, 0)
    assert journal.expand([second.step(DONE)], [], {}, []) == (set(), 0)
    journal.give_back("urgent", [third])
    assert journal.expand([third.step(DONE)], [], {}, []) == ({third.entry}, 0), "another task may have it"
    [again] = journal.take_messages("urgent", 10)
    assert journal.expand([again.step(DONE)], [], {}, []) == (set(), 0)
    assert not redis.exists(keys.OPEN(), keys.EXPANDING(), keys.EXPANDING_GROUPS(), keys.TAKEN(again.group))


def test_messages_with_and_without_a_channel_are_expanded_together(redis: Redis, journal: Journal) -> None:
    opened(redis, journal, ["", "general", ""])
    taken = journal.take_messages("urgent", 10)
    assert sorted((one.entry, bool(one.group)) for one in taken) == [("1-1", False), ("2-1", True), ("3-1", False)]
    goes_on = next(one for one in taken if one.group)
    steps = [one.step("[8]" if one is goes_on else DONE) for one in taken]
    assert journal.expand(steps, [], {}, []) == (set(), 0)
    [page] = journal.take_messages("bulk", 10)
    assert (page.entry, page.cursor, page.group) == ("2-1", "[8]", "")
    assert journal.expand([goes_on.step(DONE)], [], {}, []) == ({"2-1"}, 0)
    assert journal.expand([page.step(DONE)], [], {}, []) == (set(), 0)
    assert not redis.exists(keys.OPEN(), keys.EXPANDING(), keys.EXPANDING_CHANNELS(), keys.DUE())


@pytest.mark.parametrize("order", [(1, 2, 3, 4), (1, 3, 2, 4), (2, 4, 1, 3), (4, 3, 2, 1), (1, 2, 4, 3)])
@pytest.mark.parametrize("app", ["", "@demo"], ids=["inlet", "own stream"])
def test_what_is_done_is_not_opened_again_in_whatever_order_it_came(
    redis: Redis, journal: Journal, order: tuple[int, ...], app: str
) -> None:
    stream = keys.APP_EVENTS("demo") if app else keys.EVENTS()
    for n in range(1, 5):
        redis.xadd(stream, {"event": "{}"}, id=f"{n}-1")
    messages = [Recorded(f"{n}-1{app}", "demo", n, "general") for n in order]
    assert journal.open(messages, token=0) == 4
    assert redis.hget(keys.OPENED(), stream) == b"4-1"
    taken = journal.take_messages("urgent", 10)
    journal.expand([one.step(DONE) for one in taken], [], {}, [])
    assert journal.open(messages, token=0) == 0
    assert not redis.exists(keys.OPEN(), keys.EXPANDING())


def test_what_is_open_is_not_opened_again_where_nobody_knows_how_far_its_stream_was(
    redis: Redis, journal: Journal
) -> None:
    messages = [Recorded(f"{n}-1", "demo", n, "general") for n in (1, 2, 3)]
    for one in messages:
        redis.xadd(keys.EVENTS(), {"event": "{}"}, id=one.entry)
    journal.open(messages, token=0)
    redis.delete(keys.OPENED())
    journal.open(messages, token=0)
    assert len(journal.take_messages("urgent", 10)) == 3


def test_what_is_too_much_at_once_stays_in_the_line_of_its_group(redis: Redis, journal: Journal) -> None:
    for n in range(1, 5):
        redis.xadd(keys.EVENTS(), {"event": "x" * 700_000}, id=f"{n}-1")
    journal.open([Recorded(f"{n}-1", "demo", n, "general") for n in range(1, 5)], token=0)
    for expected in (["1-1", "2-1"], ["3-1", "4-1"]):
        taken = journal.take_messages("urgent", 10)
        assert [one.entry for one in taken] == expected
        group = taken[0].group
        assert redis.lrange(keys.TAKEN(group), 0, -1) == [entry.encode() for entry in expected]
        assert not journal.take_messages("urgent", 10), "the group is a task's"
        journal.expand([one.step(DONE) for one in taken], [], {}, [])
    assert not redis.exists(keys.OPEN(), keys.READY_IN_GROUP(group), keys.TAKEN(group))
