"""The snapshot as it is read from real engines, and the log of what begins and what is over."""

import logging
import time
from collections.abc import Iterator

import pytest

from tests.road.harness import Road, message
from worker.reports import watch
from worker.reports.conditions import find
from worker.reports.notes import Notes
from worker.reports.reading import read
from worker.state.breaker import Breaker
from worker.state.streams import Streams


@pytest.fixture
def road(postgres_url: str, redis_url: str) -> Iterator[Road]:
    made = Road(postgres_url, redis_url)
    yield made
    made.close()


def names(road: Road) -> set[str]:
    with road.pool.connection() as db:
        reading = read(road.redis, db)
    assert reading.unknown == []
    return {one.name for one in find(reading.snapshot)}


def look(road: Road, log: pytest.LogCaptureFixture) -> list[tuple[str, str, int]]:
    """What is logged by the next look: the phrase, the condition and the level."""
    road.redis.delete("carillon:conditions:looked")
    log.clear()
    watch.Watch(road.redis, road.pool).look()
    return [(r.getMessage(), vars(r)["condition"], r.levelno) for r in log.records if r.name == watch.__name__]


def test_a_system_that_is_well_has_no_condition(road: Road) -> None:
    road.take()
    assert names(road) == set()


def test_a_condition_is_logged_when_it_begins_and_when_it_is_over(road: Road, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    breaker = Breaker(road.redis)
    assert look(road, caplog) == []
    breaker.stop(road.provider.id, "InvalidProviderToken", time.time() - 60)
    assert look(road, caplog) == [("condition begins", "provider_stopped", logging.ERROR)]
    record = vars(caplog.records[-1])
    assert (record["app"], record["provider"]) == ("demo", "apns")
    assert "InvalidProviderToken" in record["what"]
    assert look(road, caplog) == []
    breaker.resume(road.provider.id)
    assert look(road, caplog) == [("condition is over", "provider_stopped", logging.WARNING)]
    assert 59 <= vars(caplog.records[-1])["seconds"] <= 90
    assert look(road, caplog) == []


def test_one_process_of_the_fleet_looks_at_a_time(road: Road) -> None:
    Breaker(road.redis).stop(road.provider.id, "x", time.time())
    assert [watch.Watch(road.redis, road.pool).look() for _ in range(2)] == [1, 0]


def test_a_full_redis_is_logged_though_it_takes_nothing(road: Road, caplog: pytest.LogCaptureFixture) -> None:
    road.redis.config_set("maxmemory", 1)
    try:
        logged = look(road, caplog)
    finally:
        road.redis.config_set("maxmemory", 0)
    assert ("condition begins", "redis_filling", logging.ERROR) in logged


def test_what_could_not_be_looked_at_is_not_called_over(road: Road, caplog: pytest.LogCaptureFixture) -> None:
    Breaker(road.redis).stop(road.provider.id, "x", time.time())
    look(road, caplog)
    with road.pool.connection() as db:
        db.execute("ALTER TABLE carillon.providers RENAME TO elsewhere")
    assert look(road, caplog) == []
    with road.pool.connection() as db:
        db.execute("ALTER TABLE carillon.elsewhere RENAME TO providers")
    assert look(road, caplog) == []


def test_entries_that_nobody_takes_are_a_condition_and_so_is_a_leader_that_is_away(road: Road) -> None:
    road.take()
    road.publish(message())
    assert names(road) == set()
    ago = int((time.time() - 120) * 1000)
    road.redis.delete("carillon:events")
    with road.pool.connection() as db:
        db.execute("UPDATE carillon.cursors SET cursor = '1-1', moved_at = now() - interval '2 minutes'")
        db.execute("UPDATE carillon.lease SET until = now() + interval '1 minute'")
    road.redis.xadd("carillon:events", {"event": "{}"}, id=f"{ago}-0")
    assert names(road) == {"intake_not_moving"}
    with road.pool.connection() as db:
        db.execute("UPDATE carillon.lease SET until = now() - interval '1 minute'")
    assert names(road) == {"no_leader"}


def test_ids_ahead_of_the_clock_and_trimmed_entries_are_conditions(road: Road) -> None:
    road.take()
    road.redis.xadd("carillon:events", {"event": "{}"}, id=f"{int((time.time() + 3600) * 1000)}-0")
    Streams(road.redis).note_trimmed("carillon:events:demo", 3)
    assert names(road) == {"stream_ahead_of_clock", "entries_trimmed"}


def test_an_app_that_is_off_is_a_condition_once_messages_come(road: Road) -> None:
    road.save_app(push_enabled=False)
    assert names(road) == set()
    road.publish(message())
    road.take()
    assert names(road) == {"app_switched_off"}


def test_a_worker_that_cannot_decrypt_a_credential_leaves_a_note(road: Road) -> None:
    road.take()
    Notes(road.redis, lambda: {road.provider.id: road.provider}).write()
    assert names(road) == set()
    without = type(road.provider)(road.provider.id, "demo", "apns", "production", "t")
    Notes(road.redis, lambda: {without.id: without}).write()
    assert names(road) == {"credential_unreadable"}
