"""The snapshot as it is read from real engines, and the log of what begins and what is over."""

import logging
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.fernet import Fernet

from tests.integration.pipeline.harness import Pipeline, message
from worker.database.device_secrets import DeviceSecrets
from worker.reports import watch
from worker.reports.conditions import find
from worker.reports.notes import Notes
from worker.reports.reading import read
from worker.state.breaker import Breaker
from worker.state.streams import Streams


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str) -> Iterator[Pipeline]:
    made = Pipeline(postgres_url, redis_url)
    yield made
    made.close()


def names(pipeline: Pipeline) -> set[str]:
    with pipeline.pool.connection() as db:
        reading = read(pipeline.redis, db)
    assert reading.unknown == []
    return {one.name for one in find(reading.snapshot)}


def look(pipeline: Pipeline, log: pytest.LogCaptureFixture) -> list[tuple[str, str, int]]:
    """What is logged by the next look: the phrase, the condition and the level."""
    pipeline.redis.delete("carillon:conditions:looked")
    log.clear()
    watch.Watch(pipeline.redis, pipeline.pool).look()
    return [(r.getMessage(), vars(r)["condition"], r.levelno) for r in log.records if r.name == watch.__name__]


def test_a_system_that_is_well_has_no_condition(pipeline: Pipeline) -> None:
    pipeline.take()
    assert names(pipeline) == set()


def test_a_condition_is_logged_when_it_begins_and_when_it_is_over(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    breaker = Breaker(pipeline.redis)
    assert look(pipeline, caplog) == []
    breaker.stop(pipeline.provider.id, "InvalidProviderToken", time.time() - 60)
    assert look(pipeline, caplog) == [("condition begins", "provider_stopped", logging.ERROR)]
    record = vars(caplog.records[-1])
    assert (record["app"], record["provider"]) == ("demo", "apns")
    assert "InvalidProviderToken" in record["what"]
    assert look(pipeline, caplog) == []
    breaker.resume(pipeline.provider.id)
    assert look(pipeline, caplog) == [("condition is over", "provider_stopped", logging.WARNING)]
    assert 59 <= vars(caplog.records[-1])["seconds"] <= 90
    assert look(pipeline, caplog) == []


def test_one_process_of_the_fleet_looks_at_a_time(pipeline: Pipeline) -> None:
    Breaker(pipeline.redis).stop(pipeline.provider.id, "x", time.time())
    assert [watch.Watch(pipeline.redis, pipeline.pool).look() for _ in range(2)] == [1, 0]


def test_a_full_redis_is_logged_though_it_takes_nothing(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    pipeline.redis.config_set("maxmemory", 1)
    try:
        logged = look(pipeline, caplog)
    finally:
        pipeline.redis.config_set("maxmemory", 0)
    assert ("condition begins", "redis_filling", logging.ERROR) in logged


def test_what_could_not_be_looked_at_is_not_called_over(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    Breaker(pipeline.redis).stop(pipeline.provider.id, "x", time.time())
    look(pipeline, caplog)
    with pipeline.pool.connection() as db:
        db.execute("ALTER TABLE carillon.providers RENAME TO elsewhere")
    assert look(pipeline, caplog) == []
    with pipeline.pool.connection() as db:
        db.execute("ALTER TABLE carillon.elsewhere RENAME TO providers")
    assert look(pipeline, caplog) == []


def test_entries_that_nobody_takes_are_a_condition_and_so_is_a_leader_that_is_away(pipeline: Pipeline) -> None:
    pipeline.take()
    pipeline.publish(message())
    assert names(pipeline) == set()
    ago = int((time.time() - 120) * 1000)
    pipeline.redis.delete("carillon:events")
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.cursors SET cursor = '1-1', moved_at = now() - interval '2 minutes'")
        db.execute("UPDATE carillon.lease SET until = now() + interval '1 minute'")
    pipeline.redis.xadd("carillon:events", {"event": "{}"}, id=f"{ago}-0")
    assert names(pipeline) == {"intake_not_moving"}
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.lease SET until = now() - interval '1 minute'")
    assert names(pipeline) == {"no_leader"}


def test_ids_ahead_of_the_clock_and_trimmed_entries_are_conditions(pipeline: Pipeline) -> None:
    pipeline.take()
    pipeline.redis.xadd("carillon:events", {"event": "{}"}, id=f"{int((time.time() + 3600) * 1000)}-0")
    Streams(pipeline.redis).note_trimmed("carillon:events:demo", 3)
    assert names(pipeline) == {"stream_ahead_of_clock", "entries_trimmed"}


def test_an_app_that_is_off_is_a_condition_once_messages_come(pipeline: Pipeline) -> None:
    pipeline.save_app(push_enabled=False)
    assert names(pipeline) == set()
    pipeline.publish(message())
    pipeline.take()
    assert names(pipeline) == {"app_switched_off"}


def test_a_worker_that_cannot_decrypt_a_credential_leaves_a_note(pipeline: Pipeline) -> None:
    pipeline.take()
    Notes(pipeline.redis, lambda: {pipeline.provider.id: pipeline.provider}, pipeline.registry.device_secrets).write()
    assert names(pipeline) == set()
    without = replace(pipeline.provider, readable=False)
    Notes(pipeline.redis, lambda: {without.id: without}, pipeline.registry.device_secrets).write()
    assert names(pipeline) == {"credential_unreadable"}


def test_a_worker_that_cannot_open_what_is_secret_of_a_device_leaves_a_note(pipeline: Pipeline) -> None:
    pipeline.take()
    ours = pipeline.registry.device_secrets
    notes = Notes(pipeline.redis, lambda: {pipeline.provider.id: pipeline.provider}, ours)
    assert ours.unseal(ours.seal("keys")) == "keys"
    notes.write()
    assert names(pipeline) == set()
    assert ours.unseal(DeviceSecrets([Fernet.generate_key().decode()]).seal("keys")) is None
    Notes(pipeline.redis, dict, ours).write()
    assert names(pipeline) == {"device_secret_unreadable"}
