"""A backlog is taken in large pieces, which have their bounds: what is held, how many members are considered, who is at fault."""

import secrets
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from producers.events import UserMuted, UserUnmuted
from tests.integration.pipeline.harness import message, stamp, user_of
from worker.core.model import AppSettings
from worker.core.position import position
from worker.database.postgres import open_pool
from worker.pipeline.expansion.fan_out import FanOut
from worker.process import tasks


def test_documents_in_hand_are_bounded_and_the_others_stay_first_in_line(pipeline, monkeypatch):
    pipeline.registry.save_app(AppSettings("other"))
    pipeline.publish(*(message(id=f"e{n}", text="x" * 1000) for n in range(8)))
    pipeline.publish(*(replace(message(id=f"o{n}", text="x" * 1000), app="other") for n in range(2)))
    pipeline.take()
    monkeypatch.setattr("worker.state.journal.OCTETS", 2_500)
    first = pipeline.journal.take_messages("urgent", 6)
    assert len(first) == 3, "the third brings it over the bound"
    taken, some = [*first], first
    while some:
        assert len(some) <= 3
        assert pipeline.redis.zcard("carillon:due") == len({one.app for one in some}), (
            "each group of channels is leased, once"
        )
        pipeline.fan_out.expand(some)
        some = pipeline.journal.take_messages("urgent", 6)
        taken += some
    assert len(taken) == 10
    by_app = {app: [position(one.entry) for one in taken if one.app == app] for app in ("demo", "other")}
    assert {app: len(some) for app, some in by_app.items()} == {"demo": 8, "other": 2}
    assert all(some == sorted(some) for some in by_app.values()), "each app in the order of the stream"
    assert pipeline.journal.ready("e", "urgent") == 0
    assert pipeline.redis.zcard("carillon:due") == 0


def test_a_document_over_the_bound_is_taken_alone(pipeline, monkeypatch):
    pipeline.publish(message(id="e1", text="x" * 3000), message("c2", id="e2"))
    pipeline.take()
    monkeypatch.setattr("worker.state.journal.OCTETS", 100)
    assert len(pipeline.journal.take_messages("urgent", 10)) == 1
    assert len(pipeline.journal.take_messages("urgent", 10)) == 1
    assert pipeline.journal.take_messages("urgent", 10) == []


def test_messages_with_many_members_are_expanded_a_few_at_a_time_in_their_order(pipeline, monkeypatch):
    monkeypatch.setattr("worker.pipeline.expansion.read.MEMBERS", 2_500)
    channels = [f"c{n}" for n in range(6)]
    for channel in channels:
        pipeline.member(channel, "leia", *(f"{channel}u{n}" for n in range(1_300)))
    pipeline.publish(*(message(id=f"e-{channel}", channel=channel) for channel in channels))
    pipeline.take()
    opened = pipeline.journal.take_messages("urgent", 500)
    expanded = pipeline.fan_out.expand(opened)
    assert [one.entry for one in expanded.remaining] == [one.entry for one in opened[4:]], "two pages at once, twice"
    pipeline.journal.give_back("urgent", expanded.remaining)
    assert pipeline.journal.ready("e", "urgent") == 2
    assert [one.entry for one in pipeline.journal.take_messages("urgent", 500)] == [one.entry for one in opened[4:]]


@pytest.mark.parametrize("members", [5, 12, 100])
def test_whatever_is_left_for_later_everybody_is_notified_once(pipeline, monkeypatch, members):
    monkeypatch.setattr("worker.pipeline.expansion.read.MEMBERS", members)
    channels = [f"c{n}" for n in range(4)]
    for channel in channels:
        pipeline.member(channel, "leia", *(f"{channel}u{n}" for n in range(7)))
    pipeline.publish(*(message(id=f"e-{channel}", channel=channel) for channel in channels))
    pipeline.publish(message(id="named", channel="c0", recipients=[f"c1u{n}" for n in range(7)]))
    sent = pipeline.run()
    assert Counter(map(user_of, sent)) == {
        f"{channel}u{n}": 1 + (channel == "c1") for channel in channels for n in range(7)
    }
    assert pipeline.journal.backlog() == (0, 0)


def test_who_is_silent_has_the_same_reason_in_a_backlog_and_alone(pipeline, monkeypatch):
    """The cap leaves out whoever has no reason of their own: that must not hang on how much is read at once."""
    monkeypatch.setattr("worker.pipeline.expansion.read.MEMBERS", 10)
    pipeline.save_app(member_cap=2)
    for channel in ("c0", "c1", "c2"):
        pipeline.member(channel, "leia", "a", "b", "c")
        pipeline.member(channel, "d", "e", devices=0)
    pipeline.publish(*(message(id=f"e{n}", channel=f"c{n}") for n in range(3)))
    pipeline.run()
    pipeline.publish(message(id="alone", channel="c0"))
    pipeline.run()
    said = {name: pipeline.account(name)["page:0"]["skipped"] for name in ("e0", "e1", "e2", "alone")}
    assert said["alone"] == {"sender": ["leia"], "no_device": ["d", "e"], "over_member_cap": ["c"]}
    assert set(map(str, said.values())) == {str(said["alone"])}


def test_what_somebody_else_has_meanwhile_is_not_given_back(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="e1"), message(id="e2"))
    pipeline.take()
    first, second = pipeline.journal.take_messages("urgent", 10)
    pipeline.fan_out.expand([first])
    pipeline.later()
    pipeline.journal.give_back("urgent", [first, second])
    assert [one.entry for one in pipeline.journal.take_messages("urgent", 10)] == [second.entry]


def test_a_message_that_lists_its_users_is_decided_after_one_round_trip_to_postgres(pipeline):
    pipeline.member("general", "leia", "han", "lando")
    pipeline.publish(message(id="e1", recipients=["han", "leia", "lando", "nobody"]))
    pipeline.take()
    with open_pool(pipeline.postgres_url, size=1) as pool:
        fan_out = FanOut(
            *(pool, pipeline.partition, pipeline.journal, pipeline.apps),
            page=1000,
            batch=500,
            now=lambda: pipeline.now,
            new_id=lambda: secrets.token_hex(8),
        )
        fan_out.expand(pipeline.journal.take_messages("urgent", 10))
        assert pool.get_stats()["requests_num"] == 1
    pipeline.deliver()
    assert Counter(map(user_of, pipeline.apns.sent)) == {"han": 1, "lando": 1}
    assert pipeline.account("e1")["page:0"]["skipped"] == {"sender": ["leia"], "no_device": ["nobody"]}


@pytest.mark.parametrize("listed", [3, 2], ids=["read with the channels", "read once it is known who is meant"])
def test_who_muted_the_sender_or_is_listed_in_a_channel_with_others_is_decided_alike(pipeline, monkeypatch, listed):
    monkeypatch.setattr("worker.pipeline.expansion.read.LISTED", listed)
    pipeline.member("general", "leia", "han", "lando", "chewie")
    pipeline.member("others", "luke", "wedge")
    pipeline.publish(UserMuted(**stamp(), user="lando", target="leia"))
    pipeline.publish(message(id="e1", recipients=["han", "lando", "chewie"]), message("others", sender="luke", id="e2"))
    assert Counter(map(user_of, pipeline.run())) == {"han": 1, "chewie": 1, "wedge": 1}
    assert pipeline.account("e1")["page:0"]["skipped"] == {"muted_sender": ["lando"]}
    pipeline.publish(UserUnmuted(**stamp(1), user="lando", target="leia"))
    pipeline.publish(message(id="e3", recipients=["han", "lando", "chewie"], seconds=2))
    assert Counter(map(user_of, pipeline.run())) == {"han": 1, "lando": 1, "chewie": 1}


def test_an_expansion_on_the_bulk_lane_pauses_between_its_steps(small_pages):
    """Each step of a page computes for some milliseconds, for which an urgent message of the process would wait."""
    small_pages.member("general", "leia", *(f"u{n}" for n in range(12)))
    small_pages.publish(message(id="e1"))
    small_pages.take()
    small_pages.fan_out.expand(small_pages.journal.take_messages("urgent", 1))
    paused: list[int] = []
    runtime: Any = SimpleNamespace(bulkhead=SimpleNamespace(pause=lambda: paused.append(1)))
    of: Any = SimpleNamespace(fan_out=small_pages.fan_out, journal=small_pages.journal)
    [opened] = small_pages.journal.take_messages("bulk", 1)
    tasks._expand(runtime, of, [opened], bulk=True)
    assert len(paused) >= 3, "after the page is read, once it is decided, and before it is written"


class Picky:
    """A fan-out that has a bug with some messages."""

    def __init__(self, fan_out, at_fault):
        self.fan_out, self.at_fault, self.calls = fan_out, at_fault, 0

    def expand(self, opened, **how):
        self.calls += 1
        if self.at_fault & {one.entry for one in opened}:
            raise TypeError("a bug")
        return self.fan_out.expand(opened, **how)


@pytest.mark.parametrize("count", [1, 2, 65])
def test_who_is_at_fault_is_found_by_halves_and_dead_lettered_after_its_tries(pipeline, count):
    pipeline.member("general", "leia", "han")
    pipeline.publish(*(message(id=f"e{n}") for n in range(count)))
    pipeline.take()
    opened = pipeline.journal.take_messages("urgent", 500)
    culprit = opened[count // 2]
    picky = Picky(pipeline.fan_out, {culprit.entry})
    runtime: Any = SimpleNamespace(ledger=pipeline.ledger)
    of: Any = SimpleNamespace(fan_out=picky, journal=pipeline.journal)
    tasks._expand(runtime, of, opened)
    assert picky.calls <= 1 + 2 * count.bit_length(), "not one by one"
    assert len(pipeline.run()) == count - 1
    for _ in range(tasks.TRIES - 1):
        assert pipeline.ledger.dead_letters() == []
        pipeline.later()
        [again] = pipeline.journal.take_messages("urgent", 500)
        tasks._expand(runtime, of, [again])
    [stored] = pipeline.ledger.dead_letters()
    assert (stored.letter.entry, stored.letter.error) == (culprit.entry, "expansion failed: TypeError")
    assert pipeline.journal.backlog() == (0, 0)


def test_whoever_is_named_is_notified_beyond_the_cap(pipeline):
    pipeline.save_app(member_cap=3)
    users = [f"u{n:03}" for n in range(150)]
    pipeline.member("general", "leia", *users)
    named = users[1:]
    pipeline.publish(message(mentioned=named))
    assert Counter(map(user_of, pipeline.run())) == Counter([*named, "u000"])


@pytest.mark.parametrize("parent", [None, "root"])
def test_a_mention_of_everyone_reaches_every_page_of_a_channel(pipeline, monkeypatch, parent):
    """A cap, a thread and the size of a page cut nobody off."""
    pipeline.save_app(member_cap=3)
    monkeypatch.setattr(pipeline.fan_out, "_page", 20)
    users = [f"u{n:03}" for n in range(50)]
    pipeline.member("general", "leia", *users)
    pipeline.publish(message(mentions_everyone=True, parent_id=parent))
    assert Counter(map(user_of, pipeline.run())) == Counter(users)
    assert pipeline.journal.backlog() == (0, 0)


def test_messages_that_name_many_are_expanded_a_few_at_a_time(pipeline, monkeypatch):
    monkeypatch.setattr("worker.pipeline.expansion.read.MEMBERS", 5_000)
    pipeline.member("general", "leia", "han")
    nobody = [f"n{n}" for n in range(3_000)]
    pipeline.publish(*(message(id=f"e{n}", mentioned=nobody) for n in range(4)), message(id="r", recipients=nobody))
    pipeline.take()
    opened = pipeline.journal.take_messages("urgent", 500)
    left = pipeline.fan_out.expand(opened).remaining
    assert [one.entry for one in left] == [one.entry for one in opened[2:]], "4,000 candidates each"
