"""An event that the leader had recorded, and that the new primary does not have, is published again under its id."""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, message, stamp, user_of
from worker.core.entry import UNTAGGED
from worker.core.errors import LeaseLost
from worker.database import lineages
from worker.state.journal import Recorded
from worker.state.redis import Replaced
from worker.state.streams import Streams

Failover = Callable[[dict[bytes, bytes]], None]


@pytest.fixture
def ready(pipeline: Pipeline) -> Pipeline:
    pipeline.member("general", "leia", "han")
    pipeline.run()
    return pipeline


@pytest.fixture
def failover(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Failover:
    """A replica that has this takes the primary's place; its leader begins a while after."""
    lineage = 0

    def replace(replicated: dict[bytes, bytes]) -> None:
        nonlocal lineage
        lineage += 1
        pipeline.redis.flushdb()
        for key, value in replicated.items():
            pipeline.redis.restore(key, 0, value)
        monkeypatch.setattr(Streams, "lineage", lambda _: f"lineage {lineage}")
        pipeline.lead()
        with pipeline.pool.connection() as db:
            db.execute("UPDATE carillon.lineages SET since = since - interval '10 s', first = first - interval '10 s'")
            db.execute("UPDATE carillon.messages SET seen_at = seen_at - interval '10 s'")
        pipeline.lead()

    return replace


def replicated(pipeline: Pipeline) -> dict[bytes, bytes]:
    """All that a replica has now."""
    keys: Any = pipeline.redis.keys()
    dumped: Any = {key: pipeline.redis.dump(key) for key in keys}
    leader = pipeline.partition.keys.LEADER().encode()
    return {key: value for key, value in dumped.items() if value is not None and key != leader}


def sent(pipeline: Pipeline) -> list[str]:
    """To whom pushes are sent by now."""
    return [user_of(one) for one in pipeline.run()]


def test_what_was_lost_before_anything_became_of_it_is_taken_over_once(ready: Pipeline, failover: Failover) -> None:
    had = replicated(ready)
    ready.publish(message())
    ready.take()
    failover(had)
    ready.publish(message(), message())
    assert sent(ready) == ["han"]
    ready.publish(message())
    assert sent(ready) == []
    with ready.pool.connection() as db:
        [(entry, repeats)] = db.execute("SELECT entry, repeats FROM carillon.messages").fetchall()
    assert repeats == 2
    assert ready.account("e1")["page:0"]["pushed"] == ["han"]
    assert not ready.redis.xrange(UNTAGGED.inlet, entry, entry)


def test_a_leader_that_has_not_noticed_the_failover_refuses_no_repeat(ready: Pipeline, monkeypatch: Any) -> None:
    ready.publish(message())
    assert sent(ready) == ["han"]
    ready.publish(message())
    with monkeypatch.context() as patched:
        patched.setattr(Streams, "lineage", lambda _: "another")
        with pytest.raises(Replaced):
            ready.take()
    ready.lead()
    assert sent(ready) == []
    with ready.pool.connection() as db:
        [(repeats,)] = db.execute("SELECT repeats FROM carillon.messages").fetchall()
    assert repeats == 1


def test_what_the_ledger_knows_is_a_repeat(ready: Pipeline, failover: Failover) -> None:
    had = replicated(ready)
    ready.publish(message())
    assert sent(ready) == ["han"]
    assert ready.account("e1")
    failover(had)
    ready.publish(message())
    assert sent(ready) == []


def test_what_was_delivered_and_waits_for_the_ledger_is_a_repeat(ready: Pipeline, failover: Failover) -> None:
    ready.publish(message(id='with "quotes"'))
    ready.publish(message())
    assert sent(ready) == ["han", "han"]
    failover(replicated(ready))
    ready.publish(message(id='with "quotes"'))
    ready.publish(message())
    assert sent(ready) == []


def test_what_a_process_has_delivered_it_tells_the_new_server(ready: Pipeline, failover: Failover) -> None:
    had = replicated(ready)
    ready.publish(message())
    assert sent(ready) == ["han"]
    failover(had)
    assert ready.journal.tell_again() == 1
    ready.publish(message())
    assert sent(ready) == []
    assert ready.journal.tell_again() == 1
    assert [part.partition(":")[0] for part in ready.account("e1")] == ["batch"]


@pytest.mark.parametrize("stage", ["opened", "expanded", "leased"])
def test_what_is_still_open_is_a_repeat(ready: Pipeline, failover: Failover, stage: str) -> None:
    ready.publish(message())
    ready.take()
    if stage != "opened":
        ready.expand()
    if stage == "leased":
        assert ready.journal.take_batch("urgent") is not None
    failover(replicated(ready))
    ready.publish(message())
    ready.take()
    ready.later()
    assert sent(ready) == ["han"]


def test_what_is_on_the_stream_and_was_never_opened_is_taken_again_and_the_other_is_a_repeat(
    ready: Pipeline, failover: Failover
) -> None:
    ready.publish(message())
    had = replicated(ready)
    ready.take()
    failover(had)
    ready.publish(message())
    assert sent(ready) == ["han"]


def test_what_was_moved_to_its_app_s_stream_and_is_still_on_the_inlet_is_taken_from_there(
    ready: Pipeline, failover: Failover
) -> None:
    """The move was not replicated, and the leader had read on."""
    ready.publish(message())
    had = replicated(ready)
    entries: Any = ready.redis.xrange(UNTAGGED.inlet)
    [(id, _)] = entries
    ready.streams.move([(id.decode(), "demo")])
    ready.publish(message(id="e2"))
    ready.take()
    with ready.pool.connection() as db:
        [(entry,)] = db.execute("SELECT entry FROM carillon.messages WHERE event_id = 'e1'").fetchall()
    assert entry.endswith("@demo")
    failover(had)
    assert sent(ready) == ["han"]


def test_a_leader_that_dies_before_it_opens_what_it_took_over_leaves_it_to_the_next(
    ready: Pipeline, failover: Failover, monkeypatch: pytest.MonkeyPatch
) -> None:
    had = replicated(ready)
    ready.publish(message())
    ready.take()
    failover(had)
    ready.publish(message())
    with monkeypatch.context() as patched:
        patched.setattr(ready.journal, "open", lambda *_, **__: 0)
        ready.take()
    assert sent(ready) == []
    ready.lead()
    assert sent(ready) == ["han"]


def test_a_second_failover_may_lose_it_again(ready: Pipeline, failover: Failover) -> None:
    had = replicated(ready)
    for _ in range(2):
        ready.publish(message())
        ready.take()
        failover(had)
    ready.publish(message())
    assert sent(ready) == ["han"]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_leader_that_was_frozen_opens_nothing_that_came_back_on_another_stream(
    ready: Pipeline, failover: Failover, *, at_once: bool
) -> None:
    """Nothing on the stream of the first entry shows by itself that it is gone."""
    had = replicated(ready)
    ready.publish(message())
    ready.take()
    frozen = ready.lease.token
    with ready.pool.connection() as db:
        [(entry, place)] = db.execute("SELECT entry, position FROM carillon.messages").fetchall()
    failover(had)
    document = msgspec.json.encode(message())
    ready.redis.xadd(UNTAGGED.stream_for("demo"), {"event": document})
    ready.take()
    first = [Recorded(entry, "demo", place, "general")]
    take: Callable[..., object] = (
        partial(ready.journal.open_and_take, documents={entry: document}) if at_once else ready.journal.open
    )
    with pytest.raises(LeaseLost):
        take(first, token=frozen)
    assert sent(ready) == ["han"]
    assert ready.journal.backlog() == (0, 0)


def test_a_dead_letter_is_for_a_person(ready: Pipeline, failover: Failover) -> None:
    had = replicated(ready)
    ready.publish(message())
    ready.take()
    with ready.pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.dead_letters (entry, app, event_id, error, document, size)"
            " SELECT entry, app, event_id, 'expansion failed', '', 0 FROM carillon.messages"
        )
    failover(had)
    ready.publish(message())
    assert sent(ready) == []


@pytest.mark.parametrize(
    "moved",
    [
        pytest.param("seen_at - interval '2 hours'", id="long before the failover"),
        pytest.param("now()", id="after the failover"),
    ],
)
def test_what_the_failover_cannot_have_lost_is_a_repeat(ready: Pipeline, failover: Failover, moved: str) -> None:
    had = replicated(ready)
    ready.publish(message())
    ready.take()
    failover(had)
    with ready.pool.connection() as db:
        db.execute(f"UPDATE carillon.messages SET seen_at = {moved}".encode())
        db.execute("UPDATE carillon.lineages SET first = '-infinity'")
    ready.publish(message())
    assert sent(ready) == []


def test_what_was_recorded_before_the_partition_was_known_is_a_repeat(ready: Pipeline, failover: Failover) -> None:
    """Its entry may have had another name."""
    had = replicated(ready)
    ready.publish(message())
    ready.take()
    failover(had)
    with ready.pool.connection() as db:
        db.execute("UPDATE carillon.lineages SET first = since")
    ready.publish(message())
    assert sent(ready) == []


def test_a_targeted_push_that_was_lost_is_taken_over_too(ready: Pipeline, failover: Failover) -> None:
    push = ev.PushSend(**stamp(), where=ev.Where(everyone=True), alert="hello")
    had = replicated(ready)
    ready.publish(push)
    ready.take()
    failover(had)
    ready.publish(push, push)
    assert sorted(sent(ready)) == ["han", "leia"]


def test_a_server_that_does_not_say_whose_data_it_has_loses_nothing_that_is_known(ready: Pipeline) -> None:
    with ready.pool.connection() as db:
        assert lineages.note(db, "a", "") is None
        assert lineages.note(db, "a", "1") is None
        assert lineages.note(db, "a", "1") is None
        assert (lineages.note(db, "a", "2") or 0.0) >= 0.0
        assert lineages.note(db, "a", "2") is not None
