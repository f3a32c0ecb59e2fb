"""A provider that cannot be reached, is silent or answers mostly errors opens its circuit breaker, and closes it by itself."""

import logging
from collections import Counter

import pytest

from tests.integration.pipeline.harness import Pipeline, message, token
from worker.core.batch import decode
from worker.core.breaker import LONG_ROW_SECONDS, Stopped, fault_reason, is_fault, opens, probe_interval
from worker.core.breaker import probe_timeout as shortened
from worker.core.model import Answer, NoAnswer, Response
from worker.core.outcome import Drop, OpenBreaker, Outcome, Retry
from worker.reports.watch import Watch
from worker.state.breaker import Breaker

REFUSED = NoAnswer("not_sent", "connect: refused")
SILENT = NoAnswer("unknown", "deadline")


def breaker_of(pipeline: Pipeline) -> Stopped | None:
    return Breaker(pipeline.partition).stopped(pipeline.provider.id)


def fail(pipeline: Pipeline, response: Response, *, rounds: int = 4, users: int = 3) -> None:
    """As many messages, each with its retries, to members whose devices are all answered like this."""
    pipeline.member("general", "leia", *(f"u{n}" for n in range(users)))
    for n in range(users):
        pipeline.apns.answers[token(f"u{n}")] = [response]
    for n in range(rounds):
        pipeline.publish(message(id=f"f{n}"))
        pipeline.run()
        since = pipeline.redis.hget(f"carillon:answers:{pipeline.provider.id}", "since")
        if since:  # the batches of a test fail within milliseconds
            pipeline.redis.hset(f"carillon:answers:{pipeline.provider.id}", "since", float(since) - 1)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        pytest.param(REFUSED, "unreachable", id="refused"),
        pytest.param(NoAnswer("not_sent", "dns"), "unreachable", id="no such host"),
        pytest.param(NoAnswer("unknown", "connection reset"), "unreachable", id="connections that end"),
        pytest.param(SILENT, "silent", id="no answer in time"),
        pytest.param(Answer(503, "ServiceUnavailable"), "unavailable", id="503"),
        pytest.param(Answer(500, None), "unavailable", id="500"),
    ],
)
def test_faults_in_a_row_open_the_breaker_and_say_what_to_do(pipeline, caplog, response, reason):
    caplog.set_level(logging.INFO)
    fail(pipeline, response)
    stopped = breaker_of(pipeline)
    assert stopped is not None
    assert stopped.reason == reason
    [line] = [record for record in caplog.records if "provider stopped" in record.message]
    assert (line.app, line.provider, line.reason) == ("demo", "apns", reason)
    assert not [r for r in caplog.records if r.message == "batch delivered"]
    assert [r for r in caplog.records if r.message == "batch not delivered"]
    Watch(pipeline.keyspace, pipeline.pool).look()
    [alarm] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (alarm.levelname, alarm.app, alarm.provider) == ("ERROR", "demo", "apns")
    assert f"({reason})" in alarm.what and alarm.condition.startswith("provider_")
    sent = len(pipeline.apns.sent)
    pipeline.publish(message(id="later"))
    assert pipeline.run() == []
    assert len(pipeline.apns.sent) == sent, "what is for it waits in the store, not in a thread"


def test_a_provider_that_can_be_reached_again_is_sent_all_that_waited_once(pipeline, caplog):
    caplog.set_level(logging.INFO)
    fail(pipeline, REFUSED)
    pipeline.publish(message(id="later"))
    pipeline.run()
    for n in range(3):
        del pipeline.apns.answers[token(f"u{n}")]
    pipeline.apns.sent.clear()
    for _ in range(3):
        pipeline.redis.delete(f"carillon:probe:{pipeline.provider.id}")
        pipeline.later()
        pipeline.deliver()
    assert breaker_of(pipeline) is None
    assert pipeline.journal.backlog() == (0, 0)
    assert Counter(n.id for n in pipeline.apns.sent).most_common(1)[0][1] == 1
    assert len(pipeline.apns.sent) == 15
    assert [r.seconds >= 0 for r in caplog.records if r.message == "provider flows again"] == [True]


def test_a_provider_that_says_when_to_come_again_is_asked_no_earlier(pipeline):
    fail(pipeline, Answer(503, "ServiceUnavailable", retry_after=90.0), rounds=1)
    stopped = breaker_of(pipeline)
    assert stopped is not None
    assert stopped.reason == "unavailable"
    assert 80_000 < pipeline.redis.pttl(f"carillon:probe:{pipeline.provider.id}") <= 90_000
    pipeline.redis.delete(f"carillon:probe:{pipeline.provider.id}")
    pipeline.later()
    pipeline.deliver()
    assert pipeline.redis.pttl(f"carillon:probe:{pipeline.provider.id}") > 80_000, (
        "a probe with Retry-After waits as well"
    )


def test_one_of_many_with_retry_after_waits_alone(pipeline):
    pipeline.member("general", "leia", "han", "luke")
    pipeline.apns.answers[token("han")] = [Answer(503, "ServiceUnavailable", retry_after=90.0)]
    pipeline.publish(message())
    pipeline.run()
    assert breaker_of(pipeline) is None


def test_one_fault_of_the_network_stops_nobody(pipeline):
    pipeline.member("general", "leia", *(f"u{n}" for n in range(30)))
    for n in range(30):
        pipeline.apns.answers[token(f"u{n}")] = [NoAnswer("unknown", "connection reset"), Answer(200)]
    pipeline.publish(message())
    pipeline.run()
    assert breaker_of(pipeline) is None
    pipeline.later(10.0)
    pipeline.deliver()
    assert pipeline.journal.backlog() == (0, 0)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_random_errors_below_half_stop_nobody(pipeline, share):
    users = [f"u{n}" for n in range(100)]
    pipeline.member("general", "leia", *users)
    for user in users[: int(share * 100)]:
        pipeline.apns.answers[token(user)] = [Answer(503, "ServiceUnavailable"), Answer(200)]
    pipeline.publish(message())
    pipeline.run()
    assert breaker_of(pipeline) is None


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        pytest.param(SILENT, "slow", id="most are not answered in time"),
        pytest.param(Answer(429, "TooManyRequests"), "unavailable", id="a 429 for most devices is about none of them"),
        pytest.param(Answer(503, None), "unavailable", id="503"),
    ],
)
def test_most_of_many_failing_open_it_at_once(pipeline, response, reason):
    users = [f"u{n}" for n in range(40)]
    pipeline.member("general", "leia", *users)
    for user in users[:25]:
        pipeline.apns.answers[token(user)] = [response]
    pipeline.publish(message())
    pipeline.run()
    stopped = breaker_of(pipeline)
    assert stopped is not None
    assert stopped.reason == reason


def test_one_device_that_gets_too_many_says_nothing_of_its_provider(pipeline):
    fail(pipeline, Answer(429, "TooManyRequests"), users=1, rounds=8)
    assert breaker_of(pipeline) is None


def test_an_answer_of_any_kind_proves_that_the_provider_is_there(pipeline):
    fail(pipeline, REFUSED)
    for n in range(3):
        pipeline.apns.answers[token(f"u{n}")] = [Answer(413, "PayloadTooLarge")]
    pipeline.redis.delete(f"carillon:probe:{pipeline.provider.id}")
    pipeline.later()
    pipeline.deliver()
    assert breaker_of(pipeline) is None


def test_a_wrong_key_behind_a_dead_host_is_named_when_the_host_is_back(pipeline):
    fail(pipeline, REFUSED)
    for n in range(3):
        pipeline.apns.answers[token(f"u{n}")] = [Answer(403, "InvalidProviderToken")]
    pipeline.redis.delete(f"carillon:probe:{pipeline.provider.id}")
    pipeline.later()
    pipeline.deliver()
    stopped = breaker_of(pipeline)
    assert stopped is not None
    assert stopped.reason == "InvalidProviderToken"


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param({"row": 2, "lasted": 1.5}, False, id="two quick failures"),
        pytest.param({"row": 3, "lasted": 0.1}, False, id="three at the same moment"),
        pytest.param({"row": 3, "lasted": 1.0}, True, id="three over a second"),
        pytest.param({"row": 2, "lasted": LONG_ROW_SECONDS}, True, id="two that took long"),
        pytest.param({"row": 1, "lasted": 60.0}, False, id="a small one that took very long"),
        pytest.param({"row": 1, "lasted": 10.0, "size": 100}, True, id="a large one that took long"),
        pytest.param({"answered": 10, "failed": 9}, False, id="too few to tell"),
        pytest.param({"answered": 10, "failed": 10}, False, id="half"),
        pytest.param({"answered": 10, "failed": 11}, True, id="more than half"),
    ],
)
def test_the_rule_by_number_time_and_share(seen, expected):
    assert opens(**({"row": 0, "lasted": 0.0, "answered": 0, "failed": 0} | seen)) is expected


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        pytest.param(Retry(1.0, "deadline", "origin"), True, id="the way there"),
        pytest.param(Retry(1.0, "ServiceUnavailable", "provider"), True, id="the provider"),
        pytest.param(Retry(1.0, "TooManyRequests", "device"), False, id="a device"),
        pytest.param(Retry(1.0, "retry"), False, id="one notification"),
        pytest.param(Retry(1.0, "ExpiredProviderToken", "origin", refresh_token=True), False, id="an old token"),
        pytest.param(Retry(1.0, "closed", "origin"), False, id="we are closing"),
        pytest.param(Retry(1.0, "QUOTA_EXCEEDED", "provider", cooldown=True), False, id="a quota"),
        pytest.param(OpenBreaker("BadTopic"), False, id="a provider that is wrong stops for that"),
        pytest.param(Drop("expired"), False, id="too late"),
    ],
)
def test_what_speaks_against_a_provider(outcome: Outcome, expected: bool):
    assert is_fault(outcome) is expected


def test_the_reason_is_what_most_faults_have():
    lost, silent = Retry(1.0, "connect: refused", "origin"), Retry(1.0, "deadline", "origin")
    refused = Retry(1.0, "status_502", "origin")
    assert fault_reason([lost, lost, silent], said=0, alive=False) == "unreachable"
    assert fault_reason([lost, silent, silent], said=0, alive=False) == "silent"
    assert fault_reason([silent], said=0, alive=True) == "slow"
    assert fault_reason([refused, lost], said=1, alive=False) == "unavailable"
    assert fault_reason([], said=0, alive=True) == "unavailable"


def test_probes_of_a_passing_fault_begin_after_a_second_and_are_short():
    stopped = Stopped("unreachable", since=1000.0)
    assert [probe_interval(stopped, 1000.0 + n) for n in (0, 4, 8, 60, 1000)] == [1.0, 1.0, 2.0, 10.0, 10.0]
    assert [shortened(stopped, 1000.0 + n, 10.0) for n in (0, 20, 60)] == [2.0, 5.0, 10.0]
    assert shortened(Stopped("BadTopic", 1000.0), 1000.0, 10.0) == 10.0


def test_what_is_too_old_goes_at_once_though_others_look_meanwhile(pipeline):
    """While one batch is looked at others find nothing to take there, and their way is out of turn."""
    pipeline.member("general", "leia", "han")
    breaker = Breaker(pipeline.partition)
    breaker.stop(pipeline.provider.id, "silent", pipeline.now)
    for n in range(12):
        pipeline.publish(message(id=f"e{n}"))
        pipeline.take()
        pipeline.expand()
    expires_at = max(
        sending.expires_at
        for key in pipeline.redis.keys(f"{pipeline.partition.prefix}batch:*")
        for sending in decode(pipeline.redis.hget(key, "doc")).sendings
    )
    pipeline.now = expires_at + 1.0
    breaker.look_again(pipeline.provider.id, pipeline.provider.id, probe=True)
    workers = [pipeline.new_delivery(now=lambda: looking()) for _ in range(3)]
    at_work: list[None] = []

    def looking() -> float:
        """Each time that one looks, the next one does."""
        if len(at_work) < len(workers) - 1:
            at_work.append(None)
            workers[len(at_work)].deliver("urgent")
            at_work.pop()
        return float(pipeline.now)

    while workers[0].deliver("urgent"):
        pass
    assert pipeline.journal.backlog() == (0, 0)
    assert pipeline.apns.sent == []
    assert pipeline.journal.counts("demo")["dropped.expired"] == 12
