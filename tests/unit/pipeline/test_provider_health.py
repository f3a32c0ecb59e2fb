"""What a batch's answers say of its provider, decided without an engine."""

from typing import Any

import pytest

from tests.unit.pipeline.runs import NOW, breaker, fake, insist, job, new_run, stopped
from worker.core.breaker import Look
from worker.core.outcome import DELIVERED, Drop, OpenBreaker, Retry, Unregister
from worker.pipeline.provider_health import ProviderHealth
from worker.state.breaker import Answers

GONE = Unregister("Unregistered", 5)
REFUSED = Unregister("BadDeviceToken", 5, guarded=True)
UNPROVEN = Drop("refused_unproven")
GUARDED_DROP = Drop("NOT_FOUND", alarm=True, guarded=True)
LOST = Retry(1.0, "no connection", "origin", spends_attempt=False)


def new_health(breaker: Any, deferred: Any = None) -> ProviderHealth:
    return ProviderHealth(breaker, deferred or fake(known=set()), insist(), timeout=10.0, name=str, now=lambda: NOW)


def judged(recent: Answers, *outcomes: Any, **fields: Any) -> list[Any]:
    """The outcomes once they are judged by so many recent answers."""
    run = new_run(*(job(n) for n in range(len(outcomes))), **fields)
    run.outcomes = list(outcomes)
    new_health(breaker(recent)).judge_answers(run)
    return run.outcomes


@pytest.mark.parametrize(
    ("recent", "outcome"),
    [
        pytest.param(Answers(1000, 3), REFUSED, id="a provider that is well: the token is bad"),
        pytest.param(Answers(19, 1), UNPROVEN, id="too few answers to know"),
        pytest.param(Answers(100, 30), UNPROVEN, id="it refuses many and takes most"),
        pytest.param(Answers(100, 60), OpenBreaker("mass_refusal", "origin"), id="it refuses most"),
        pytest.param(Answers(1000, 12, in_a_row=12), OpenBreaker("mass_refusal", "origin"), id="many in a row"),
    ],
)
def test_a_refusal_stands_only_while_the_provider_is_well(recent, outcome):
    assert judged(recent, REFUSED) == [outcome]


@pytest.mark.parametrize(
    ("recent", "outcome"),
    [
        pytest.param(Answers(1000, 3), GUARDED_DROP, id="a provider that is well"),
        pytest.param(Answers(11, 11, in_a_row=11), GUARDED_DROP, id="too few answers to know"),
        pytest.param(Answers(100, 30), GUARDED_DROP, id="it takes most"),
        pytest.param(Answers(100, 60), OpenBreaker("mass_refusal", "origin"), id="it refuses most"),
        pytest.param(Answers(12, 12, in_a_row=12), OpenBreaker("mass_refusal", "origin"), id="many in a row"),
    ],
)
def test_a_refusal_that_retires_nobody_is_sent_again_only_where_the_provider_is_at_fault(recent, outcome):
    assert judged(recent, GUARDED_DROP) == [outcome]


def test_such_a_refusal_from_before_its_provider_proved_to_be_well_is_not_sent_a_third_time():
    health_breaker, run = breaker(), new_run(job(1), refused=[0])
    run.outcomes = [GUARDED_DROP]
    new_health(health_breaker).judge_answers(run)
    assert run.outcomes == [GUARDED_DROP]
    assert health_breaker.made == []


@pytest.mark.parametrize(
    ("recent", "outcome"),
    [
        pytest.param(Answers(1000, 0, gone=400), GONE, id="some are gone"),
        pytest.param(Answers(199, 0, gone=199), GONE, id="too few to tell"),
        pytest.param(Answers(400, 0, gone=300), Drop("mass_gone", alarm=True), id="everybody at once"),
    ],
)
def test_a_mass_unregistration_is_not_believed(recent, outcome):
    assert judged(recent, GONE) == [outcome]


def test_devices_of_a_mass_unregistration_are_noted():
    run = new_run(job(7))
    run.outcomes = [GONE]
    new_health(breaker(Answers(400, 0, gone=300))).judge_answers(run)
    assert run.unconfirmed == [(7, 5, "Unregistered")]


def test_a_refusal_from_before_its_provider_proved_to_be_well_says_nothing():
    health_breaker, run = breaker(), new_run(job(1), refused=[0])
    run.outcomes = [REFUSED]
    new_health(health_breaker).judge_answers(run)
    assert run.outcomes == [UNPROVEN]
    assert health_breaker.made == []


def test_what_an_earlier_try_had_recorded_is_not_counted_again():
    health_breaker, run = breaker(), new_run(recorded={0})
    run.outcomes = [DELIVERED, DELIVERED, GONE]
    new_health(health_breaker).judge_answers(run)
    [(_, (_, answered, refused, gone, *_))] = health_breaker.made
    assert (answered, refused, gone) == (2, set(), 1)


def test_answers_are_counted_by_device():
    health_breaker, run = breaker(), new_run(job(1), job(1), job(2))
    run.outcomes = [DELIVERED] * 3
    new_health(health_breaker).judge_answers(run)
    [(_, (_, answered, *_))] = health_breaker.made
    assert answered == 2


def test_a_device_whose_refusal_is_known_says_nothing_new():
    health_breaker, run = breaker(), new_run(job(1), job(2))
    run.outcomes = [REFUSED, REFUSED]
    new_health(health_breaker, fake(known={1})).judge_answers(run)
    [(_, (_, answered, refused, *_))] = health_breaker.made
    assert (answered, refused) == (1, {2})


def test_faults_in_a_row_stop_the_provider_and_are_named(caplog):
    caplog.set_level("INFO")
    health_breaker, run = breaker(Answers(0, 0, row=3, lasted=2.0)), new_run(job(1), faults=[0], answered=False)
    run.outcomes = [LOST]
    new_health(health_breaker).judge_answers(run)
    assert ("stop", (1, "unreachable", NOW)) in health_breaker.made
    [record] = caplog.records
    assert (record.levelname, record.reason, record.causes) == ("INFO", "unreachable", "no connection")


def test_a_provider_that_asks_to_be_left_alone_is_asked_no_earlier():
    health_breaker, run = breaker(Answers(0, 0)), new_run(job(1), faults=[0], answered=False, retry_after=90.0)
    run.outcomes = [Retry(90.0, "status_503", "provider")]
    new_health(health_breaker).judge_answers(run)
    assert health_breaker.names()[-2:] == ["stop", "put_off"]
    assert health_breaker.made[-1] == ("put_off", (1, 90.0))


@pytest.mark.parametrize(
    ("outcome", "answered", "reason", "proof"),
    [
        pytest.param(DELIVERED, True, "mass_refusal", True, id="accepted"),
        pytest.param(GONE, True, "mass_refusal", True, id="a 410: its credential was taken"),
        pytest.param(REFUSED, True, "mass_refusal", False, id="refused again"),
        pytest.param(REFUSED, True, "unreachable", True, id="it was away, and any answer shows that it is back"),
        pytest.param(LOST, False, "unreachable", False, id="still away"),
    ],
)
def test_what_a_probe_proves(outcome, answered, reason, proof):
    run = new_run(job(1), answered=answered)
    run.outcomes = [outcome]
    assert new_health(breaker()).proves(run, 0, Look(stopped(reason), probe=True, way=1)) is proof
    assert run.outcomes == [outcome if proof else None]


def test_after_a_probe_that_failed_the_next_waits():
    health_breaker, run = breaker(), new_run(job(1), answered=False)
    run.outcomes = [LOST]
    new_health(health_breaker).proves(run, 0, Look(stopped("unreachable"), probe=True, way=1))
    assert health_breaker.made == [("put_off", (1, 25.0))]


def test_a_provider_that_a_person_stopped_meanwhile_does_not_flow():
    health = new_health(breaker(stopped=stopped("maintenance", manual=True)))
    assert not health.resume(new_run(), Look(stopped(), probe=True, way=1))


def test_what_answers_say_stops_the_provider_once_for_each_reason(caplog):
    caplog.set_level("INFO")
    health_breaker, run = breaker(), new_run()
    run.outcomes = [OpenBreaker("BadTopic"), OpenBreaker("BadTopic"), DELIVERED]
    deferred = fake()
    new_health(health_breaker, deferred).stop_provider(run)
    assert health_breaker.made == [("stop", (1, "BadTopic", NOW))]
    assert [record.reason for record in caplog.records] == ["BadTopic"]
    assert deferred.made == []


def test_where_most_are_refused_no_retirement_stays():
    deferred, run = fake(), new_run(job(1))
    run.outcomes = [OpenBreaker("mass_refusal")]
    new_health(breaker(), deferred).stop_provider(run)
    assert deferred.made == [("cancel", (1,))]


@pytest.mark.parametrize(("answered", "calls"), [(None, ["look_again"]), (True, []), (False, [])])
def test_another_batch_may_be_looked_at_where_nothing_was_sent(answered, calls):
    health_breaker = breaker()
    new_health(health_breaker).look_again(new_run(look=Look(stopped(), probe=True, way=1), answered=answered))
    assert health_breaker.names() == calls


def test_where_the_provider_answered_nothing_no_answer_is_counted():
    health_breaker, run = breaker(), new_run(job(1))
    run.outcomes = [Drop("expired")]
    new_health(health_breaker).judge_answers(run)
    assert health_breaker.made == []
