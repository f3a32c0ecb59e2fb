"""P4 and P5: the number on the icon, counted per device, cleared by place in the stream, exact whatever is repeated."""

import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, message, stamp, token, user_of
from worker.core.badges import Cleared
from worker.core.batch import COUNT, LEAVE, SHOW, Batch, Job, Sending, device_orders
from worker.core.batch_run import numbered
from worker.core.model import ACCEPTED, Answer
from worker.database.registry import StoredTemplate
from worker.state.journal import DONE, Journal, QueuedBatch, Recorded, Step, Taken
from worker.state.partition import untagged
from worker.state.redis import Redis, connect

NONE = object()


def badge_of(notification):
    return json.loads(notification.payload)["aps"].get("badge", NONE)


def counters(pipeline) -> dict[str, int]:
    """Badge numbers by token, as the server has them."""
    with pipeline.pool.connection() as db:
        tokens = dict(db.execute("SELECT id, token FROM carillon.devices").fetchall())
    found = pipeline.redis.hgetall("carillon:badge:demo")
    return {tokens[int(id)]: int(n) for id, n in found.items()}


def cleared(user: str = "han", device: str | None = None, **fields) -> ev.BadgeCleared:
    named = None if device is None else ev.DeviceToken(token=device)
    return ev.BadgeCleared(**stamp(), user=user, device=named, **fields)


@pytest.fixture
def two(pipeline: Pipeline) -> Pipeline:
    """Han with two devices."""
    pipeline.member("general", "leia", "han", devices=2)
    pipeline.take()
    return pipeline


@pytest.mark.parametrize(
    ("badge", "pushed", "after"),
    [
        pytest.param(None, [1, 1], [1, 1], id="a chat message counts one more"),
        pytest.param("increment", [1, 1], [1, 1], id="and so it does when it says so"),
        pytest.param("none", [NONE, NONE], [], id="none leaves the icon and the count"),
        pytest.param(7, [7, 7], [7, 7], id="a number is set"),
        pytest.param(0, [0, 0], [0, 0], id="nought clears the icon"),
    ],
)
def test_a_message_says_what_becomes_of_the_badge(two, badge, pushed, after):
    two.publish(message(badge=badge))
    assert [badge_of(n) for n in two.run()] == pushed
    assert sorted(counters(two).values()) == after


@pytest.mark.parametrize(
    ("aps", "pushed", "after"),
    [
        pytest.param(
            {"alert": "{{ message.text }}", "badge": "{{ badge }}"}, 3, {3}, id="counted: the message's own number"
        ),
        pytest.param({"alert": "{{ message.text }}", "badge": 9}, 9, {9}, id="a number"),
        pytest.param({"alert": "{{ message.text }}", "badge": None}, NONE, set(), id="left alone"),
    ],
)
def test_a_template_s_own_word_goes_before_the_message_s(two, aps, pushed, after):
    two.registry.save_template(StoredTemplate(two.provider.id, "", "", json.dumps({"aps": aps})))
    two.publish(message(badge=3))
    assert {badge_of(n) for n in two.run()} == {pushed}
    assert set(counters(two).values()) == after


def test_each_user_s_true_number_goes_before_all_else(two):
    two.member("general", "luke")
    two.publish(message(badge="none", badges={"han": 4, "nobody": 9}), message(id="e2", badges={"luke": 0}))
    sent = [(user_of(n), badge_of(n)) for n in two.run()]
    assert sorted(sent, key=str) == [("han", 4), ("han", 4), ("han", 5), ("han", 5), ("luke", 0), ("luke", NONE)]


def test_P5_seen_on_one_device_the_others_get_a_push_and_all_counts_start_at_0(two):
    two.publish(message())
    two.run()
    two.publish(cleared(device=token("han", 0)))
    [push] = two.run()
    assert (push.token, push.payload) == (token("han", 1), b'{"aps":{"badge":0}}')
    assert (push.heading.push_type, push.heading.priority) == ("alert", 5)
    assert counters(two) == {}
    assert two.journal.backlog() == (0, 0)


def test_P5_seen_anywhere_every_device_that_shows_a_number_gets_one_push(two):
    two.publish(message())
    two.run()
    two.publish(cleared(), cleared())
    assert [(user_of(n), badge_of(n)) for n in two.run()] == [("han", 0), ("han", 0)]
    assert len({n.token for n in two.apns.sent[-2:]}) == 2


def test_of_one_device_alone_nobody_else_hears(two):
    two.publish(message())
    two.run()
    two.publish(cleared(device=token("han", 0), others=False))
    assert two.run() == []
    assert counters(two) == {token("han", 1): 1}


@pytest.mark.parametrize("user", [pytest.param("han", id="no number to clear"), pytest.param("nobody", id="no device")])
def test_where_no_icon_shows_a_number_nothing_is_sent(two, user):
    two.publish(cleared(user))
    assert two.run() == []
    assert two.journal.backlog() == (0, 0)


def test_an_app_that_is_switched_off_clears_and_tells_nobody(two):
    two.publish(message())
    two.run()
    two.save_app(push_enabled=False)
    two.publish(cleared())
    assert two.run() == []
    assert counters(two) == {}


def test_P5_a_message_from_before_a_clearing_is_not_counted_however_late_it_is_delivered(two):
    two.publish(message(id="e1"))
    two.take()
    two.expand()
    two.publish(cleared(), message(id="e2"))
    two.run()
    assert set(counters(two).values()) == {1}
    assert {badge_of(n) for n in two.apns.sent} == {0, 1}


def test_a_clearing_that_is_repeated_for_want_of_an_answer_is_open_both_times(two):
    two.publish(message(id="e1"))
    two.run()
    two.publish(cleared())
    twice: list[set[str]] = []
    once = two.journal.clear_badges

    def clear(what):
        twice.extend((once(what), once(what)))
        return twice[-1]

    two.journal.clear_badges = clear
    assert [badge_of(n) for n in two.run()] == [0, 0]
    assert twice[0] == twice[1] != set()
    [entry] = twice[0]
    assert once([Cleared(entry, "demo", [1, 2])]) == set(), "what is done stays done"


def test_a_clearing_that_a_dead_leader_left_is_made_up_for_once(two):
    two.publish(message(id="e1"))
    two.run()

    def dies(cleared):
        raise SystemExit

    journal = two.intake._journal
    two.intake._journal = type("Dead", (), {"clear_badges": staticmethod(dies)})()
    two.publish(cleared(), message(id="e2"))
    with pytest.raises(SystemExit):
        two.take()
    two.intake._journal = journal
    assert two.lead() == 2
    two.run()
    assert set(counters(two).values()) == {1}
    assert two.lead() == 0
    assert two.journal.backlog() == (0, 0)


def test_P4_a_redelivered_message_counts_once(two):
    two.publish(message(id="e1"), message(id="e1"))
    two.run()
    two.publish(message(id="e1"))
    two.run()
    assert set(counters(two).values()) == {1}


def test_orders_name_each_message_once_and_what_becomes_of_the_badge():
    sendings = [Sending(f"{n}-0", f"e{n}", "", "", 0, "", badge=how) for n, how in enumerate((COUNT, LEAVE, SHOW, 5))]
    jobs = [Job(sending, device, "u", "00", 0) for device, sending in enumerate((0, 0, 1, 2, 3, 0))]
    jobs[1] = Job(0, 1, "u", "00", 0, badge=4)
    orders = "@0-0//,0,@0-0//?,1,@1-0//-,2,@2-0//?,3,@3-0//=5,4,@0-0//,5"
    assert device_orders(Batch("demo", 1, "urgent", sendings, jobs)) == orders


@pytest.mark.parametrize("badge", [None, 7])
def test_a_try_after_the_first_shows_the_number_as_it_is_by_then(two, badge):
    two.apns.answers[token("han", 0)] = [Answer(503, "ServiceUnavailable"), ACCEPTED]
    two.publish(message(id="e1", badge=badge))
    two.run()
    two.publish(message(id="e2", channel="other", recipients=["han"]))
    two.run()
    two.later()
    two.deliver()
    mine = [n for n in two.apns.sent if n.token == token("han", 0)]
    assert badge_of(mine[-1]) == counters(two)[token("han", 0)], "the last push that arrives carries the true number"


def test_a_clearing_while_a_message_waits_is_in_its_number(two):
    two.apns.answers[token("han", 0)] = [Answer(503, "ServiceUnavailable"), ACCEPTED]
    two.publish(message(id="e1"))
    two.run()
    two.publish(cleared(device=token("han", 1)))
    two.run()
    two.later()
    two.deliver()
    assert badge_of([n for n in two.apns.sent if n.token == token("han", 0)][-1]) == 0


def login(user: str, n: int, seconds: float) -> ev.DeviceRegistered:
    return ev.DeviceRegistered(**stamp(seconds), user=user, device=ev.Device(token=token("han", n)))


def logout(seconds: float) -> ev.DeviceUnregistered:
    return ev.DeviceUnregistered(**stamp(seconds), user="han", device=ev.DeviceToken(token=token("han", 0)))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([login("luke", 0, 5)], id="another user has it"),
        pytest.param([logout(5), login("han", 0, 6)], id="logged out and in again"),
        pytest.param([logout(5), login("luke", 0, 6)], id="logged out, and another user in"),
    ],
)
@pytest.mark.parametrize("dies", [False, True])
def test_a_device_that_changes_hands_or_logs_out_begins_anew(two, monkeypatch, changes, dies):
    two.publish(message(id="e1"), message(id="e2"))
    two.run()
    two.publish(*changes)
    if dies:
        with monkeypatch.context() as patch:
            patch.setattr(two.intake, "_journal", type("Dead", (), {"clear_badges": staticmethod(sys.exit)})())
            with pytest.raises(SystemExit):
                two.take()
        assert two.lead() == len(changes)
    two.publish(message(id="e3", recipients=["han", "luke"]))
    sent = two.run()
    assert {n.token: badge_of(n) for n in sent} == {token("han", 0): 1, token("han", 1): 3}


def test_a_device_that_registers_again_as_apps_do_at_each_start_counts_on(two):
    two.publish(message(id="e1"))
    two.run()
    two.publish(login("han", 0, 5), message(id="e2"))
    assert {badge_of(n) for n in two.run()} == {2}


def test_a_clearing_counts_from_its_place_whatever_its_clock_says(two):
    two.publish(message(id="e1"))
    two.run()
    two.now = time.time()
    two.publish(cleared())
    assert [badge_of(n) for n in two.run()] == [0, 0]


def test_a_clearing_that_is_not_expanded_for_ten_minutes_is_pushed_to_nobody_and_says_so(two):
    two.publish(message(id="e1"))
    two.run()
    two.now = time.time() + 700
    event = cleared()
    two.publish(event)
    assert two.run() == []
    assert two.account(event.id)["page:0"] == {"message": "too_old"}


def test_a_batch_of_a_release_before_keeps_the_numbers_that_it_had():
    jobs = [Job(0, 1, "u", "00", 0, 1, 4), Job(0, 2, "u", "00", 0)]
    batch = Batch("demo", 1, "urgent", [Sending("1-0", "e", "", "", 0, "")], jobs)
    assert numbered(batch, [9]) == [4, 9], "it asked for no number that it had"
    assert numbered(batch, [8, 9]) == [8, 9]


# Any number of workers, any repeats: the same numbers.


class Crew:
    """An intake in the stream's order and workers beside it, who hand every batch back some times, as if they died."""

    def __init__(self, journal: Journal, kinds: list[str], repeats: int) -> None:
        self.journal, self.kinds, self.repeats = journal, kinds, repeats
        self.done = threading.Event()
        #: Of each batch the badges that its deliveries had.
        self.seen: dict[str, list[int]] = defaultdict(list)

    def run(self, workers: int) -> None:
        with ThreadPoolExecutor(workers + 1) as pool:
            running = [pool.submit(self.intake), *(pool.submit(self.work) for _ in range(workers))]
            for one in running:
                one.result()

    def intake(self) -> None:
        for n, kind in enumerate(self.kinds):
            entry = f"{1000 + n}-0"
            self.journal._redis.xadd("carillon:events", {"event": ""}, id=entry)
            for _ in range(2):
                if kind == "clear":
                    self.journal.clear_badges([Cleared(entry, "demo", [7], quiet=[7])])
                else:
                    self.open(entry)
        self.done.set()

    def open(self, entry: str) -> None:
        self.journal.open([Recorded(entry, "demo", 0)], token=0)
        batch = Batch("demo", 1, "urgent", [Sending(entry, entry, "", "", 0, "")], [Job(0, 7, "u", "00", 0)])
        self.journal.expand([Step(entry, "demo\n\n0\n", DONE)], [QueuedBatch(f"b{entry}", batch)], {}, [])

    def work(self) -> None:
        while True:
            over = self.done.is_set()
            taken = self.journal.take_batch("urgent")
            if taken is not None:
                self.deliver(taken)
            elif over:
                return

    def deliver(self, taken: Taken) -> None:
        seen = self.seen[taken.id]
        seen += taken.badges
        if len(seen) <= self.repeats:
            self.journal.return_batch(taken.id)
        else:
            self.journal.finish(taken.id, [], {}, [])


@pytest.fixture(scope="module")
def valkey(engine_urls) -> Iterator[Redis]:
    client = connect(engine_urls.redis)
    yield client
    client.close()


@settings(max_examples=25, deadline=None)
@given(some.lists(some.sampled_from(["message", "message", "message", "clear"]), min_size=1, max_size=25))
def test_P4_P5_threads_and_repeats_count_each_message_behind_the_last_clearing_once(valkey, kinds):
    valkey.flushall()
    crew = Crew(Journal(untagged(valkey), lease=60), kinds, repeats=2)
    crew.run(workers=4)
    clears = [n for n, kind in enumerate(kinds) if kind == "clear"]
    expected = kinds[clears[-1] + 1 if clears else 0 :].count("message")
    assert int(valkey.hget("carillon:badge:demo", "7") or 0) == expected
    assert len(crew.seen) == kinds.count("message")
    assert all(len(badges) == 3 for badges in crew.seen.values())
