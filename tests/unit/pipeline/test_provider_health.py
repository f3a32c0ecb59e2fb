"""What a batch's answers say of its provider, decided without an engine."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.pipeline.runs import NOW, breaker, fake, firsts, insist, job, new_run, sending, stopped
from worker.core.batch_run import Well
from worker.core.breaker import Look
from worker.core.outcome import DELIVERED, Drop, OpenBreaker, Retry, Unregister
from worker.pipeline.provider_health import ProviderHealth, _credential
from worker.providers.apns.settings import ApnsSettings, Key
from worker.state.breaker import Answers

GONE = Unregister("Unregistered", 5)
REFUSED = Unregister("BadDeviceToken", 5, guarded=True)
UNPROVEN = Drop("refused_unproven")
GUARDED_DROP = Drop("NOT_FOUND", alarm=True, guarded=True)
LOST = Retry(1.0, "no connection", "origin", spends_attempt=False)


def new_health(breaker: Any, deferred: Any = None) -> ProviderHealth:
    return ProviderHealth(breaker, deferred or fake(), insist(), timeout=10.0, name=str, now=lambda: NOW)


def judged(recent: Answers, *outcomes: Any, **fields: Any) -> list[Any]:
    """The outcomes of devices that are refused again, once they are judged by so many recent answers."""
    run = new_run(*(job(n) for n in range(len(outcomes))), **fields)
    run.outcomes = list(outcomes)
    new_health(breaker(recent, first_refusals=firsts(6.0, proven=True))).judge_answers(run)
    return run.outcomes


@pytest.mark.parametrize("outcome", [REFUSED, GUARDED_DROP])
@pytest.mark.parametrize(
    ("age", "proven", "worked", "found"),
    [
        pytest.param(0.0, False, True, Retry(5.0, "…"), id="its first refusal"),
        pytest.param(2.0, True, True, Retry(3.0, "…"), id="too soon to know, whatever was accepted"),
        pytest.param(6.0, False, True, Retry(6.1, "…"), id="nothing was accepted since"),
        pytest.param(6.0, True, False, "…", id="refused again, and something else was accepted"),
        pytest.param(50.0, False, True, Retry(10.1, "…"), id="nothing for nearly a minute"),
        pytest.param(60.0, False, False, OpenBreaker("refused_unproven", "origin"), id="nothing for a minute"),
        pytest.param(60.0, False, True, "…", id="the same, with a credential that has worked before"),
        pytest.param(4000.0, True, False, "…", id="refused again long after"),
    ],
)
def test_a_refusal_stands_once_the_device_is_refused_again_and_its_way_works(outcome, age, proven, worked, found):
    run = new_run(job(1))
    run.outcomes = [outcome]
    new_health(breaker(Answers(3, 1), first_refusals=firsts(age, proven=proven, worked=worked))).judge_answers(run)
    if isinstance(found, Retry):
        assert run.outcomes == [replace(found, reason=outcome.reason)]
    else:
        assert run.outcomes == [outcome if found == "…" else found]


def test_what_would_be_confirmed_after_its_life_is_dropped_and_its_device_stays():
    run = new_run(job(1), sendings=[sending(expires_at=int(NOW) + 4)])
    run.outcomes = [REFUSED]
    new_health(breaker(Answers(1000, 1))).judge_answers(run)
    assert run.outcomes == [Drop("expired", cause="BadDeviceToken")]


def test_what_the_client_refuses_to_send_stops_no_way():
    run = new_run(job(1), unwritable={0})
    run.outcomes = [REFUSED]
    new_health(breaker(Answers(0, 0), first_refusals=firsts(100.0))).judge_answers(run)
    assert run.outcomes == [UNPROVEN]


def test_a_device_that_accepts_is_not_known_as_refused_any_more():
    health_breaker, run = breaker(Answers(10, 0, unproven=True)), new_run(job(7, registered_at=5), job(8))
    run.outcomes = [DELIVERED, GONE]
    new_health(health_breaker).judge_answers(run)
    assert health_breaker.made[-1] == ("accepted", (1, {(7, 5)}))


def test_what_was_accepted_proves_the_way_as_of_when_it_was_sent():
    health_breaker, run = breaker(), new_run(job(1), job(2), sent={0, 1}, sent_at=NOW - 3.0)
    run.outcomes = [DELIVERED, REFUSED]
    new_health(health_breaker).judge_answers(run)
    [(_, (way, refused, ago, credential)), (_, recorded)] = health_breaker.made
    assert (way, refused, ago) == (1, [(2, 1)], 3.0)
    assert recorded[-2:] == (3.0, credential)


def test_a_credential_has_another_name_after_each_change():
    names = {_credential(ApnsSettings(topic, Key("T", "K", pem))) for topic in ("a", "b") for pem in ("1", "2")}
    assert len(names) == 4
    assert _credential(ApnsSettings("a", Key("T", "K", "1"))) in names


@pytest.mark.parametrize(
    ("recent", "outcome"),
    [
        pytest.param(Answers(1000, 3), REFUSED, id="a provider that is well: the token is bad"),
        pytest.param(Answers(19, 1), REFUSED, id="one that has little to do"),
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


@pytest.mark.parametrize(
    ("age", "attempt", "counted"),
    [
        pytest.param(0.0, 0, True, id="its first"),
        pytest.param(3.0, 0, False, id="another message just after"),
        pytest.param(6.0, 1, False, id="the same message again"),
        pytest.param(60.0, 0, True, id="another message later"),
    ],
)
def test_a_refusal_counts_unless_it_says_nothing_new(age, attempt, counted):
    health_breaker, run = breaker(first_refusals=firsts(age)), new_run(job(1, attempt=attempt))
    run.outcomes = [REFUSED]
    new_health(health_breaker).judge_answers(run)
    [_, (_, (_, answered, refused, *_))] = health_breaker.made
    assert (answered, refused) == (int(counted), {1} if counted else set())


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
    assert health_breaker.made == [("put_off", (1, 10.0))]


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
@pytest.mark.parametrize("probe", [True, False])
def test_another_batch_may_be_looked_at_where_nothing_was_sent(answered, calls, probe):
    health_breaker = breaker()
    new_health(health_breaker).look_again(new_run(look=Look(stopped(), probe=probe, way=1), answered=answered))
    assert health_breaker.names() == calls


def test_where_the_provider_answered_nothing_no_answer_is_counted():
    health_breaker, run = breaker(), new_run(job(1))
    run.outcomes = [Drop("expired")]
    new_health(health_breaker).judge_answers(run)
    assert health_breaker.made == []


@pytest.mark.parametrize("recorded", [(), {0}])
def test_where_all_is_well_the_answers_are_left_to_the_last_write(recorded):
    asked, run = fake(), new_run(job(1), job(2), job(2), troubled=False, recorded=recorded)
    run.outcomes = [DELIVERED, DELIVERED, DELIVERED]
    new_health(asked).judge_answers(run)
    assert not asked.made
    assert run.well == Well(2 - len(recorded), _credential(run.provider.settings)), "devices count, and once"
