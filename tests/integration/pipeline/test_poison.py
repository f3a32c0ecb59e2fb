"""A bug of ours that a job meets on its way to APNs: the job is dead-lettered, its neighbours in the batch are delivered."""

import pytest
from psycopg.errors import NumericValueOutOfRange

from producers import events as ev
from tests.integration.pipeline.harness import message, token, user_of
from worker.core.model import Answer, Notification
from worker.pipeline.poison import PARTS, READINGS, TRIES
from worker.pipeline.steps.record_answers import RecordAnswers


@pytest.fixture
def broken(pipeline, monkeypatch):
    """Whoever has a token from `poisoned` cannot be sent to, nor can who is in a batch with them."""
    poisoned: set[str] = set()
    send = pipeline.apns.send

    def fail(provider, notifications: list[Notification], **how):
        if any(n.token in poisoned for n in notifications):
            raise KeyError("what nobody thought of")
        return send(provider, notifications, **how)

    monkeypatch.setattr(pipeline.apns, "send", fail)
    return poisoned


def tries(pipeline) -> int:
    """Everything that becomes due is tried, until nothing is left."""
    n = 0
    while pipeline.redis.exists("carillon:due"):
        pipeline.later()
        n += len(pipeline.deliver())
    return n


def test_one_job_is_dead_lettered_and_its_neighbours_are_delivered(pipeline, broken):
    users = [f"u{n:02}" for n in range(30)]
    pipeline.member("general", "leia", *users)
    broken.add(token("u17"))
    pipeline.publish(message(id="e1"), message(id="e2", recipients=["u01", "u02"]))
    pipeline.run()
    assert tries(pipeline) < 3 * TRIES + 3 * PARTS
    notified = sorted(user_of(n) for n in pipeline.apns.sent)
    assert notified == sorted([*users, "u01", "u02"][:17] + [*users, "u01", "u02"][18:])
    [letter] = [pipeline.ledger.dead_letter(stored.id).letter for stored in pipeline.ledger.dead_letters()]
    assert (letter.app, letter.event_id) == ("demo", "e1")
    assert "KeyError" in letter.error
    assert ev.decode(letter.document).id == "e1"
    assert pipeline.journal.backlog() == (0, 0)
    assert pipeline.journal.counts("demo")["dropped.delivery_failed"] == 1


def test_a_fault_that_passes_costs_nobody_anything(pipeline, broken):
    pipeline.member("general", "leia", "han", "luke")
    broken.add(token("han"))
    pipeline.publish(message())
    pipeline.run()
    assert pipeline.deliver() == [], "not at once"
    broken.clear()
    tries(pipeline)
    assert sorted(user_of(n) for n in pipeline.apns.sent) == ["han", "luke"]
    assert pipeline.ledger.dead_letters() == []


def test_what_apns_has_accepted_before_the_fault_is_not_sent_again(pipeline, monkeypatch):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    record, faults = RecordAnswers.__call__, iter([True, False])

    def fail_once(self, run):
        if next(faults, False):
            raise KeyError("what nobody thought of")
        return record(self, run)

    monkeypatch.setattr(RecordAnswers, "__call__", fail_once)
    pipeline.run()
    tries(pipeline)
    assert [user_of(n) for n in pipeline.apns.sent] == ["han"]
    assert pipeline.journal.counts("demo")["accepted"] == 1
    assert pipeline.journal.backlog() == (0, 0)


@pytest.mark.parametrize("at", ["devices.retire", "journal.finish"])
def test_a_batch_whose_outcomes_cannot_be_carried_out_is_a_dead_letter(pipeline, monkeypatch, at):
    pipeline.member("general", "leia", "han")
    pipeline.apns.answers[token("han")] = [Answer(410, "Unregistered")]
    pipeline.publish(message())
    owner, _, method = at.partition(".")
    once = getattr(getattr(pipeline, owner), method)

    def fail(*given):
        if method == "finish" and "dropped.delivery_failed" in given[2]["demo"]:  # what ends a batch that is given up
            return once(*given)
        raise NumericValueOutOfRange

    monkeypatch.setattr(getattr(pipeline, owner), method, fail)
    pipeline.run()
    tries(pipeline)
    [letter] = [
        stored.letter for stored in pipeline.ledger.dead_letters() if "NumericValueOutOfRange" in stored.letter.error
    ][:1]
    assert letter.app == "demo"
    assert len(pipeline.apns.sent) == 1
    assert pipeline.journal.backlog() == (0, 0)


def test_a_batch_that_cannot_be_decoded_is_dead_lettered_in_the_end(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.take()
    pipeline.expand()
    [key] = pipeline.redis.keys("carillon:batch:*")
    pipeline.redis.hset(key, "doc", b'["of tomorrow"]')
    pipeline.deliver()
    assert tries(pipeline) == READINGS - 1
    [letter] = [pipeline.ledger.dead_letter(stored.id).letter for stored in pipeline.ledger.dead_letters()]
    assert letter.document == b'["of tomorrow"]'
    assert pipeline.journal.backlog() == (0, 0)


def test_a_batch_of_another_release_waits_for_one_that_can_read_it(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.take()
    pipeline.expand()
    [key] = pipeline.redis.keys("carillon:batch:*")
    readable = pipeline.redis.hget(key, "doc")
    pipeline.redis.hset(key, "doc", b'["of tomorrow"]')
    pipeline.deliver()
    pipeline.redis.hset(key, "doc", readable)
    tries(pipeline)
    assert [user_of(n) for n in pipeline.apns.sent] == ["han"]
    assert pipeline.ledger.dead_letters() == []
