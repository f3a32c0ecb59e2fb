"""What becomes of the answers: devices retired or kept, jobs tried again, providers stopped, and nothing sent twice."""

import time
from collections import Counter
from typing import Any

import pytest

from tests.integration.pipeline.harness import START, Pipeline, message, token, user_of
from worker.core.model import Answer, NoAnswer
from worker.core.outcome import IN_A_ROW
from worker.database.devices import Devices
from worker.database.postgres import Unavailable
from worker.providers.apns.certificate import CertificateExpired
from worker.state import keys
from worker.state.breaker import Breaker

REGISTERED = int(START.timestamp() * 1000)


def active(pipeline: Pipeline) -> set[str]:
    with pipeline.pool.connection() as db:
        return {
            bytes.fromhex(t).decode().partition("/")[0]
            for (t,) in db.execute("SELECT token FROM carillon.devices WHERE active")
        }


def test_410_retires_the_device_that_was_not_registered_since(pipeline):
    pipeline.member("general", "leia", "han", "luke")
    pipeline.apns.answers[token("han")] = [Answer(410, "Unregistered", REGISTERED + 1)]
    pipeline.apns.answers[token("luke")] = [Answer(410, "ExpiredToken", REGISTERED - 1)]
    pipeline.publish(message())
    pipeline.run()
    assert active(pipeline) == {"leia", "luke"}
    counts = pipeline.journal.counts("demo")
    assert (counts["retired.Unregistered"], counts["dropped.reregistered"]) == (1, 1)
    assert pipeline.journal.backlog() == (0, 0)


def test_a_registration_that_comes_while_the_410_is_on_its_way_wins(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.apns.answers[token("han")] = [Answer(410, "Unregistered", REGISTERED + 1)]

    def register_again():
        with pipeline.pool.connection() as db:
            db.execute("UPDATE carillon.devices SET registered_at = registered_at + 10")

    pipeline.apns.before = register_again
    pipeline.run()
    assert active(pipeline) == {"leia", "han"}


def test_a_batch_that_is_taken_up_again_is_counted_once_and_stays_guarded(pipeline, monkeypatch):
    users = [f"u{n}" for n in range(60)]
    pipeline.save_app(member_cap=None)
    pipeline.member("general", "leia", *users)
    for user in users[:5]:
        pipeline.apns.answers[token(user)] = [Answer(400, "BadDeviceToken")]
    pipeline.publish(message())
    pipeline.run()
    pipeline.later(6.0)
    pipeline.breaker.record(pipeline.provider.id, answered=1, ago=0.0)

    def away(*_):
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.devices, "retire", away)
        for _ in range(3):
            with pytest.raises(Unavailable):
                pipeline.delivery.deliver("urgent")
            pipeline.later()
    pipeline.deliver()
    answers = pipeline.redis.hmget(f"carillon:answers:{pipeline.provider.id}", "answered", "refused", "gone")
    assert [int(n) for n in answers] == [61, 5, 0]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(503, "ServiceUnavailable"), id="503"),
        pytest.param(Answer(429, "TooManyRequests"), id="429"),
        pytest.param(NoAnswer("unknown", "reset"), id="connection died"),
        pytest.param(NoAnswer("not_sent", "connect failed"), id="no connection"),
    ],
)
def test_what_may_work_later_is_tried_again_with_the_same_ids_and_badge(pipeline, answer):
    pipeline.member("general", "leia", "han", "luke")
    pipeline.apns.answers[token("han")] = [answer, Answer(200)]
    pipeline.publish(message())
    assert len(pipeline.run()) == 2
    assert pipeline.journal.backlog() == (1, 1), "the event stays open while a device waits"
    assert pipeline.later() == 1
    pipeline.deliver()
    tries = [n for n in pipeline.apns.sent if user_of(n) == "han"]
    assert len(tries) == 2
    assert tries[0] == tries[1]
    assert pipeline.journal.backlog() == (0, 0)
    assert pipeline.journal.counts("demo")["accepted"] == 2


def test_a_retry_ends_with_the_message_s_life(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.apns.answers[token("han")] = [Answer(503, "ServiceUnavailable")]
    pipeline.publish(message())
    pipeline.run()
    pipeline.now += 3601
    pipeline.later()
    pipeline.deliver()
    assert len(pipeline.apns.sent) == 1
    assert pipeline.journal.counts("demo")["dropped.expired"] == 1
    assert pipeline.journal.backlog() == (0, 0)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(403, "InvalidProviderToken"), id="wrong key"),
        pytest.param(Answer(400, "TopicDisallowed"), id="wrong topic"),
        pytest.param(Answer(403, "BadEnvironmentKeyInToken"), id="wrong environment"),
    ],
)
def test_a_provider_at_fault_stops_retires_nothing_and_loses_nothing(pipeline, answer):
    users = [f"u{n}" for n in range(40)]
    pipeline.member("general", "leia", *users)
    for user in users:
        pipeline.apns.answers[token(user)] = [answer, Answer(200)]
    pipeline.publish(message(id="e1"), message(id="e2"))
    pipeline.run()
    sent = len(pipeline.apns.sent)
    pipeline.publish(message(id="e3"))
    pipeline.take()
    pipeline.expand()
    assert pipeline.deliver() == []
    assert len(pipeline.apns.sent) == sent, "a stopped provider is left alone"
    assert active(pipeline) == {"leia", *users}
    for user in users:
        pipeline.apns.answers.pop(token(user))
    pipeline.redis.delete(f"carillon:probe:{pipeline.provider.id}")
    for _ in range(6):
        pipeline.later()
        pipeline.deliver()
    assert pipeline.journal.backlog() == (0, 0)
    assert pipeline.journal.counts("demo")["accepted"] == 120


def test_a_flood_of_bad_device_tokens_retires_nobody(pipeline):
    users = [f"u{n}" for n in range(90)]
    pipeline.member("general", "leia", *users)
    for user in users:
        pipeline.apns.answers[token(user)] = [Answer(400, "BadDeviceToken")]
    pipeline.publish(message())
    pipeline.run()
    assert active(pipeline) == {"leia", *users}
    assert pipeline.journal.counts("demo")["parked.mass_refusal"] == 90


def test_a_mistake_after_a_million_good_answers_stops_the_provider_and_costs_no_device(pipeline):
    pipeline.save_app(member_cap=None)
    users = [f"u{n}" for n in range(240)]
    for n, user in enumerate(users):
        pipeline.member(f"d{n}", "leia", user)
        pipeline.apns.answers[token(user)] = [Answer(400, "BadDeviceToken")]
    pipeline.breaker.record(pipeline.provider.id, answered=1_000_000, refused=())
    ended = set()
    for n in range(0, 240, 8):  # a few at a time, as direct messages come
        pipeline.publish(*(message(id=f"e{k}", channel=f"d{k}") for k in range(n, n + 8)))
        pipeline.run()
        ended |= {"leia", *users} - active(pipeline)
        if pipeline.breaker.stopped(pipeline.provider.id):
            break
    assert len(ended) <= IN_A_ROW, "some were retired before it was known"
    assert active(pipeline) == {"leia", *users}, "and all of them are back"
    assert n <= 2 * IN_A_ROW


def test_devices_that_are_all_gone_hold_up_no_other_and_stop_the_provider_once(pipeline):
    """A channel of people who left long ago: its batch is the first of the line, and each of its tokens is refused."""
    users = [f"u{n}" for n in range(30)]
    pipeline.member("left", "leia", *users)
    pipeline.member("general", "leia", "han")
    for user in users:
        pipeline.apns.answers[token(user)] = [Answer(400, "BadDeviceToken")]
    pipeline.publish(message("left", id="e1"))
    pipeline.run()
    assert pipeline.breaker.stopped(pipeline.provider.id)
    pipeline.publish(*(message(id=f"m{n}") for n in range(3)))
    pipeline.take()
    pipeline.expand()
    for _ in range(3):
        pipeline.redis.delete(f"carillon:probe:{pipeline.provider.id}")
        pipeline.later()
        pipeline.deliver()
    assert [user_of(n) for n in pipeline.apns.sent].count("han") == 3
    assert pipeline.journal.backlog() == (0, 0)
    assert not pipeline.breaker.stopped(pipeline.provider.id)
    assert pipeline.journal.counts("demo")["dropped.refused_unproven"] == 30


def test_what_a_provider_answered_before_it_was_mended_is_forgotten(pipeline):
    users = [f"u{n}" for n in range(90)]
    pipeline.member("general", "leia", *users)
    pipeline.apns.answers[token("u7")] = [Answer(400, "BadDeviceToken")]
    pipeline.breaker.record(pipeline.provider.id, answered=300, refused=range(300))
    pipeline.breaker.stop(pipeline.provider.id, "mass_refusal", pipeline.now)
    pipeline.breaker.resume(pipeline.provider.id)
    pipeline.redis.delete(f"carillon:stopped:{pipeline.provider.id}:mass_refusal")  # two minutes pass
    pipeline.publish(message())
    pipeline.run()
    pipeline.confirm()
    assert active(pipeline) == {"leia", *users} - {"u7"}


def test_a_refusal_that_comes_late_retires_nobody_though_the_provider_flows_again(pipeline):
    """Its worker stood still while the others stopped the provider, took back what they had retired, and probed."""
    users = [f"u{n}" for n in range(90)]
    pipeline.member("general", "leia", *users)
    pipeline.apns.answers[token("u7")] = [Answer(400, "BadDeviceToken")]
    breaker = pipeline.breaker

    def stand_still():
        breaker.stop(pipeline.provider.id, "mass_refusal", pipeline.now)
        breaker.resume(pipeline.provider.id)

    pipeline.apns.before = stand_still
    breaker.record(pipeline.provider.id, answered=300, refused=())
    pipeline.publish(message())
    pipeline.run()
    assert active(pipeline) == {"leia", *users}


def test_while_it_may_be_the_provider_s_fault_a_refused_device_is_in_every_message(pipeline):
    """A device that was retired by mistake would miss what is published until it is back."""
    users = [f"u{n}" for n in range(90)]
    pipeline.member("general", "leia", *users)
    pipeline.breaker.record(pipeline.provider.id, answered=300, refused=())
    for user in users[:9]:
        pipeline.apns.answers[token(user)] = [Answer(400, "BadDeviceToken"), Answer(200)]
    pipeline.publish(message(id="e1"))
    pipeline.take()
    pipeline.expand()
    pipeline.deliver()
    assert active(pipeline) == {"leia", *users}
    pipeline.breaker.stop(pipeline.provider.id, "mass_refusal", pipeline.now)
    assert pipeline.retire_deferred() == 0
    pipeline.breaker.resume(pipeline.provider.id)
    pipeline.publish(message(id="e2"))
    assert {user_of(n) for n in pipeline.run()} == set(users)


def test_a_device_that_is_refused_for_each_of_many_messages_says_no_more_than_one(pipeline):
    pipeline.member("general", "leia", "han", *(f"u{n}" for n in range(19)))
    pipeline.member("pair", "leia", "han")
    pipeline.apns.answers[token("han")] = [Answer(400, "BadDeviceToken")]
    pipeline.publish(message(id="e0"))
    for n in range(60):
        pipeline.publish(message(id=f"e{n + 1}", channel="pair"))
    pipeline.take()
    for _ in range(6):
        pipeline.fan_out.expand(pipeline.journal.take_messages("urgent", 11))
    pipeline.deliver()
    assert pipeline.breaker.stopped(pipeline.provider.id) is None
    assert "han" in active(pipeline)
    pipeline.confirm()
    assert "han" not in active(pipeline)
    assert pipeline.breaker.stopped(pipeline.provider.id) is None


def test_after_a_time_in_which_nobody_asked_a_refused_device_has_time_again(pipeline):
    """The answers that would show the provider's fault are held up as well."""
    pipeline.deferred_retirement.defer(pipeline.provider.id, [(1, pipeline.provider.id, "BadDeviceToken")])
    assert pipeline.deferred_retirement.retire_due() == 0
    pipeline.redis.set("carillon:suspects:asked", 0)
    deferred: Any = pipeline.redis.zrange(f"carillon:suspects:{pipeline.provider.id}", 0, -1)
    pipeline.redis.zadd(f"carillon:suspects:{pipeline.provider.id}", {deferred[0]: 1})
    assert pipeline.deferred_retirement.retire_due() == 0
    [(_, at)] = pipeline.redis.zrange(f"carillon:suspects:{pipeline.provider.id}", 0, -1, withscores=True)
    assert at > pipeline.redis.time()[0] + 3


def test_a_mistake_on_top_of_another_costs_no_device(pipeline):
    users = [f"u{n}" for n in range(90)]
    pipeline.member("general", "leia", *users)
    pipeline.apns.answers[token("u7")] = [Answer(400, "BadDeviceToken")]
    breaker = pipeline.breaker

    def stop_twice():
        breaker.stop(pipeline.provider.id, "TopicDisallowed", pipeline.now)
        breaker.stop(pipeline.provider.id, "mass_refusal", pipeline.now)

    pipeline.apns.before = stop_twice
    breaker.record(pipeline.provider.id, answered=300, refused=())
    pipeline.publish(message())
    pipeline.run()
    assert active(pipeline) == {"leia", *users}


def test_many_bad_device_tokens_among_good_ones_stop_nobody_and_retire_nobody(pipeline):
    users = [f"u{n}" for n in range(90)]
    pipeline.member("general", "leia", *users)
    for user in users[:30]:
        pipeline.apns.answers[token(user)] = [Answer(400, "BadDeviceToken")]
    pipeline.publish(message(id="e1"), message(id="e2"))
    assert len(pipeline.run()) == 180
    pipeline.confirm()
    assert active(pipeline) == {"leia", *users}
    assert pipeline.journal.backlog() == (0, 0)
    assert pipeline.journal.counts("demo")["dropped.refused_unproven"] == 60


def test_a_single_bad_device_token_among_good_ones_is_retired(pipeline):
    users = [f"u{n}" for n in range(90)]
    pipeline.member("general", "leia", *users)
    pipeline.apns.answers[token("u7")] = [Answer(400, "BadDeviceToken")]
    pipeline.publish(message())
    pipeline.run()
    assert active(pipeline) == {"leia", *users}, "it is asked again"
    pipeline.confirm()
    assert active(pipeline) == {"leia", *users} - {"u7"}


def test_a_good_token_that_is_refused_once_loses_nothing(pipeline):
    """The mistake ended before it had refused enough to show."""
    pipeline.member("general", "leia", "han")
    pipeline.apns.answers[token("han")] = [Answer(400, "BadDeviceToken"), Answer(200)]
    pipeline.publish(message())
    pipeline.run()
    pipeline.confirm()
    assert active(pipeline) == {"leia", "han"}
    assert pipeline.journal.counts("demo")["accepted"] == 1
    assert pipeline.redis.exists(f"carillon:first_refusals:{pipeline.provider.id}") == 0


def test_a_provider_that_accepts_nothing_proves_nothing_about_a_token(pipeline):
    """A very small app with a wrong key: what it has to say waits for a person, and no device is retired."""
    pipeline.member("general", "leia", "han")
    pipeline.apns.answers[token("han")] = [Answer(400, "BadDeviceToken")]
    pipeline.publish(message())
    pipeline.run()
    tries = 0
    while not (stopped := pipeline.breaker.stopped(pipeline.provider.id)):
        pipeline.later(10.0)
        pipeline.deliver()
        tries += 1
    assert stopped.reason == "refused_unproven"
    assert 6 <= tries <= 8, "a minute"
    assert len(pipeline.apns.sent) < 10
    assert pipeline.retire_deferred() == 0
    assert active(pipeline) == {"leia", "han"}
    assert pipeline.journal.backlog() == (1, 1)
    pipeline.apns.answers[token("han")] = [Answer(200)]
    pipeline.redis.delete(f"carillon:probe:{pipeline.provider.id}")
    pipeline.later()
    pipeline.deliver()
    assert pipeline.journal.counts("demo")["accepted"] == 1
    assert pipeline.breaker.stopped(pipeline.provider.id) is None


def test_a_token_that_is_refused_for_a_minute_in_a_quiet_app_goes_if_its_key_has_worked(pipeline):
    pipeline.member("general", "leia", "han", "luke")
    pipeline.publish(message(id="e1"))
    pipeline.run()
    pipeline.apns.answers[token("han")] = [Answer(400, "BadDeviceToken")]
    pipeline.publish(message(id="e2", recipients=["han"], seconds=1))
    pipeline.run()
    for _ in range(7):
        pipeline.later(10.0)
        pipeline.deliver()
    pipeline.retire_deferred()
    assert active(pipeline) == {"leia", "luke"}
    assert pipeline.breaker.stopped(pipeline.provider.id) is None
    assert pipeline.journal.backlog() == (0, 0)


def test_a_token_that_is_refused_while_another_is_accepted_goes_though_the_app_is_small(pipeline):
    pipeline.member("general", "leia", "han", "luke")
    pipeline.apns.answers[token("han")] = [Answer(400, "BadDeviceToken")]
    for n in range(2):
        pipeline.publish(message(id=f"e{n}", seconds=n))
        pipeline.run()
        pipeline.later(6.0)
        pipeline.deliver()
    pipeline.retire_deferred()
    assert active(pipeline) == {"leia", "luke"}
    assert pipeline.breaker.stopped(pipeline.provider.id) is None
    assert pipeline.journal.counts("demo")["accepted"] == 2


def test_a_wake_up_too_many_finds_nothing(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.run()
    assert pipeline.delivery.deliver("urgent") == {}
    assert len(pipeline.apns.sent) == 1


def test_a_batch_in_other_hands_is_left_to_them_until_their_lease_is_over(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.take()
    pipeline.expand()
    first = pipeline.journal.take_batch("urgent")
    assert pipeline.deliver() == []
    assert pipeline.journal.make_due_ready() == 0
    assert pipeline.later() == 1
    again = pipeline.journal.take_batch("urgent")
    assert first is not None
    assert again is not None
    assert (again.id, again.badges) == (first.id, first.badges), "a resumed batch counts no badge twice"


def test_who_takes_a_batch_knows_how_many_others_are_ready(pipeline):
    for id in ("e1", "e2", "e3"):
        pipeline.member(id, "leia", f"of-{id}")
        pipeline.publish(message(id=id, channel=id))
        pipeline.take()
        pipeline.expand()
    others = list[int]()
    turns = [pipeline.delivery.deliver_next("urgent", others=others.append) for _ in range(3)]
    assert others == [2, 1, 0]
    assert turns == [({"accepted": 1}, False)] * 3, "and none is ready since"
    assert pipeline.delivery.deliver_next("urgent", others=others.append) == ({}, False)
    assert others[3:] == [0]


def test_after_its_last_batch_it_looks_again_where_some_of_it_may_be_ready(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.apns.answers[token("han")] = [Answer(503, "ServiceUnavailable")]
    pipeline.publish(message())
    pipeline.take()
    pipeline.expand()
    assert pipeline.delivery.deliver_next("urgent") == ({"retry.ServiceUnavailable": 1}, True)


def test_after_its_last_batch_it_looks_again_for_one_that_waited_for_it(pipeline):
    pipeline.member("general", "leia", "han")
    for id in ("e1", "e2"):
        pipeline.publish(message(id=id))
        pipeline.take()
        pipeline.expand()
    waiting = list[object]()

    def take_second():
        if not waiting:
            waiting.append(pipeline.journal.take_batch("urgent"))

    pipeline.apns.before = take_second
    assert pipeline.delivery.deliver_next("urgent").more
    assert waiting == [None]
    assert pipeline.delivery.deliver_next("urgent") == ({"accepted": 1}, False)


def test_what_was_marked_before_a_worker_died_is_not_sent_again(pipeline):
    pipeline.member("general", "leia", "han", "luke")
    pipeline.publish(message())
    pipeline.take()
    pipeline.expand()
    taken = pipeline.journal.take_batch("urgent")
    assert taken is not None
    pipeline.journal.mark(taken.id, b'[[0,"delivered","",0]]')
    pipeline.later()
    assert pipeline.deliver() == [{"accepted": 2}]
    assert [user_of(n) for n in pipeline.apns.sent] == [taken.batch.jobs[1].user]
    assert pipeline.journal.backlog() == (0, 0)


def test_a_worker_that_dies_in_the_middle_of_a_batch_repeats_only_what_was_unanswered(pipeline):
    pipeline.member("general", "leia", *(f"u{n}" for n in range(10)))
    pipeline.publish(message())
    pipeline.apns.half = {token(f"u{n}") for n in range(7)}
    with pytest.raises(pipeline.apns.Died):
        pipeline.run()
    pipeline.apns.half = None
    pipeline.later()
    pipeline.deliver()
    tries = Counter(user_of(n) for n in pipeline.apns.sent)
    assert [user for user, n in tries.items() if n == 2] == ["u7", "u8", "u9"]
    assert pipeline.journal.counts("demo")["accepted"] == 10
    assert pipeline.journal.backlog() == (0, 0)


def test_an_expansion_whose_worker_died_is_done_once(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.take()
    opened = pipeline.journal.take_messages("urgent", 100)
    pipeline.later()
    assert pipeline.expand() == 1
    assert pipeline.fan_out.expand(opened).batches.total() == 0, "whoever comes second writes nothing"
    assert len(pipeline.run()) == 1


def test_a_stale_message_leaves_its_neighbours_alone(pipeline):
    """The step is all or nothing, so the rest is worked out again without the stale one."""
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="e1"), message(id="e2"))
    pipeline.take()
    opened = pipeline.journal.take_messages("urgent", 100)
    pipeline.fan_out.expand(opened[:1])
    pipeline.fan_out.expand(opened)
    pipeline.deliver()
    assert pipeline.journal.counts("demo")["messages"] == 2
    assert len(pipeline.apns.sent) == 2


def test_a_leader_that_died_before_opening_is_made_up_for(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.take()

    class Killed(BaseException):
        pass

    def die(entries, *, token):
        raise Killed

    pipeline.publish(message())
    opened, pipeline.journal.open = pipeline.journal.open, die
    with pytest.raises(Killed):
        pipeline.take()
    pipeline.journal.open = opened
    assert pipeline.lead() == 1
    assert [user_of(n) for n in pipeline.run()] == ["han"]


def test_a_probe_that_fails_keeps_the_provider_stopped_and_spends_no_try(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.apns.answers[token("han")] = [Answer(403, "InvalidProviderToken")]
    pipeline.publish(message())
    pipeline.run()
    for _ in range(20):
        pipeline.redis.delete(f"carillon:probe:{pipeline.provider.id}")
        pipeline.later()
        assert pipeline.deliver() == [{"parked": 1}]
    assert len(pipeline.apns.sent) == 21
    pipeline.apns.answers.clear()
    pipeline.redis.delete(f"carillon:probe:{pipeline.provider.id}")
    pipeline.later()
    assert pipeline.deliver() == [{"accepted": 1}]
    assert Breaker(pipeline.partition).stopped(pipeline.provider.id) is None


def test_a_certificate_that_expires_stops_its_provider_with_one_line_and_loses_nothing(pipeline, caplog):
    caplog.set_level("INFO")

    def expired():
        raise CertificateExpired("certificate: expired on 2026-11-21")

    pipeline.member("general", "leia", "han", "luke")
    pipeline.apns.before = expired
    for n in range(3):
        pipeline.publish(message(id=f"e{n}"))
        pipeline.run()
    stopped = Breaker(pipeline.partition).stopped(pipeline.provider.id)
    assert stopped is not None
    assert stopped.reason == "certificate_expired"
    [line] = [record for record in caplog.records if "provider stopped" in record.message]
    assert (line.app, line.provider, line.reason) == ("demo", "apns", "certificate_expired")
    # Another certificate is stored.
    pipeline.apns.before = lambda: None
    for _ in range(2):
        pipeline.redis.delete(f"carillon:probe:{pipeline.provider.id}")
        pipeline.later()
        pipeline.deliver()
    assert pipeline.journal.backlog() == (0, 0)
    assert pipeline.journal.counts("demo")["accepted"] == 6


def test_a_provider_that_a_person_paused_waits_for_a_person(pipeline):
    pipeline.member("general", "leia", "han")
    Breaker(pipeline.partition).stop(pipeline.provider.id, "maintenance", pipeline.now, manual=True)
    pipeline.publish(message())
    for _ in range(3):
        assert pipeline.run() == []
        pipeline.redis.delete(f"carillon:probe:{pipeline.provider.id}")
        pipeline.later()
    assert not Breaker(pipeline.partition).resume(pipeline.provider.id), "it is not for a probe to resume"
    assert Breaker(pipeline.partition).resume(pipeline.provider.id, by_hand=True)
    assert len(pipeline.run()) == 1


def test_a_pause_that_falls_into_a_probe_holds(pipeline):
    pipeline.member("general", "leia", "han", "luke")
    breaker = pipeline.breaker
    breaker.stop(pipeline.provider.id, "InvalidProviderToken", pipeline.now)
    pipeline.redis.delete(f"carillon:probe:{pipeline.provider.id}")
    pipeline.apns.before = lambda: breaker.stop(pipeline.provider.id, "maintenance", pipeline.now, manual=True)
    pipeline.publish(message())
    assert len(pipeline.run()) == 1, "the probe"
    assert breaker.stopped(pipeline.provider.id).manual
    breaker.resume(pipeline.provider.id, by_hand=True)
    pipeline.later()
    pipeline.deliver()
    assert sorted(user_of(n) for n in pipeline.apns.sent) == ["han", "luke"]


def test_what_waits_for_a_provider_is_no_load_and_goes_as_soon_as_it_flows(pipeline):
    """However much it is: a company whose key is revoked must not stop the others' messages, nor keep workers busy."""
    pipeline.member("general", "leia", "han")
    breaker, waiting = pipeline.breaker, 300
    breaker.stop(pipeline.provider.id, "maintenance", pipeline.now, manual=True)
    pipeline.publish(*(message(id=f"e{n}") for n in range(waiting)))
    pipeline.take()
    while opened := pipeline.journal.take_messages("urgent", 1):
        pipeline.fan_out.expand(opened)
    pipeline.deliver()
    assert pipeline.journal.load() == {}
    assert pipeline.redis.zcard(f"carillon:line:urgent:{pipeline.provider.id}") == waiting
    assert pipeline.deliver() == [], "only one a minute is looked at"
    breaker.resume(pipeline.provider.id, by_hand=True)
    assert pipeline.journal.load() == {"demo": (0, waiting)}
    assert len(pipeline.run()) == waiting


def test_what_is_too_old_leaves_a_provider_that_stays_stopped(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.breaker.stop(pipeline.provider.id, "maintenance", pipeline.now, manual=True)
    pipeline.publish(*(message(id=f"e{n}") for n in range(3)))
    assert pipeline.run() == []
    pipeline.now += 10**7
    pipeline.redis.delete(f"carillon:looked:{pipeline.provider.id}")
    pipeline.later()
    assert pipeline.run() == []
    assert pipeline.journal.backlog() == (0, 0)
    assert pipeline.journal.counts("demo")["dropped.expired"] == 3


def test_a_device_that_gets_too_many_is_left_alone_and_its_neighbours_are_not(pipeline):
    pipeline.member("general", "leia", "han", "luke")
    pipeline.apns.answers[token("han")] = [Answer(429, "TooManyRequests"), Answer(200)]
    pipeline.publish(message(id="e1"))
    pipeline.run()
    pipeline.publish(message(id="e2"))
    assert [user_of(n) for n in pipeline.run()] == ["luke"]
    assert pipeline.journal.counts("demo")["limited.device_held"] == 1
    pipeline.later()
    pipeline.deliver()
    assert Counter(user_of(n) for n in pipeline.apns.sent) == {"han": 3, "luke": 2}
    assert pipeline.journal.backlog() == (0, 0)


def test_a_429_holds_the_device_though_its_message_cannot_wait(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.apns.answers[token("han")] = [Answer(429, "TooManyRequests", retry_after=7200.0), Answer(200)]
    pipeline.publish(message(id="e1"))
    pipeline.run()
    assert pipeline.journal.counts("demo")["dropped.expired"] == 1
    pipeline.publish(message(id="e2"))
    assert pipeline.run() == []


def test_what_would_wait_for_its_device_beyond_its_life_is_dropped_at_once(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.apns.answers[token("han")] = [Answer(429, "TooManyRequests", retry_after=7200.0), Answer(200)]
    pipeline.publish(message(id="e1"))
    pipeline.run()
    pipeline.publish(message(id="e2"))
    pipeline.run()
    assert pipeline.journal.backlog() == (0, 0)
    assert pipeline.journal.counts("demo")["dropped.expired"] == 2


def test_a_device_s_cooldown_grows_with_its_refusals_in_a_row_and_not_with_what_is_on_its_way(pipeline):
    limiter = pipeline.limiter
    waits = []
    for _ in range(16):
        waits.append(limiter.cool_down(1, {7: 0.0}, jitter=0.0)[7])
        assert limiter.cool_down(1, {7: 0.0}, jitter=0.0)[7] <= waits[-1] + 0.01
        pipeline.redis.zadd("carillon:notbefore:device:1", {7: time.time() - 1})
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == pytest.approx((0.5, 30.0), abs=0.01)
    assert limiter.cooldowns(1, [7, 8]) == {7: 0.0}
    pipeline.redis.zadd("carillon:notbefore:device:1", {7: time.time() - 100})
    assert limiter.cool_down(1, {7: 0.0, 8: 90.0}, jitter=0.0) == pytest.approx({7: 0.5, 8: 90.0}, abs=0.01)
    assert set(limiter.cooldowns(1, [7, 8, 9])) == {7, 8}


def test_an_accepted_push_ends_a_device_s_refusals_in_a_row(pipeline):
    """So one refusal in ten makes no device wait longer and longer."""
    refused, accepted = Answer(429, "TooManyRequests"), Answer(200)
    pipeline.member("general", "leia", "han")
    pipeline.apns.answers[token("han")] = [refused, refused, accepted, refused, accepted]
    rows = []
    for n in range(2):
        pipeline.publish(message(id=f"e{n}"))
        pipeline.run()
        for _ in range(3):
            rows.append(pipeline.redis.hvals(keys.COOLDOWN_REFUSALS(1)))
            pipeline.later(60.0)
            pipeline.deliver()
    assert rows == [[b"1"], [b"2"], [], [b"1"], [], []]


def test_random_refusals_put_nothing_off_for_long(pipeline):
    """One in ten gets 429: of 20,000 the last goes out within 20 s."""
    users = [f"u{n}" for n in range(100)]
    pipeline.member("general", "leia", *users)
    for n, user in enumerate(users[:11]):
        pipeline.apns.answers[token(user)] = [*[Answer(429, "TooManyRequests")] * (1 if n else 4), Answer(200)]
    pipeline.publish(message())
    pipeline.run()
    waited = 0.0
    for _ in range(4):
        [waits] = [[at for _, at in pipeline.redis.zrange("carillon:due", 0, -1, withscores=True)]]
        waited += max(waits) - time.time()
        pipeline.later(60.0)
        pipeline.deliver()
    assert waited < 12.0
    assert pipeline.journal.counts("demo")["accepted"] == 100


def test_what_cannot_be_written_is_dropped_with_an_alarm_and_never_tried_again(pipeline, caplog):
    pipeline.member("general", "leia", "han")
    pipeline.apns.answers[token("han")] = [NoAnswer("unwritable", "collapse id not allowed in a header")]
    pipeline.publish(message(id="e1"))
    pipeline.run()
    assert pipeline.journal.backlog() == (0, 0)
    assert pipeline.journal.counts("demo")["dropped.collapse id not allowed in a header"] == 1
    assert [r.levelname for r in caplog.records if "refused for good" in r.message] == ["ERROR"]


def test_what_is_not_sent_again_and_again_waits_longer_each_time(pipeline):
    pipeline.member("general", "leia", "han", "luke")
    pipeline.apns.answers[token("han")] = [NoAnswer("not_sent", "refused stream")]
    pipeline.publish(message(id="e1"))
    pipeline.run()
    waits = []
    for _ in range(9):
        [(_, due)] = pipeline.redis.zrange("carillon:due", 0, -1, withscores=True)
        waits.append(due - time.time())
        pipeline.later(60.0)
        pipeline.deliver()
    assert waits == sorted(waits)
    assert waits[-1] > 3.0


def test_a_provider_that_is_asked_to_slow_down_holds_no_device(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.apns.answers[token("han")] = [Answer(503, "ServiceUnavailable"), Answer(200)]
    pipeline.publish(message(id="e1"))
    pipeline.run()
    pipeline.publish(message(id="e2"))
    assert len(pipeline.run()) == 1


def test_a_batch_that_waited_for_postgres_through_its_lease_is_left_to_whoever_has_it_now(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.take()
    pipeline.expand()

    class Slow(Devices):
        def are_owned(self, owners):
            pipeline.now += 8.0
            return super().are_owned(owners)

    assert pipeline.new_delivery(devices=Slow(pipeline.pool)).deliver("urgent") == {"left": 1}
    assert pipeline.apns.sent == []
    pipeline.later()
    assert len(pipeline.run()) == 1
