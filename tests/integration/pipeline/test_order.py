"""For one device a conversation leaves in the order of the stream, and the last push that arrives carries the true badge."""

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token, user_of
from worker.core.batch import Freed
from worker.core.batch_run import EARLIER
from worker.core.model import ACCEPTED, HELD_UP, Answer, NoAnswer, Response
from worker.state import journal
from worker.state.breaker import Breaker

BUSY = Answer(503, "ServiceUnavailable")


@pytest.fixture
def now(pipeline: Pipeline) -> Pipeline:
    """Han and luke in two channels; it is the time that Redis says."""
    pipeline.now = time.time()
    for channel in ("general", "other"):
        pipeline.member(channel, "leia", "han", "luke")
    pipeline.take()
    return pipeline


def say(pipeline: Pipeline, *ids: str, channel: str = "general", **fields) -> None:
    seconds = pipeline.now - START.timestamp()
    pipeline.publish(*(message(channel, id=id, seconds=seconds, **fields) for id in ids))


def heard(pipeline: Pipeline, user: str = "han") -> list[str]:
    return [json.loads(n.payload)["carillon"]["event"] for n in pipeline.apns.sent if user_of(n) == user]


def drain(pipeline: Pipeline, seconds: float = 60.0) -> None:
    """Everything that becomes due is delivered, until nothing is left."""
    for _ in range(50):
        pipeline.deliver()
        if pipeline.journal.backlog()[1] == 0:
            return
        pipeline.later(seconds)
    raise AssertionError("it did not end")


def test_what_follows_a_refused_notification_waits_with_it(now):
    now.apns.answers[token("han")] = [BUSY, ACCEPTED]
    say(now, "e1", "e2", "e3")
    now.run()
    assert heard(now) == ["e1"]
    assert heard(now, "luke") == ["e1", "e2", "e3"]
    drain(now)
    assert heard(now) == ["e1", "e1", "e2", "e3"]


def test_later_messages_of_the_channel_wait_too_and_those_of_another_one_do_not(now):
    now.apns.answers[token("han")] = [BUSY, ACCEPTED]
    say(now, "e1")
    now.run()
    say(now, "e2")
    now.run()
    say(now, "o1", channel="other")
    say(now, "e3")
    now.run()
    assert heard(now) == ["e1", "o1"]
    assert heard(now, "luke") == ["e1", "e2", "o1", "e3"]
    drain(now)
    assert heard(now) == ["e1", "o1", "e1", "e2", "e3"]
    counts = now.journal.counts("demo")
    assert counts.get("overtaken", 0) == 0
    assert counts[f"limited.{EARLIER}"] >= 2


def test_however_much_waits_for_an_earlier_one_goes_as_soon_as_that_one_is_done(now):
    now.apns.answers[token("han")] = [BUSY, BUSY, ACCEPTED]
    many = [f"e{n}" for n in range(2, 42)]
    say(now, "e1")
    now.run()
    say(now, *many)
    now.run()
    assert heard(now, "luke") == ["e1", *many]
    now.later(31.0)  # the batch that waits is looked at as well, and waits on
    now.deliver()
    assert heard(now) == ["e1", "e1"]
    now.later(10.0)
    now.deliver()
    assert heard(now) == ["e1", "e1", "e1", *many]
    assert now.journal.backlog() == (0, 0)
    assert now.journal.counts("demo").get("overtaken", 0) == 0


def test_each_job_of_a_batch_waits_for_the_same_earlier_one_however_many_they_are(now):
    now.apns.answers[token("han")] = [BUSY]
    say(now, "e1")
    now.run()
    say(now, *(f"e{n}" for n in range(2, 42)))
    now.run()
    now.later(31.0)
    assert now.delivery.deliver("urgent") == {"retry.ServiceUnavailable": 1}
    waits = now.journal.take_batch("urgent").waits
    assert waits == dict.fromkeys(range(40), waits[0])


def test_a_message_waits_half_a_minute_for_an_earlier_one_and_then_is_sent_and_counted(now):
    now.apns.answers[token("han")] = [BUSY, ACCEPTED]
    now.now -= 31  # of its first try
    say(now, "e1")
    now.run()
    now.now += 31
    say(now, "e2")
    now.run()
    assert heard(now) == ["e1", "e2"]
    assert now.journal.counts("demo")["overtaken"] == 1
    [account] = [part for name, part in now.account("e2").items() if name.startswith("batch:")]
    assert [user for user, _ in account["overtook"]] == ["han"]


def test_a_device_that_is_gone_holds_up_nothing(now):
    now.apns.answers[token("han")] = [Answer(410, "Unregistered", 1)]
    say(now, "e1", "e2")
    now.run()
    assert now.journal.backlog() == (0, 0)


def test_a_batch_that_another_worker_has_in_flight_goes_first(now):
    """The first worker has taken a batch and is slow; a second one takes the next."""
    say(now, "e1")
    now.take()
    now.expand()
    say(now, "e2")
    now.take()
    now.expand()
    entered, go = threading.Event(), threading.Event()

    def slowly():
        if not entered.is_set():
            entered.set()
            assert go.wait(20)

    now.apns.before = slowly
    with ThreadPoolExecutor(2) as workers:
        first = workers.submit(now.delivery.deliver, "urgent")
        assert entered.wait(20)
        second = workers.submit(now.delivery.deliver, "urgent")
        assert second.result(20) == {}, "it waits, and no thread with it"
        go.set()
        first.result(20)
    now.deliver()
    assert heard(now) == ["e1", "e2"]
    assert now.journal.backlog() == (0, 0)
    assert now.redis.hkeys(f"carillon:sending:{now.provider.id}") == [b""]
    assert not [key for kind in ("waits", "later", "followers") for key in now.redis.keys(f"*:{kind}:*")]


def test_a_worker_that_died_leaves_nothing_blocked(now):
    say(now, "e1")
    now.take()
    now.expand()
    now.apns.half = set()
    with pytest.raises(now.apns.Died):
        now.delivery.deliver("urgent")
    now.apns.half = None
    say(now, "e2")
    now.take()
    now.expand()
    now.deliver()
    assert heard(now) == ["e1"], "the dead worker's batch goes first"
    drain(now)
    assert heard(now) == ["e1", "e1", "e2"]


def test_a_pause_changes_no_order(now):
    breaker = Breaker(now.partition)
    for n in range(10):
        say(now, f"e{n}")
        now.take()
        now.expand()
        if n == 3:
            breaker.stop(now.provider.id, "by hand", now.now, manual=True)
        now.deliver()
    breaker.resume(now.provider.id, by_hand=True)
    say(now, "e10")
    now.take()
    now.expand()
    now.journal.make_due_ready()
    drain(now)
    assert heard(now) == [f"e{n}" for n in range(11)]


class Arrivals:
    """APNs that refuses a fifth of what it gets, and notes what it accepted by user: channel, event and badge."""

    FAULTS = (
        BUSY,
        Answer(429, "TooManyRequests"),
        NoAnswer("unknown", "reset"),
        NoAnswer("not_sent", "connect failed"),
    )

    def __init__(self, seed: int) -> None:
        self.chance, self.lock = random.Random(seed), threading.Lock()
        self.accepted: dict[str, list[tuple[str, str, int]]] = {"han": [], "luke": []}

    def send(self, provider, notifications, *, following, **how):
        before = {after: place for place, after in following.items()}
        responses: list[Response] = []
        for place, one in enumerate(notifications):
            held = place in before and responses[before[place]] is not ACCEPTED
            responses.append(HELD_UP if held else self.arrive(one))
            time.sleep(0.001)
        return responses

    def arrive(self, notification):
        with self.lock:
            if self.chance.random() < 0.2:
                return self.chance.choice(self.FAULTS)
            document = json.loads(notification.payload)
            what = document.get("carillon", {"channel": "", "event": ""})
            self.accepted[user_of(notification)].append((what["channel"], what["event"], document["aps"]["badge"]))
            return ACCEPTED


def talk(pipeline: Pipeline, chance: random.Random) -> dict[str, list[str]]:
    """Thirty messages and a clearing, while others deliver; returns the events by channel once all is done."""
    said: dict[str, list[str]] = {"general": [], "other": []}
    for n in range(30):
        channel = chance.choice(["general", "other"])
        said[channel].append(f"e{n}")
        say(pipeline, f"e{n}", channel=channel)
        if n == 15:
            pipeline.publish(ev.BadgeCleared(**stamp(pipeline.now - START.timestamp()), user="han"))
        pipeline.take()
        pipeline.expand()
        if n % 5 == 0:
            pipeline.later(2.0, leases=False)
    ends = time.monotonic() + 60
    while pipeline.journal.backlog()[1]:
        assert time.monotonic() < ends
        pipeline.later(5.0, leases=False)
        pipeline.expand()
        time.sleep(0.01)
    return said


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_each_conversation_arrives_in_order_and_the_last_badge_is_true(now, seed):
    """Threads, refusals, cooldowns, lost connections, a clearing."""
    arrivals, over = Arrivals(seed), threading.Event()
    now.apns.send = arrivals.send

    def work():
        while not over.is_set():
            if not now.delivery.deliver("urgent") and not now.delivery.deliver("bulk"):
                time.sleep(0.005)

    with ThreadPoolExecutor(4) as workers:
        running = [workers.submit(work) for _ in range(4)]
        try:
            said = talk(now, arrivals.chance)
        finally:
            over.set()
        for one in running:
            one.result()
    badges = now.redis.hgetall("carillon:badge:demo")
    for user, accepted in arrivals.accepted.items():
        for channel, events in said.items():
            assert [event for of, event, _ in accepted if of == channel] == events
        [device] = now.devices.user_devices("demo", [user])
        assert accepted[-1][2] == int(badges[str(device).encode()])


AFTER = [
    pytest.param(
        lambda: ev.MemberRemoved(**stamp(), channel=ev.ChannelId(id="general"), users=["han"]), "left", id="left"
    ),
    pytest.param(lambda: ev.UserMuted(**stamp(), user="han", target="leia"), "muted", id="muted the sender"),
    pytest.param(
        lambda: ev.ChannelUpdated(**stamp(), channel=ev.ChannelSettings(id="general", push_notifications=False)),
        "channel_off",
        id="the channel is off",
    ),
    pytest.param(
        lambda: ev.DeviceUnregistered(**stamp(1), user="han", device=ev.DeviceToken(token=token("han"))),
        "device_moved",
        id="logged out",
    ),
]


@pytest.mark.parametrize(("happened", "reason"), AFTER)
def test_what_is_sent_long_after_its_place_is_decided_again(now, happened, reason):
    now.apns.answers[token("han")] = [BUSY, ACCEPTED]
    say(now, "e1")
    now.run()
    now.publish(happened())
    now.take()
    now.now += 11
    drain(now)
    assert heard(now) == ["e1"]
    assert now.journal.counts("demo")[f"dropped.{reason}"] == 1


@pytest.mark.parametrize("happened", [one.values[0] for one in AFTER[:3]])
def test_within_ten_seconds_it_goes_as_it_was_decided(now, happened):
    now.apns.answers[token("han")] = [BUSY, ACCEPTED]
    say(now, "e1")
    now.run()
    now.publish(happened())
    now.take()
    drain(now)
    assert heard(now) == ["e1", "e1"]


def test_who_was_listed_as_a_recipient_need_not_be_a_member_later_either(now):
    now.apns.answers[token("han")] = [BUSY, ACCEPTED]
    say(now, "e1", recipients=["han"])
    now.run()
    now.publish(ev.MemberRemoved(**stamp(), channel=ev.ChannelId(id="general"), users=["han"]))
    now.take()
    now.now += 11
    drain(now)
    assert heard(now) == ["e1", "e1"]


def test_what_waits_is_written_and_counted_once_however_often_the_earlier_one_is_tried(now):
    for user in ("han", "luke"):
        now.apns.answers[token(user)] = [BUSY, BUSY, ACCEPTED]
    say(now, "e1")
    now.run()
    for id in ("e2", "e3"):
        say(now, id)
        now.run()
    written = set(now.redis.keys("carillon:batch:*"))
    earliest = min(name.rpartition(b":")[2] for name in written).decode()
    now.redis.zadd("carillon:due", {f"b:{earliest}": 1})
    now.journal.make_due_ready()
    assert now.deliver() == [{"retry.ServiceUnavailable": 2}]
    assert len(written & set(now.redis.keys("carillon:batch:*"))) == 2, "those that wait were left as they are"
    assert now.journal.counts("demo")[f"limited.{EARLIER}"] == 4
    drain(now)
    assert heard(now) == ["e1", "e1", "e1", "e2", "e3"]
    assert now.journal.counts("demo")[f"limited.{EARLIER}"] == 4


def test_a_stopped_provider_s_batch_is_held_back_whole_and_the_first_of_them_is_the_probe(now):
    now.apns.answers[token("han")] = [BUSY, ACCEPTED]
    say(now, "e1")
    now.run()
    Breaker(now.partition).stop(now.provider.id, "silent", now.now)
    for id in ("e2", "e3"):
        say(now, id)
        now.take()
        now.expand()
    assert now.deliver() == [{"parked": 2}], "one is looked at, in case it is too old"
    assert f"limited.{EARLIER}" not in now.journal.counts("demo")
    now.redis.delete(f"carillon:probe:{now.provider.id}")
    drain(now)
    assert heard(now) == ["e1", "e1", "e2", "e3"]


def test_what_waits_in_the_other_lane_is_woken_too(now):
    """A conversation may change lanes; nobody would look into the other one before the tick."""
    say(now, "e1")
    now.take()
    now.expand()
    [first] = [key.decode().rsplit(":", 1)[1] for key in now.redis.keys("carillon:batch:*")]
    say(now, "e2")
    now.take()
    now.expand()
    [second] = [id.decode() for id in now.redis.zrange("carillon:line:urgent:1", 1, -1)]
    now.redis.zrem("carillon:line:urgent:1", second)
    now.redis.hset(f"carillon:batch:{second}", "lane", "bulk")
    now.redis.zadd("carillon:line:bulk:1", {second: 2})
    now.redis.rpush("carillon:turns:bulk:demo", 1)
    now.redis.rpush("carillon:turns:bulk", "demo")
    taken = now.journal.take_batch("urgent")
    assert taken is not None
    assert taken.id == first
    assert now.journal.take_batch("bulk") is None
    assert now.journal.finish(taken.id, [], {}, []) == Freed(urgent=0, bulk=1)


def test_a_batch_goes_to_the_devices_that_have_their_answers_while_the_one_before_it_waits_for_others(now, monkeypatch):
    monkeypatch.setattr(journal, "SOON", 0.0)
    now.member("large", "leia", "u0", "u1", "u2", "u3")
    for event in ("e1", "e2"):
        say(now, event, channel="large")
        now.take()
        now.expand()
    first = now.journal.take_batch("urgent")
    assert now.journal.take_batch("urgent") is None
    devices = [job.device for job in first.batch.jobs]
    assert now.journal.record([(first.id, [2])]) == Freed(1, 0), "it looks"
    assert now.journal.take_batch("urgent") is None, "and most are still in flight"
    assert now.journal.record([(first.id, [0])]) == Freed(1, 0)
    second = now.journal.take_batch("urgent")
    assert second.blocked == {devices[1], devices[3]}
    assert now.journal.record([(first.id, [])]) == Freed(0, 0), "nobody waits"
    # Done before the first one, it leaves it nothing of what that one has sent.
    now.journal.finish(second.id, [], {}, [])
    sending = {
        int(device): batch.decode() for device, batch in now.redis.hgetall("carillon:sending:1").items() if device
    }
    assert sending == {devices[1]: first.id, devices[3]: first.id}
    now.journal.finish(first.id, [], {}, [])
    assert now.redis.hkeys("carillon:sending:1") == [b""]
