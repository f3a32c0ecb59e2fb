"""Who takes part in a thread: by channel, members only, bounded, and what is known of a thread without its root."""

from typing import Any

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, user_of
from worker.facts import threads
from worker.facts.threads import ThreadKey
from worker.state.bursts import Burst, Bursts, Pushed


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


def participants(pipeline: Pipeline) -> list[tuple[str, str]]:
    with pipeline.pool.connection() as db:
        rows = db.execute("SELECT channel, user_id FROM carillon.thread_participants ORDER BY 1, 2").fetchall()
    return [(channel, user) for channel, user in rows]


def pushed(pipeline: Pipeline) -> list[str]:
    return sorted(map(user_of, pipeline.run()))


def test_threads_of_the_same_root_id_in_two_channels_do_not_mix(pipeline):
    pipeline.member("a", "han", "leia", "cy")
    pipeline.member("b", "han", "leia", "cy")
    pipeline.publish(said("e1", "a", "leia", "1"), said("e2", "b", "cy", "1"))
    pipeline.run()
    pipeline.publish(said("e3", "a", "han", "2", parent_id="1"))
    assert pushed(pipeline) == ["leia"], "cy wrote the other channel's message 1"


def test_only_members_take_part_though_anybody_may_be_named(pipeline):
    pipeline.member("general", "han", "leia", "cy")
    pipeline.publish(said("e1", "general", "leia", "root", mentioned=["ghost", "cy"]))
    pipeline.publish(said("e2", "general", "han", "r1", parent_id="root", mentioned=["ghost", "spectre"]))
    pipeline.run()
    assert participants(pipeline) == [("general", "cy"), ("general", "han"), ("general", "leia")]


def test_whom_the_event_lists_takes_part_without_being_stored(pipeline):
    pipeline.member("elsewhere", "han", "leia", "cy")
    everybody = ["han", "leia", "cy"]
    pipeline.publish(said("e1", "unknown", "leia", "root", recipients=everybody))
    pipeline.publish(
        said("e2", "unknown", "han", "r1", parent_id="root", mentioned=["cy", "ghost"], recipients=everybody)
    )
    assert pushed(pipeline) == ["cy", "cy", "han", "leia"]
    pipeline.publish(said("e3", "unknown", "leia", "r2", parent_id="root", recipients=[*everybody, "dan"]))
    assert pushed(pipeline) == ["cy", "han"], "of a thread whose root is known, those who take part"


def test_a_reply_to_a_root_that_nobody_saw_reaches_whom_it_lists(pipeline):
    pipeline.member("general", "ann", "han", "leia", "cy")
    pipeline.publish(said("e1", "general", "leia", "r1", parent_id="ancient", recipients=["ann", "leia"]))
    assert pushed(pipeline) == ["ann"]
    pipeline.publish(said("e2", "general", "han", "r2", parent_id="ancient", recipients=["ann"]))
    assert pushed(pipeline) == ["ann"], "the replies do not make the root known"
    pipeline.publish(said("e3", "general", "cy", "r3", parent_id="ancient"))
    assert pushed(pipeline) == ["han", "leia"], "without a list it is who took part since"


def test_the_author_of_an_unseen_root_may_be_named_by_the_event(pipeline):
    pipeline.member("general", "ann", "han", "leia")
    pipeline.publish(said("e1", "general", "leia", "r1", parent_id="ancient", parent_sender="ann"))
    assert pushed(pipeline) == ["ann"]
    pipeline.publish(said("e2", "general", "han", "r2", parent_id="ancient"))
    assert pushed(pipeline) == ["ann", "leia"], "named once is enough"


def test_a_root_of_whom_the_event_names_an_author_that_is_no_member_pushes_nobody(pipeline):
    pipeline.member("general", "han", "leia")
    pipeline.member("elsewhere", "ann")
    pipeline.publish(said("e1", "general", "leia", "r1", parent_id="ancient", parent_sender="ann"))
    assert pushed(pipeline) == []


def test_a_thread_takes_up_so_many_and_says_so(pipeline, monkeypatch):
    monkeypatch.setattr("worker.facts.threads.THREAD_PEOPLE", 3)
    names = [f"u{n}" for n in range(6)]
    pipeline.member("general", "leia", *names)
    pipeline.publish(said("e0", "general", "leia", "root"))
    pipeline.publish(*(said(f"e-{name}", "general", name, f"r-{name}", parent_id="root") for name in names))
    pipeline.run()
    assert participants(pipeline) == [("general", "leia"), ("general", "u0"), ("general", "u1")]
    pipeline.publish(said("last", "general", "leia", "r", parent_id="root"))
    assert pushed(pipeline) == ["u0", "u1"]
    assert pipeline.account("last")["page:0"]["skipped"] == {
        "sender": ["leia"],
        "thread_full": ["u2", "u3", "u4", "u5"],
    }


def test_mentions_of_nobody_cost_no_rows_and_are_taken_a_part_at_a_time(pipeline, monkeypatch):
    """Replies that name 1,000 users each who do not exist: what one end user can do."""
    monkeypatch.setattr("worker.pipeline.expansion.read.MEMBERS", 4_000)
    pipeline.member("general", "han", "leia")
    pipeline.publish(said("root", "general", "leia", "root"))
    pipeline.run()
    replies = 20
    pipeline.publish(
        *(
            said(f"e{n}", "general", "leia", f"r{n}", parent_id="root", mentioned=[f"g{n}-{k}" for k in range(1_000)])
            for n in range(replies)
        )
    )
    pipeline.take()
    assert participants(pipeline) == [("general", "leia")]
    opened = pipeline.journal.take_messages("urgent", 500)
    rounds = 0
    while opened:
        expanded = pipeline.fan_out.expand(opened)
        assert len(opened) - len(expanded.remaining) <= 4, "bounded by candidates"
        pipeline.journal.give_back("urgent", expanded.remaining)
        opened = pipeline.journal.take_messages("urgent", 500)
        rounds += 1
    assert rounds == 5
    assert pipeline.journal.backlog() == (0, 0)


def test_rows_of_the_release_before_still_count(pipeline):
    pipeline.member("general", "ann", "han", "leia", "cy")
    pipeline.run()
    with pipeline.pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.thread_participants (app, thread, user_id, since) VALUES"
            " ('demo', 'root', 'ann', 1), ('demo', 'root', 'cy', 1), ('demo', 'root', 'ghost', 1)"
        )
    pipeline.publish(said("e1", "general", "leia", "r1", parent_id="root"))
    assert pushed(pipeline) == ["ann", "cy"]
    assert ("general", "ann") in participants(pipeline), "taken over into the channel's own thread"
    with pipeline.pool.connection() as db:
        db.execute("DELETE FROM carillon.thread_participants WHERE channel = ''")
    pipeline.publish(said("e2", "general", "han", "r2", parent_id="root"))
    assert pushed(pipeline) == ["ann", "cy", "leia"]


def test_a_reply_that_the_release_before_recorded_finds_its_thread(pipeline):
    """It wrote the people without a channel, and no row of the thread."""
    with pipeline.pool.connection() as db:
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
    thread = threads.read(pipeline.pool, [key])[key]
    assert (thread.people, thread.root_seen, thread.full) == ({"zoe": 1}, True, False)


def test_who_came_to_the_thread_later_is_not_notified_of_what_was_before(pipeline):
    pipeline.member("general", "han", "leia", "cy")
    pipeline.publish(said("e0", "general", "leia", "root"))
    pipeline.publish(
        said("e1", "general", "leia", "r1", parent_id="root"), said("e2", "general", "han", "r2", parent_id="root")
    )
    pipeline.run()
    assert pipeline.account("e1")["page:0"]["pushed"] == []


class Clock:
    """Seconds that pass a little with each look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_what_takes_long_is_split_and_keeps_its_lease(pipeline):
    """Each look at the clock takes a second of a lease of 15: the work is split, and what is in hand is renewed."""
    pipeline.fan_out._clock = Clock(1.0)
    channels = [f"c{n}" for n in range(12)]
    for channel in channels:
        pipeline.member(channel, "leia", f"{channel}-han")
    pipeline.publish(*(message(channel, id=f"e-{channel}") for channel in channels))
    pipeline.take()
    opened = pipeline.journal.take_messages("urgent", 500)
    began = {at for _, at in pipeline.redis.zrange("carillon:due", 0, -1, withscores=True)}
    expanded = pipeline.fan_out.expand(opened)
    assert 0 < len(expanded.remaining) < 12
    assert [one.entry for one in expanded.remaining] == [one.entry for one in opened[-len(expanded.remaining) :]]
    renewed = {at for _, at in pipeline.redis.zrange("carillon:due", 0, -1, withscores=True)}
    assert min(renewed) > max(began), "those in hand are renewed"
    pipeline.journal.give_back("urgent", expanded.remaining)
    pipeline.expand()
    pipeline.deliver()
    assert sorted(map(user_of, pipeline.apns.sent)) == sorted(f"{channel}-han" for channel in channels), "nobody twice"


def test_a_lease_is_not_renewed_for_what_another_worker_has(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="e1"))
    pipeline.take()
    opened = pipeline.journal.take_messages("urgent", 10)
    pipeline.fan_out.expand(opened)
    pipeline.journal.renew_messages(opened)
    assert pipeline.redis.zcard("carillon:due") == 0


@pytest.mark.parametrize("later", [0, 60], ids=["in the same window", "in the next window"])
def test_a_message_is_folded_once_however_often_its_expansion_is_tried(pipeline, later):
    pipeline.save_app(fold_after=2, fold_window=60)
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="e1"), message(id="e2"))
    pipeline.take()
    first, second = pipeline.journal.take_messages("urgent", 10)
    real, pipeline.journal.expand = pipeline.journal.expand, lambda *_: 1 / 0
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            pipeline.fan_out.expand([first])
    pipeline.journal.expand = real
    pipeline.fan_out.expand([second])
    pipeline.now += later
    pipeline.fan_out.expand([first])
    pipeline.deliver()
    assert len(pipeline.apns.sent) == 2
    assert pipeline.journal.counts("demo").get("folded", 0) == 0


def test_a_message_that_is_counted_again_has_the_number_that_it_had(pipeline):
    bursts = Bursts(pipeline.partition)

    def count(page: str, *users: str) -> dict[str, int]:
        turns = bursts.count([Burst("demo", "general", 60, page, [*map(Pushed, users)])], START.timestamp())[0]
        return {user: turn.number for user, turn in turns.items()}

    assert count("1-0:0", "a", "b") == {"a": 1, "b": 1}
    assert count("2-0:0", "a") == {"a": 2}
    assert count("1-0:0", "a", "b") == {"a": 1, "b": 1}
    assert count("3-0:0", "a", "b") == {"a": 3, "b": 2}
    assert count("3-0:0", "b", "new") == {"b": 2, "new": 3}, "who had none then gets the message's highest count"
    assert bursts.count([], 0) == []
