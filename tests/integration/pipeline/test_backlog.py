"""What waits is counted where it waits."""

from datetime import UTC, datetime, timedelta

from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, message, stamp, token
from worker.core.model import Answer, NoAnswer
from worker.database import cursors
from worker.state import backlog
from worker.state.backlog import Backlog, Waiting


def look(pipeline: Pipeline) -> Backlog:
    with pipeline.pool.connection() as db:
        return backlog.read(pipeline.keyspace, cursors.taken(db))


def states(pipeline: Pipeline) -> dict[str, tuple[int, int, int]]:
    """State -> messages, batches, notifications."""
    found = look(pipeline).by(lambda one: (one.state,))
    return {state: (one.messages, one.batches, one.notifications) for (state,), one in found.items()}


def test_an_idle_system_has_no_backlog(pipeline: Pipeline) -> None:
    assert look(pipeline) == Backlog([])
    assert look(pipeline).total == Waiting("ready")
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.run()
    assert look(pipeline) == Backlog([])


def test_each_thing_that_waits_is_in_one_state(pipeline: Pipeline) -> None:
    pipeline.member("general", "leia", "han", "luke")
    pipeline.take()
    documents = [message(id=f"e{n}") for n in range(3)]
    pipeline.publish(*documents)
    [waiting] = look(pipeline).waiting
    assert (waiting.state, waiting.app, waiting.messages) == ("stream", "", 3)
    assert waiting.octets == sum(len(ev.encode(one)) for one in documents)
    assert waiting.oldest is not None
    assert 0 <= waiting.oldest < 60

    pipeline.take()
    [waiting] = look(pipeline).waiting
    assert waiting[:5] == ("ready", "demo", "urgent", None, 3)

    opened = pipeline.journal.take_messages("urgent", 2)
    assert len(opened) == 2
    assert states(pipeline) == {"leased": (2, 0, 0), "ready": (1, 0, 0)}

    pipeline.fan_out.expand(opened)
    found = look(pipeline)
    assert (
        found.by(lambda one: (one.state, one.app, one.lane, str(one.way)))[
            "ready", "demo", "urgent", str(pipeline.provider.id)
        ].notifications
        == 4
    )
    assert states(pipeline) == {"ready": (1, 1, 4)}
    assert not found.estimated

    assert pipeline.journal.take_batch("urgent") is not None
    assert states(pipeline) == {"leased": (0, 1, 4), "ready": (1, 0, 0)}
    assert look(pipeline).total.messages == 1
    assert look(pipeline).total.batches == 1


def test_what_is_tried_again_is_due(pipeline: Pipeline) -> None:
    pipeline.member("general", "leia", "han", "luke")
    pipeline.apns.answers[token("han")] = [NoAnswer("unknown", "connection lost")]
    pipeline.publish(message())
    pipeline.run()
    [waiting] = look(pipeline).waiting
    assert waiting[:7] == ("due", "demo", "urgent", pipeline.provider.id, 0, 1, 1)


def test_what_a_stopped_provider_holds_back_is_held(pipeline: Pipeline) -> None:
    pipeline.member("general", "leia", "han", "luke")
    pipeline.apns.answers[token("han")] = [Answer(403, "InvalidProviderToken")]
    pipeline.publish(message(recipients=["han"]))
    pipeline.run()
    pipeline.publish(message(id="e2"))
    pipeline.run()
    found = look(pipeline)
    assert {one.state for one in found.waiting} == {"held"}
    assert {one.way for one in found.waiting} == {pipeline.provider.id}
    assert found.total.notifications == 3


def test_a_push_for_later_is_no_load(pipeline: Pipeline) -> None:
    at = datetime.now(UTC) + timedelta(days=1)
    for stream in pipeline.partition.names.streams(["demo"]):
        push = ev.PushSend(**stamp(), where=ev.Where(everyone=True), alert="soon", send_at=at)
        pipeline.redis.xadd(stream, {ev.FIELD: ev.encode(push)})
    pipeline.take()
    [waiting] = look(pipeline).waiting
    assert waiting[:5] == ("scheduled", "demo", "bulk", None, 2)
    assert waiting.octets > 100
    assert look(pipeline).total.messages == 0
