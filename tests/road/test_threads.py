"""Who takes part in a thread: by channel, members only, bounded, and what is known of a thread without its root."""

from typing import Any

import pytest

from producers import events as ev
from tests.road.harness import START, Road, message, stamp, user_of
from worker.database.directory import Directory, ThreadKey
from worker.state.bursts import Burst, Bursts


def said(event: str, channel: str, sender: str, id: str, **fields: Any) -> ev.MessageNew:
    """A message whose own id is `id`: unique within its channel only."""
    recipients = fields.pop("recipients", None)
    return ev.MessageNew(
        **stamp() | {"id": event},
        channel=ev.Channel(id=channel),
        message=ev.Message(id=id, text="hello", **fields),
        sender=ev.Sender(id=sender),
        recipients=recipients,
    )


def participants(road: Road) -> list[tuple[str, str]]:
    with road.pool.connection() as db:
        rows = db.execute("SELECT channel, user_id FROM carillon.thread_participants ORDER BY 1, 2").fetchall()
    return [(channel, user) for channel, user in rows]


def pushed(road: Road) -> list[str]:
    return sorted(map(user_of, road.run()))


def test_threads_of_the_same_root_id_in_two_channels_do_not_mix(road):
    road.member("a", "han", "leia", "cy")
    road.member("b", "han", "leia", "cy")
    road.publish(said("e1", "a", "leia", "1"), said("e2", "b", "cy", "1"))
    road.run()
    road.publish(said("e3", "a", "han", "2", parent_id="1"))
    assert pushed(road) == ["leia"], "cy wrote the other channel's message 1"


def test_only_members_take_part_though_anybody_may_be_named(road):
    road.member("general", "han", "leia", "cy")
    road.publish(said("e1", "general", "leia", "root", mentioned=["ghost", "cy"]))
    road.publish(said("e2", "general", "han", "r1", parent_id="root", mentioned=["ghost", "spectre"]))
    road.run()
    assert participants(road) == [("general", "cy"), ("general", "han"), ("general", "leia")]


def test_whom_the_event_lists_takes_part_without_being_stored(road):
    road.member("elsewhere", "han", "leia", "cy")
    everybody = ["han", "leia", "cy"]
    road.publish(said("e1", "unknown", "leia", "root", recipients=everybody))
    road.publish(said("e2", "unknown", "han", "r1", parent_id="root", mentioned=["cy", "ghost"], recipients=everybody))
    assert pushed(road) == ["cy", "cy", "han", "leia"]
    road.publish(said("e3", "unknown", "leia", "r2", parent_id="root", recipients=[*everybody, "dan"]))
    assert pushed(road) == ["cy", "han"], "of a thread whose root is known, those who take part"


def test_a_reply_to_a_root_that_nobody_saw_reaches_whom_it_lists(road):
    road.member("general", "ann", "han", "leia", "cy")
    road.publish(said("e1", "general", "leia", "r1", parent_id="ancient", recipients=["ann", "leia"]))
    assert pushed(road) == ["ann"]
    road.publish(said("e2", "general", "han", "r2", parent_id="ancient", recipients=["ann"]))
    assert pushed(road) == ["ann"], "the replies do not make the root known"
    road.publish(said("e3", "general", "cy", "r3", parent_id="ancient"))
    assert pushed(road) == ["han", "leia"], "without a list it is who took part since"


def test_the_author_of_an_unseen_root_may_be_named_by_the_event(road):
    road.member("general", "ann", "han", "leia")
    road.publish(said("e1", "general", "leia", "r1", parent_id="ancient", parent_sender="ann"))
    assert pushed(road) == ["ann"]
    road.publish(said("e2", "general", "han", "r2", parent_id="ancient"))
    assert pushed(road) == ["ann", "leia"], "named once is enough"


def test_a_root_of_whom_the_event_names_an_author_that_is_no_member_pushes_nobody(road):
    road.member("general", "han", "leia")
    road.member("elsewhere", "ann")
    road.publish(said("e1", "general", "leia", "r1", parent_id="ancient", parent_sender="ann"))
    assert pushed(road) == []


def test_a_thread_takes_up_so_many_and_says_so(road, monkeypatch):
    monkeypatch.setattr("worker.database.writes.THREAD_PEOPLE", 3)
    monkeypatch.setattr("worker.database.directory.THREAD_PEOPLE", 3)
    names = [f"u{n}" for n in range(6)]
    road.member("general", "leia", *names)
    road.publish(said("e0", "general", "leia", "root"))
    road.publish(*(said(f"e-{name}", "general", name, f"r-{name}", parent_id="root") for name in names))
    road.run()
    assert participants(road) == [("general", "leia"), ("general", "u0"), ("general", "u1")]
    road.publish(said("last", "general", "leia", "r", parent_id="root"))
    assert pushed(road) == ["u0", "u1"]
    assert road.account("last")["page:0"]["skipped"] == {"sender": ["leia"], "thread_full": ["u2", "u3", "u4", "u5"]}


def test_mentions_of_nobody_cost_no_rows_and_are_taken_a_part_at_a_time(road, monkeypatch):
    """Replies that name 1,000 users each who do not exist: what one end user can do."""
    monkeypatch.setattr("worker.pipeline.expansion.MEMBERS", 4_000)
    road.member("general", "han", "leia")
    road.publish(said("root", "general", "leia", "root"))
    road.run()
    replies = 20
    road.publish(
        *(
            said(f"e{n}", "general", "leia", f"r{n}", parent_id="root", mentioned=[f"g{n}-{k}" for k in range(1_000)])
            for n in range(replies)
        )
    )
    road.take()
    assert participants(road) == [("general", "leia")]
    opened = road.journal.take_messages("urgent", 500)
    rounds = 0
    while opened:
        expanded = road.fan_out.expand(opened)
        assert len(opened) - len(expanded.left) <= 4, "bounded by candidates"
        road.journal.give_back("urgent", expanded.left)
        opened = road.journal.take_messages("urgent", 500)
        rounds += 1
    assert rounds == 5
    assert road.journal.backlog() == (0, 0)


def test_rows_of_the_release_before_still_count(road):
    road.member("general", "ann", "han", "leia", "cy")
    road.run()
    with road.pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.thread_participants (app, thread, user_id, since) VALUES"
            " ('demo', 'root', 'ann', 1), ('demo', 'root', 'cy', 1), ('demo', 'root', 'ghost', 1)"
        )
    road.publish(said("e1", "general", "leia", "r1", parent_id="root"))
    assert pushed(road) == ["ann", "cy"]
    assert ("general", "ann") in participants(road), "taken over into the channel's own thread"
    with road.pool.connection() as db:
        db.execute("DELETE FROM carillon.thread_participants WHERE channel = ''")
    road.publish(said("e2", "general", "han", "r2", parent_id="root"))
    assert pushed(road) == ["ann", "cy", "leia"]


def test_a_reply_that_the_release_before_recorded_finds_its_thread(road):
    """It wrote the people without a channel, and no row of the thread."""
    with road.pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.members (app, channel, user_id, at, present) VALUES ('demo', 'c', 'ann', 1, true)"
        )
        db.execute(
            "INSERT INTO carillon.thread_participants (app, thread, user_id, since) SELECT 'demo', 'root', 'g' || n, 1"
            " FROM generate_series(1, 20000) n"
        )
        db.execute(
            "INSERT INTO carillon.thread_participants (app, thread, user_id, since) VALUES ('demo', 'root', 'zoe', 1)"
        )
        db.execute(
            "INSERT INTO carillon.members (app, channel, user_id, at, present) VALUES ('demo', 'c', 'zoe', 1, true)"
        )
    key = ThreadKey("demo", "c", "root", False)
    thread = Directory(road.pool).threads([key])[key]
    assert (thread.people, thread.root_seen, thread.full) == ({"zoe": 1}, True, False)


def test_who_came_to_the_thread_later_is_not_notified_of_what_was_before(road):
    road.member("general", "han", "leia", "cy")
    road.publish(said("e0", "general", "leia", "root"))
    road.publish(
        said("e1", "general", "leia", "r1", parent_id="root"), said("e2", "general", "han", "r2", parent_id="root")
    )
    road.run()
    assert road.account("e1")["page:0"]["pushed"] == []


class Clock:
    """Seconds that pass a little with each look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_what_takes_long_is_split_and_keeps_its_lease(road):
    """Each look at the clock takes a second of a lease of 15: the work is split, and what is in hand is renewed."""
    road.fan_out._clock = Clock(1.0)
    channels = [f"c{n}" for n in range(12)]
    for channel in channels:
        road.member(channel, "leia", f"{channel}-han")
    road.publish(*(message(channel, id=f"e-{channel}") for channel in channels))
    road.take()
    opened = road.journal.take_messages("urgent", 500)
    began = {at for _, at in road.redis.zrange("carillon:due", 0, -1, withscores=True)}
    expanded = road.fan_out.expand(opened)
    assert 0 < len(expanded.left) < 12
    assert [one.entry for one in expanded.left] == [one.entry for one in opened[-len(expanded.left) :]]
    renewed = {at for _, at in road.redis.zrange("carillon:due", 0, -1, withscores=True)}
    assert min(renewed) > max(began), "those in hand are renewed"
    road.journal.give_back("urgent", expanded.left)
    road.expand()
    road.deliver()
    assert sorted(map(user_of, road.apns.sent)) == sorted(f"{channel}-han" for channel in channels), "nobody twice"


def test_a_lease_is_not_renewed_for_what_another_worker_has(road):
    road.member("general", "leia", "han")
    road.publish(message(id="e1"))
    road.take()
    opened = road.journal.take_messages("urgent", 10)
    road.fan_out.expand(opened)
    road.journal.renew_messages(opened)
    assert road.redis.zcard("carillon:due") == 0


@pytest.mark.parametrize("later", [0, 60], ids=["in the same window", "in the next window"])
def test_a_message_is_folded_once_however_often_its_expansion_is_tried(road, later):
    road.save_app(fold_after=2, fold_window=60)
    road.member("general", "leia", "han")
    road.publish(message(id="e1"), message(id="e2"))
    road.take()
    first, second = road.journal.take_messages("urgent", 10)
    real, road.journal.expand = road.journal.expand, lambda *_: 1 / 0
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            road.fan_out.expand([first])
    road.journal.expand = real
    road.fan_out.expand([second])
    road.now += later
    road.fan_out.expand([first])
    road.deliver()
    assert len(road.apns.sent) == 2
    assert road.journal.counts("demo").get("folded", 0) == 0


def test_a_message_that_is_counted_again_has_the_number_that_it_had(road):
    bursts = Bursts(road.redis)

    def count(page: str, *users: str) -> dict[str, int]:
        return bursts.count([Burst("demo", "general", 60, page, users)], START.timestamp())[0]

    assert count("1-0:0", "a", "b") == {"a": 1, "b": 1}
    assert count("2-0:0", "a") == {"a": 2}
    assert count("1-0:0", "a", "b") == {"a": 1, "b": 1}
    assert count("3-0:0", "a", "b") == {"a": 3, "b": 2}
    assert count("3-0:0", "b", "new") == {"b": 2, "new": 3}, "who had none then is told the message's most"
    assert bursts.count([], 0) == []
