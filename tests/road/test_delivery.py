"""What becomes of the answers: devices retired or kept, jobs tried again, providers stopped, and nothing sent twice."""

import time
from collections import Counter
from typing import Any

import pytest

from tests.road.harness import START, Road, message, token, user_of
from worker.core.model import Answer, AppSettings, NoAnswer
from worker.core.outcome import IN_A_ROW
from worker.database.devices import Devices
from worker.database.postgres import Unavailable
from worker.providers.apns.certificate import CertificateExpired
from worker.state.breaker import Breaker
from worker.state.journal import Recorded

REGISTERED = int(START.timestamp() * 1000)


def active(road: Road) -> set[str]:
    with road.pool.connection() as db:
        return {
            bytes.fromhex(t).decode().partition("/")[0]
            for (t,) in db.execute("SELECT token FROM carillon.devices WHERE active")
        }


def test_410_retires_the_device_that_was_not_registered_since(road):
    road.member("general", "leia", "han", "luke")
    road.apns.answers[token("han")] = [Answer(410, "Unregistered", REGISTERED + 1)]
    road.apns.answers[token("luke")] = [Answer(410, "ExpiredToken", REGISTERED - 1)]
    road.publish(message())
    road.run()
    assert active(road) == {"leia", "luke"}
    counts = road.journal.counts("demo")
    assert (counts["retired.Unregistered"], counts["dropped.reregistered"]) == (1, 1)
    assert road.journal.backlog() == (0, 0)


def test_a_registration_that_comes_while_the_410_is_on_its_way_wins(road):
    road.member("general", "leia", "han")
    road.publish(message())
    road.apns.answers[token("han")] = [Answer(410, "Unregistered", REGISTERED + 1)]

    def register_again():
        with road.pool.connection() as db:
            db.execute("UPDATE carillon.devices SET registered_at = registered_at + 10")

    road.apns.before = register_again
    road.run()
    assert active(road) == {"leia", "han"}


def test_a_batch_that_is_taken_up_again_is_counted_once_and_stays_guarded(road, monkeypatch):
    users = [f"u{n}" for n in range(60)]
    road.save_app(member_cap=None)
    road.member("general", "leia", *users)
    for user in users[:5]:
        road.apns.answers[token(user)] = [Answer(400, "BadDeviceToken")]
    road.publish(message())
    road.take()
    road.expand()

    def away(*_):
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(road.devices, "retire", away)
        for _ in range(3):
            with pytest.raises(Unavailable):
                road.delivery.deliver("urgent")
            road.later()
    road.deliver()
    answers = road.redis.hmget(f"carillon:answers:{road.provider.id}", "answered", "refused", "gone")
    assert [int(n) for n in answers] == [60, 5, 0]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(503, "ServiceUnavailable"), id="503"),
        pytest.param(Answer(429, "TooManyRequests"), id="429"),
        pytest.param(NoAnswer("unknown", "reset"), id="connection died"),
        pytest.param(NoAnswer("not_sent", "connect failed"), id="no connection"),
    ],
)
def test_what_may_work_later_is_tried_again_with_the_same_ids_and_badge(road, answer):
    road.member("general", "leia", "han", "luke")
    road.apns.answers[token("han")] = [answer, Answer(200)]
    road.publish(message())
    assert len(road.run()) == 2
    assert road.journal.backlog() == (1, 1), "the event stays open while a device waits"
    assert road.later() == 1
    road.deliver()
    tries = [n for n in road.apns.sent if user_of(n) == "han"]
    assert len(tries) == 2
    assert tries[0] == tries[1]
    assert road.journal.backlog() == (0, 0)
    assert road.journal.counts("demo")["accepted"] == 2


def test_a_retry_ends_with_the_message_s_life(road):
    road.member("general", "leia", "han")
    road.apns.answers[token("han")] = [Answer(503, "ServiceUnavailable")]
    road.publish(message())
    road.run()
    road.now += 3601
    road.later()
    road.deliver()
    assert len(road.apns.sent) == 1
    assert road.journal.counts("demo")["dropped.expired"] == 1
    assert road.journal.backlog() == (0, 0)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(403, "InvalidProviderToken"), id="wrong key"),
        pytest.param(Answer(400, "TopicDisallowed"), id="wrong topic"),
        pytest.param(Answer(403, "BadEnvironmentKeyInToken"), id="wrong environment"),
    ],
)
def test_a_provider_at_fault_stops_retires_nothing_and_loses_nothing(road, answer):
    users = [f"u{n}" for n in range(40)]
    road.member("general", "leia", *users)
    for user in users:
        road.apns.answers[token(user)] = [answer, Answer(200)]
    road.publish(message(id="e1"), message(id="e2"))
    road.run()
    sent = len(road.apns.sent)
    road.publish(message(id="e3"))
    road.take()
    road.expand()
    assert road.deliver() == []
    assert len(road.apns.sent) == sent, "a stopped provider is left alone"
    assert active(road) == {"leia", *users}
    for user in users:
        road.apns.answers.pop(token(user))
    road.redis.delete(f"carillon:probe:{road.provider.id}")
    for _ in range(6):
        road.later()
        road.deliver()
    assert road.journal.backlog() == (0, 0)
    assert road.journal.counts("demo")["accepted"] == 120


def test_a_flood_of_bad_device_tokens_retires_nobody(road):
    users = [f"u{n}" for n in range(90)]
    road.member("general", "leia", *users)
    for user in users:
        road.apns.answers[token(user)] = [Answer(400, "BadDeviceToken")]
    road.publish(message())
    road.run()
    assert active(road) == {"leia", *users}
    assert road.journal.counts("demo")["parked.mass_refusal"] == 90


def test_a_mistake_after_a_million_good_answers_stops_the_provider_and_costs_no_device(road):
    road.save_app(member_cap=None)
    users = [f"u{n}" for n in range(240)]
    for n, user in enumerate(users):
        road.member(f"d{n}", "leia", user)
        road.apns.answers[token(user)] = [Answer(400, "BadDeviceToken")]
    road.delivery._breaker.record(road.provider.id, answered=1_000_000, refused=())
    ended = set()
    for n in range(0, 240, 8):  # a few at a time, as direct messages come
        road.publish(*(message(id=f"e{k}", channel=f"d{k}") for k in range(n, n + 8)))
        road.run()
        ended |= {"leia", *users} - active(road)
        if road.delivery._breaker.stopped(road.provider.id):
            break
    assert len(ended) <= IN_A_ROW, "some were retired before it was known"
    assert active(road) == {"leia", *users}, "and all of them are back"
    assert n <= 2 * IN_A_ROW


def test_devices_that_are_all_gone_hold_up_no_other_and_stop_the_provider_once(road):
    """A channel of people who left long ago: its batch is the first of the line, and each of its tokens is refused."""
    users = [f"u{n}" for n in range(30)]
    road.member("left", "leia", *users)
    road.member("general", "leia", "han")
    for user in users:
        road.apns.answers[token(user)] = [Answer(400, "BadDeviceToken")]
    road.publish(message("left", id="e1"))
    road.run()
    assert road.delivery._breaker.stopped(road.provider.id)
    road.publish(*(message(id=f"m{n}") for n in range(3)))
    road.take()
    road.expand()
    for _ in range(3):
        road.redis.delete(f"carillon:probe:{road.provider.id}")
        road.later()
        road.deliver()
    assert [user_of(n) for n in road.apns.sent].count("han") == 3
    assert road.journal.backlog() == (0, 0)
    assert not road.delivery._breaker.stopped(road.provider.id)
    assert road.journal.counts("demo")["dropped.refused_unproven"] == 30


def test_what_a_provider_answered_before_it_was_mended_is_forgotten(road):
    users = [f"u{n}" for n in range(90)]
    road.member("general", "leia", *users)
    road.apns.answers[token("u7")] = [Answer(400, "BadDeviceToken")]
    road.delivery._breaker.record(road.provider.id, answered=300, refused=range(300))
    road.delivery._breaker.stop(road.provider.id, "mass_refusal", road.now)
    road.delivery._breaker.resume(road.provider.id)
    road.redis.delete(f"carillon:stopped:{road.provider.id}:mass_refusal")  # two minutes pass
    road.publish(message())
    road.run()
    assert active(road) == {"leia", *users} - {"u7"}


def test_a_refusal_that_comes_late_retires_nobody_though_the_provider_flows_again(road):
    """Its worker stood still while the others stopped the provider, took back what they had retired, and probed."""
    users = [f"u{n}" for n in range(90)]
    road.member("general", "leia", *users)
    road.apns.answers[token("u7")] = [Answer(400, "BadDeviceToken")]
    breaker = road.delivery._breaker

    def stand_still():
        breaker.stop(road.provider.id, "mass_refusal", road.now)
        breaker.resume(road.provider.id)

    road.apns.before = stand_still
    breaker.record(road.provider.id, answered=300, refused=())
    road.publish(message())
    road.run()
    assert active(road) == {"leia", *users}


def test_while_it_may_be_the_provider_s_fault_a_refused_device_is_in_every_message(road):
    """A device that was retired by mistake would miss what is published until it is back."""
    users = [f"u{n}" for n in range(90)]
    road.member("general", "leia", *users)
    road.delivery._breaker.record(road.provider.id, answered=300, refused=())
    for user in users[:9]:
        road.apns.answers[token(user)] = [Answer(400, "BadDeviceToken"), Answer(200)]
    road.publish(message(id="e1"))
    road.take()
    road.expand()
    road.deliver()
    assert active(road) == {"leia", *users}
    road.delivery._breaker.stop(road.provider.id, "mass_refusal", road.now)
    assert road.settle() == 0
    road.delivery._breaker.resume(road.provider.id)
    road.publish(message(id="e2"))
    assert {user_of(n) for n in road.run()} == set(users)


def test_a_device_that_is_refused_for_each_of_many_messages_says_no_more_than_one(road):
    road.member("general", "leia", "han", *(f"u{n}" for n in range(19)))
    road.member("pair", "leia", "han")
    road.apns.answers[token("han")] = [Answer(400, "BadDeviceToken")]
    road.publish(message(id="e0"))
    for n in range(60):
        road.publish(message(id=f"e{n + 1}", channel="pair"))
    road.take()
    for _ in range(6):
        road.fan_out.expand(road.journal.take_messages("urgent", 11))
    road.deliver()
    assert road.delivery._breaker.stopped(road.provider.id) is None
    assert road.settle() == 1
    assert "han" not in active(road)


def test_after_a_time_in_which_nobody_asked_a_refused_device_has_time_again(road):
    """What would have told that the provider is to blame was held up as well."""
    road.suspicion.raise_against(road.provider.id, [(1, road.provider.id, "BadDeviceToken")])
    assert road.suspicion.settle() == 0
    road.redis.set("carillon:suspects:asked", 0)
    suspects: Any = road.redis.zrange(f"carillon:suspects:{road.provider.id}", 0, -1)
    road.redis.zadd(f"carillon:suspects:{road.provider.id}", {suspects[0]: 1})
    assert road.suspicion.settle() == 0
    [(_, at)] = road.redis.zrange(f"carillon:suspects:{road.provider.id}", 0, -1, withscores=True)
    assert at > road.redis.time()[0] + 3


def test_a_mistake_on_top_of_another_costs_no_device(road):
    users = [f"u{n}" for n in range(90)]
    road.member("general", "leia", *users)
    road.apns.answers[token("u7")] = [Answer(400, "BadDeviceToken")]
    breaker = road.delivery._breaker

    def stop_twice():
        breaker.stop(road.provider.id, "TopicDisallowed", road.now)
        breaker.stop(road.provider.id, "mass_refusal", road.now)

    road.apns.before = stop_twice
    breaker.record(road.provider.id, answered=300, refused=())
    road.publish(message())
    road.run()
    assert active(road) == {"leia", *users}


def test_many_bad_device_tokens_among_good_ones_stop_nobody_and_retire_nobody(road):
    users = [f"u{n}" for n in range(90)]
    road.member("general", "leia", *users)
    for user in users[:30]:
        road.apns.answers[token(user)] = [Answer(400, "BadDeviceToken")]
    road.publish(message(id="e1"), message(id="e2"))
    assert len(road.run()) == 180
    assert active(road) == {"leia", *users}
    assert road.journal.backlog() == (0, 0)


def test_a_single_bad_device_token_among_good_ones_is_retired(road):
    users = [f"u{n}" for n in range(90)]
    road.member("general", "leia", *users)
    road.apns.answers[token("u7")] = [Answer(400, "BadDeviceToken")]
    road.publish(message())
    road.run()
    assert active(road) == {"leia", *users} - {"u7"}


def test_a_few_answers_prove_nothing_about_a_bad_token(road):
    road.member("general", "leia", "han")
    road.apns.answers[token("han")] = [Answer(400, "BadDeviceToken")]
    road.publish(message())
    road.run()
    assert active(road) == {"leia", "han"}
    assert road.journal.counts("demo")["dropped.refused_unproven"] == 1


def test_a_doorbell_too_many_finds_nothing(road):
    road.member("general", "leia", "han")
    road.publish(message())
    road.run()
    assert road.delivery.deliver("urgent") == {}
    assert len(road.apns.sent) == 1


def test_a_batch_in_other_hands_is_left_to_them_until_their_lease_is_over(road):
    road.member("general", "leia", "han")
    road.publish(message())
    road.take()
    road.expand()
    first = road.journal.take_batch("urgent")
    assert road.deliver() == []
    assert road.journal.make_due_ready() == 0
    assert road.later() == 1
    again = road.journal.take_batch("urgent")
    assert first is not None
    assert again is not None
    assert (again.id, again.badges) == (first.id, first.badges), "a resumed batch counts no badge twice"


def test_what_was_marked_before_a_worker_died_is_not_sent_again(road):
    road.member("general", "leia", "han", "luke")
    road.publish(message())
    road.take()
    road.expand()
    taken = road.journal.take_batch("urgent")
    assert taken is not None
    road.journal.mark(taken.id, b'[[0,"delivered","",0]]')
    road.later()
    assert road.deliver() == [{"accepted": 2}]
    assert [user_of(n) for n in road.apns.sent] == [taken.batch.jobs[1].user]
    assert road.journal.backlog() == (0, 0)


def test_a_worker_that_dies_in_the_middle_of_a_batch_repeats_only_what_was_unanswered(road):
    road.member("general", "leia", *(f"u{n}" for n in range(10)))
    road.publish(message())
    road.apns.half = {token(f"u{n}") for n in range(7)}
    with pytest.raises(road.apns.Died):
        road.run()
    road.apns.half = None
    road.later()
    road.deliver()
    tries = Counter(user_of(n) for n in road.apns.sent)
    assert [user for user, n in tries.items() if n == 2] == ["u7", "u8", "u9"]
    assert road.journal.counts("demo")["accepted"] == 10
    assert road.journal.backlog() == (0, 0)


def test_an_expansion_whose_worker_died_is_done_once(road):
    road.member("general", "leia", "han")
    road.publish(message())
    road.take()
    opened = road.journal.take_messages("urgent", 100)
    road.later()
    assert road.expand() == 1
    assert road.fan_out.expand(opened).batches.total() == 0, "whoever comes second writes nothing"
    assert len(road.run()) == 1


def test_a_stale_message_leaves_its_neighbours_alone(road):
    """The step is all or nothing, so the rest is worked out again without the stale one."""
    road.member("general", "leia", "han")
    road.publish(message(id="e1"), message(id="e2"))
    road.take()
    opened = road.journal.take_messages("urgent", 100)
    road.fan_out.expand(opened[:1])
    road.fan_out.expand(opened)
    road.deliver()
    assert road.journal.counts("demo")["messages"] == 2
    assert len(road.apns.sent) == 2


def test_a_leader_that_died_before_opening_is_made_up_for(road):
    road.member("general", "leia", "han")
    road.take()

    class Killed(BaseException):
        pass

    def die(entries):
        raise Killed

    road.publish(message())
    opened, road.journal.open = road.journal.open, die
    with pytest.raises(Killed):
        road.take()
    road.journal.open = opened
    assert road.lead() == 1
    assert [user_of(n) for n in road.run()] == ["han"]


def test_a_probe_that_fails_keeps_the_provider_stopped_and_spends_no_try(road):
    road.member("general", "leia", "han")
    road.apns.answers[token("han")] = [Answer(403, "InvalidProviderToken")]
    road.publish(message())
    road.run()
    for _ in range(20):
        road.redis.delete(f"carillon:probe:{road.provider.id}")
        road.later()
        assert road.deliver() == [{"parked": 1}]
    assert len(road.apns.sent) == 21
    road.apns.answers.clear()
    road.redis.delete(f"carillon:probe:{road.provider.id}")
    road.later()
    assert road.deliver() == [{"accepted": 1}]
    assert Breaker(road.redis).stopped(road.provider.id) is None


def test_a_certificate_that_expires_stops_its_provider_with_one_error_and_loses_nothing(road, caplog):
    def expired():
        raise CertificateExpired("certificate: expired on 2026-11-21")

    road.member("general", "leia", "han", "luke")
    road.apns.before = expired
    for n in range(3):
        road.publish(message(id=f"e{n}"))
        road.run()
    stopped = Breaker(road.redis).stopped(road.provider.id)
    assert stopped is not None
    assert stopped.reason == "certificate_expired"
    [told] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (told.app, told.provider, told.reason) == ("demo", "apns", "certificate_expired")
    # Another certificate is stored.
    road.apns.before = lambda: None
    for _ in range(2):
        road.redis.delete(f"carillon:probe:{road.provider.id}")
        road.later()
        road.deliver()
    assert road.journal.backlog() == (0, 0)
    assert road.journal.counts("demo")["accepted"] == 6


def test_a_provider_that_a_person_paused_waits_for_a_person(road):
    road.member("general", "leia", "han")
    Breaker(road.redis).stop(road.provider.id, "maintenance", road.now, manual=True)
    road.publish(message())
    for _ in range(3):
        assert road.run() == []
        road.redis.delete(f"carillon:probe:{road.provider.id}")
        road.later()
    assert not Breaker(road.redis).resume(road.provider.id), "it is not for a probe to resume"
    assert Breaker(road.redis).resume(road.provider.id, by_hand=True)
    assert len(road.run()) == 1


def test_a_pause_that_falls_into_a_probe_holds(road):
    road.member("general", "leia", "han", "luke")
    breaker = road.delivery._breaker
    breaker.stop(road.provider.id, "InvalidProviderToken", road.now)
    road.redis.delete(f"carillon:probe:{road.provider.id}")
    road.apns.before = lambda: breaker.stop(road.provider.id, "maintenance", road.now, manual=True)
    road.publish(message())
    assert len(road.run()) == 1, "the probe"
    assert breaker.stopped(road.provider.id).manual
    breaker.resume(road.provider.id, by_hand=True)
    road.later()
    road.deliver()
    assert sorted(user_of(n) for n in road.apns.sent) == ["han", "luke"]


def test_what_waits_for_a_provider_is_no_load_and_goes_as_soon_as_it_flows(road):
    """However much it is: a company whose key is revoked must not stop the others' messages, nor keep workers busy."""
    road.member("general", "leia", "han")
    breaker, waiting = road.delivery._breaker, 300
    breaker.stop(road.provider.id, "maintenance", road.now, manual=True)
    road.publish(*(message(id=f"e{n}") for n in range(waiting)))
    road.take()
    while opened := road.journal.take_messages("urgent", 1):
        road.fan_out.expand(opened)
    road.deliver()
    assert road.journal.load() == {}
    assert road.redis.zcard(f"carillon:line:urgent:{road.provider.id}") == waiting
    assert road.deliver() == [], "only one a minute is looked at"
    breaker.resume(road.provider.id, by_hand=True)
    assert road.journal.load() == {"demo": (0, waiting)}
    assert len(road.run()) == waiting


def test_what_is_too_old_leaves_a_provider_that_stays_stopped(road):
    road.member("general", "leia", "han")
    road.delivery._breaker.stop(road.provider.id, "maintenance", road.now, manual=True)
    road.publish(*(message(id=f"e{n}") for n in range(3)))
    assert road.run() == []
    road.now += 10**7
    road.redis.delete(f"carillon:looked:{road.provider.id}")
    road.later()
    assert road.run() == []
    assert road.journal.backlog() == (0, 0)
    assert road.journal.counts("demo")["dropped.expired"] == 3


def test_a_device_that_gets_too_many_is_left_alone_and_its_neighbours_are_not(road):
    road.member("general", "leia", "han", "luke")
    road.apns.answers[token("han")] = [Answer(429, "TooManyRequests"), Answer(200)]
    road.publish(message(id="e1"))
    road.run()
    road.publish(message(id="e2"))
    assert [user_of(n) for n in road.run()] == ["luke"]
    assert road.journal.counts("demo")["limited.device_held"] == 1
    road.later()
    road.deliver()
    assert Counter(user_of(n) for n in road.apns.sent) == {"han": 3, "luke": 2}
    assert road.journal.backlog() == (0, 0)


def test_a_429_holds_the_device_though_its_message_cannot_wait(road):
    road.member("general", "leia", "han")
    road.apns.answers[token("han")] = [Answer(429, "TooManyRequests", retry_after=7200.0), Answer(200)]
    road.publish(message(id="e1"))
    road.run()
    assert road.journal.counts("demo")["dropped.expired"] == 1
    road.publish(message(id="e2"))
    assert road.run() == []


def test_what_would_wait_for_its_device_beyond_its_life_is_dropped_at_once(road):
    road.member("general", "leia", "han")
    road.apns.answers[token("han")] = [Answer(429, "TooManyRequests", retry_after=7200.0), Answer(200)]
    road.publish(message(id="e1"))
    road.run()
    road.publish(message(id="e2"))
    road.run()
    assert road.journal.backlog() == (0, 0)
    assert road.journal.counts("demo")["dropped.expired"] == 2


def test_a_device_s_cooldown_grows_with_its_refusals_in_a_row_and_not_with_what_is_on_its_way(road):
    limiter = road.delivery._limiter
    waits = []
    for _ in range(12):
        waits.append(limiter.cool_down(1, {7: 0.0}, jitter=0.0)[7])
        assert limiter.cool_down(1, {7: 0.0}, jitter=0.0)[7] <= waits[-1] + 0.01
        road.redis.zadd("carillon:notbefore:device:1", {7: time.time() - 1})
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == pytest.approx((0.5, 30.0), abs=0.01)
    assert limiter.cooldowns(1, [7, 8]) == {}
    road.redis.zadd("carillon:notbefore:device:1", {7: time.time() - 100})
    assert limiter.cool_down(1, {7: 0.0, 8: 90.0}, jitter=0.0) == pytest.approx({7: 0.5, 8: 90.0}, abs=0.01)
    assert set(limiter.cooldowns(1, [7, 8, 9])) == {7, 8}


def test_random_refusals_put_nothing_off_for_long(road):
    """One in ten is told 429: of 20,000 the last goes out within 20 s."""
    users = [f"u{n}" for n in range(100)]
    road.member("general", "leia", *users)
    for n, user in enumerate(users[:11]):
        road.apns.answers[token(user)] = [*[Answer(429, "TooManyRequests")] * (1 if n else 4), Answer(200)]
    road.publish(message())
    road.run()
    started, waited = time.time(), 0.0
    for _ in range(4):
        [waits] = [[at for _, at in road.redis.zrange("carillon:due", 0, -1, withscores=True)]]
        waited += max(waits) - started
        started = time.time()
        road.later(60.0)
        road.deliver()
    assert waited < 12.0
    assert road.journal.counts("demo")["accepted"] == 100


def test_what_cannot_be_written_is_dropped_with_an_alarm_and_never_tried_again(road, caplog):
    road.member("general", "leia", "han")
    road.apns.answers[token("han")] = [NoAnswer("unwritable", "collapse id not allowed in a header")]
    road.publish(message(id="e1"))
    road.run()
    assert road.journal.backlog() == (0, 0)
    assert road.journal.counts("demo")["dropped.collapse id not allowed in a header"] == 1
    assert [r.levelname for r in caplog.records if "refused for good" in r.message] == ["ERROR"]


def test_what_is_not_sent_again_and_again_waits_longer_each_time(road):
    road.member("general", "leia", "han", "luke")
    road.apns.answers[token("han")] = [NoAnswer("not_sent", "refused stream")]
    road.publish(message(id="e1"))
    road.run()
    waits = []
    for _ in range(6):
        [(_, due)] = road.redis.zrange("carillon:due", 0, -1, withscores=True)
        waits.append(due - time.time())
        road.later(60.0)
        road.deliver()
    assert waits == sorted(waits)
    assert waits[-1] > 3.0


def test_a_provider_that_is_asked_to_slow_down_holds_no_device(road):
    road.member("general", "leia", "han")
    road.apns.answers[token("han")] = [Answer(503, "ServiceUnavailable"), Answer(200)]
    road.publish(message(id="e1"))
    road.run()
    road.publish(message(id="e2"))
    assert len(road.run()) == 1


def test_one_app_s_blast_leaves_the_others_their_share(road):
    road.registry.save_app(AppSettings("other"))
    blast = [Recorded(f"1-{n}", "demo", n) for n in range(1, 1001)]
    both = [*blast, Recorded("2-1", "other", 2001), Recorded("2-2", "other", 2002)]
    for one in both:
        road.redis.xadd("carillon:events", {"event": ""}, id=one.entry)
    road.journal.open(both)
    first = road.journal.take_messages("urgent", 100)
    assert [one.app for one in first].count("other") == 2
    assert len(first) == 100
    assert len(road.journal.take_messages("urgent", 100)) == 100


def test_a_batch_that_waited_for_postgres_through_its_lease_is_left_to_whoever_has_it_now(road):
    road.member("general", "leia", "han")
    road.publish(message())
    road.take()
    road.expand()

    class Slow(Devices):
        def owned(self, jobs):
            road.now += 8.0
            return super().owned(jobs)

    quick, road.delivery._devices = road.delivery._devices, Slow(road.pool)
    assert road.delivery.deliver("urgent") == {"left": 1}
    assert road.apns.sent == []
    road.delivery._devices = quick
    road.later()
    assert len(road.run()) == 1
