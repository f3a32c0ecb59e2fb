"""The snapshot as it is read from real engines, and the log of what begins and what is over."""

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet

from tests.integration.pipeline.harness import Pipeline, message
from tests.processes import free_port
from worker.core.model import Provider
from worker.database import audit, tallies
from worker.database.device_secrets import DeviceSecrets
from worker.database.incidents import Incident
from worker.database.incidents import read as incidents_since
from worker.reports import signs, watch
from worker.reports.conditions import AFTERMATH, OVER, find
from worker.reports.notes import Notes
from worker.reports.reading import read
from worker.state import keys
from worker.state.breaker import Breaker
from worker.state.partition import Keyspace
from worker.state.redis import connect
from worker.state.streams import Streams


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str) -> Iterator[Pipeline]:
    made = Pipeline(postgres_url, redis_url)
    made.redis.set(keys.BEAT(), 1)
    yield made
    made.close()


def names(pipeline: Pipeline) -> set[str]:
    with pipeline.pool.connection() as db:
        reading = read(pipeline.keyspace, db)
    assert reading.unknown == []
    return {one.name for one in find(reading.snapshot)}


def look(pipeline: Pipeline, log: pytest.LogCaptureFixture, *, later: float = 0.0) -> list[tuple[str, str, int]]:
    """What is logged by a look so many seconds later: the phrase, the condition and the level."""
    pipeline.redis.delete("carillon:conditions:looked")
    log.clear()
    watch.Watch(pipeline.keyspace, pipeline.pool, now=lambda: time.time() + later).look()
    return [(r.getMessage(), vars(r)["condition"], r.levelno) for r in log.records if r.name == watch.__name__]


def test_a_system_that_is_well_has_no_condition(pipeline: Pipeline) -> None:
    pipeline.take()
    assert names(pipeline) == set()


def test_a_condition_is_logged_when_it_begins_and_when_it_is_over(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    breaker = Breaker(pipeline.partition)
    assert look(pipeline, caplog) == []
    breaker.stop(pipeline.provider.id, "InvalidProviderToken", time.time() - 60)
    assert look(pipeline, caplog) == [("condition begins", "provider_stopped", logging.ERROR)]
    record = vars(caplog.records[-1])
    assert (record["app"], record["provider"]) == ("demo", "apns")
    assert "InvalidProviderToken" in record["what"]
    assert look(pipeline, caplog) == []
    breaker.resume(pipeline.provider.id)
    assert look(pipeline, caplog, later=OVER - 5) == [], "it may come back"
    assert look(pipeline, caplog, later=OVER + 5) == [("condition is over", "provider_stopped", logging.WARNING)]
    assert 59 + OVER <= vars(caplog.records[-1])["seconds"] <= 120
    assert look(pipeline, caplog, later=OVER + 10) == []


def test_a_provider_that_stops_again_and_again_is_one_line(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    breaker = Breaker(pipeline.partition)
    said = []
    for seconds in range(0, 60, 10):
        breaker.stop(pipeline.provider.id, "unavailable", time.time())
        said += look(pipeline, caplog, later=seconds)
        breaker.resume(pipeline.provider.id)
        said += look(pipeline, caplog, later=seconds + 5)
    assert said == [("condition begins", "provider_unavailable", logging.ERROR)]


def test_one_process_of_the_fleet_looks_at_a_time(pipeline: Pipeline) -> None:
    Breaker(pipeline.partition).stop(pipeline.provider.id, "x", time.time())
    assert [watch.Watch(pipeline.keyspace, pipeline.pool).look() for _ in range(2)] == [1, 0]


def test_a_full_redis_is_logged_though_it_takes_nothing(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    pipeline.redis.config_set("maxmemory", 1)
    try:
        logged = look(pipeline, caplog)
    finally:
        pipeline.redis.config_set("maxmemory", 0)
    assert ("condition begins", "redis_filling", logging.ERROR) in logged


def test_what_could_not_be_looked_at_is_not_called_over(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    Breaker(pipeline.partition).stop(pipeline.provider.id, "x", time.time())
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


@pytest.fixture
def leaderless(pipeline: Pipeline) -> None:
    """Nobody has led for a minute."""
    pipeline.take()
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.lease SET owner = 'w1:7', until = now() - interval '1 minute'")


def open_names(pipeline: Pipeline) -> set[str]:
    return {one.name for one in watch.current(pipeline.keyspace.fleet).conditions}


@pytest.mark.usefixtures("leaderless")
def test_that_nobody_leads_follows_from_an_engine_for_a_moment_after_it_is_back_too(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.redis.config_set("maxmemory", 1)
    try:
        look(pipeline, caplog)
    finally:
        pipeline.redis.config_set("maxmemory", 0)
    for later in (5, AFTERMATH - 1):
        look(pipeline, caplog, later=later)
        assert open_names(pipeline) == {"redis_filling"}
        with pipeline.pool.connection() as db:
            found = watch.agreed(read(pipeline.keyspace, db), watch.known(pipeline.keyspace.fleet))
        assert [one.name for one in found] == ["redis_filling"]
    look(pipeline, caplog, later=AFTERMATH + 1)
    assert "no_leader" in open_names(pipeline)


@pytest.mark.usefixtures("leaderless")
def test_that_nobody_leads_follows_from_a_redis_that_was_away(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    look(pipeline, caplog)
    observed = watch.Watch(pipeline.keyspace, pipeline.pool, now=lambda: time.time() + AFTERMATH + 1)
    observed.redis_is_away(ConnectionError("refused"))
    observed.redis_is_back()
    pipeline.redis.delete("carillon:conditions:looked")
    observed.look()
    assert open_names(pipeline) == set()
    look(pipeline, caplog, later=2 * AFTERMATH + 2)
    assert open_names(pipeline) == {"no_leader"}


@pytest.mark.usefixtures("leaderless")
def test_a_fleet_that_begins_has_a_moment_to_lead(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    look(pipeline, caplog)
    assert open_names(pipeline) == set()
    look(pipeline, caplog, later=AFTERMATH + 1)
    assert open_names(pipeline) == {"no_leader"}
    pipeline.redis.expire(keys.LOOK(), 86_400 - 41)
    pipeline.redis.delete(keys.CONDITIONS())
    look(pipeline, caplog, later=AFTERMATH + 42)
    assert open_names(pipeline) == set(), "all of it was stopped"


def test_ids_ahead_of_the_clock_and_trimmed_entries_are_conditions(pipeline: Pipeline) -> None:
    pipeline.take()
    pipeline.redis.xadd("carillon:events", {"event": "{}"}, id=f"{int((time.time() + 3600) * 1000)}-0")
    Streams(pipeline.partition).note_trimmed("carillon:events:demo", 3)
    assert names(pipeline) == {"stream_ahead_of_clock", "entries_trimmed"}


def test_digests_and_reminders_that_nobody_decides_are_a_condition(pipeline: Pipeline) -> None:
    now = time.time()
    pipeline.redis.zadd(keys.DIGESTS(), {"demo\nhan": now - 310, "demo\nlando": 1})
    pipeline.redis.zadd(keys.REMINDERS(), {"demo\ndm\nhan": now - 290})
    assert "due_late" in names(pipeline)
    pipeline.redis.zrem(keys.DIGESTS(), "demo\nhan")
    assert "due_late" not in names(pipeline)


def test_an_app_that_is_off_is_a_condition_once_messages_come(pipeline: Pipeline) -> None:
    pipeline.save_app(push_enabled=False)
    assert names(pipeline) == set()
    pipeline.publish(message())
    pipeline.take()
    assert names(pipeline) == {"app_switched_off"}


def as_it_is(provider: Provider) -> Provider:
    return provider


def test_credentials_are_tried_a_part_at_a_time(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.reports.notes._AT_ONCE", 2)
    monkeypatch.setattr("worker.reports.notes._EVERY", 0.0)
    without = {id: replace(pipeline.provider, id=id, readable=False) for id in range(1, 6)}
    tried: list[int] = []

    def opened(provider: Provider) -> Provider:
        tried.append(provider.id)
        return provider

    notes = Notes(pipeline.keyspace.fleet, lambda: without, opened, pipeline.registry.device_secrets)
    for number in (2, 4, 5, 5):
        notes.write()
        assert pipeline.redis.hlen(keys.UNREADABLE()) == len(tried) == number


def test_a_worker_that_cannot_decrypt_a_credential_leaves_a_note(pipeline: Pipeline) -> None:
    pipeline.take()
    fleet, ours = pipeline.keyspace.fleet, pipeline.registry.device_secrets
    Notes(fleet, lambda: {pipeline.provider.id: pipeline.provider}, as_it_is, ours).write()
    assert names(pipeline) == set()
    without = replace(pipeline.provider, readable=False)
    Notes(fleet, lambda: {without.id: without}, as_it_is, ours).write()
    assert names(pipeline) == {"credential_unreadable"}


def test_a_worker_that_cannot_open_what_is_secret_of_a_device_leaves_a_note(pipeline: Pipeline) -> None:
    pipeline.take()
    ours = pipeline.registry.device_secrets
    notes = Notes(pipeline.keyspace.fleet, lambda: {pipeline.provider.id: pipeline.provider}, as_it_is, ours)
    assert ours.unseal(ours.seal("keys")) == "keys"
    notes.write()
    assert names(pipeline) == set()
    assert ours.unseal(DeviceSecrets([Fernet.generate_key().decode()]).seal("keys")) is None
    Notes(pipeline.keyspace.fleet, dict, as_it_is, ours).write()
    assert names(pipeline) == {"device_secret_unreadable"}


def test_a_condition_that_has_to_last_opens_when_it_has(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pipeline.redis.delete(keys.BEAT())
    assert look(pipeline, caplog) == []
    assert watch.current(pipeline.keyspace.fleet).conditions == []
    assert look(pipeline, caplog, later=31.0) == [("condition begins", "beat_away", logging.INFO)]
    pipeline.redis.set(keys.BEAT(), 1)
    look(pipeline, caplog, later=36.0)
    assert look(pipeline, caplog, later=31.0 + OVER) == [("condition is over", "beat_away", logging.INFO)]


def test_everybody_reads_the_time_and_the_sentence_of_the_watch(pipeline: Pipeline) -> None:
    pipeline.take()
    breaker = Breaker(pipeline.partition)
    breaker.stop(pipeline.provider.id, "silent", time.time() - 60)
    watch.Watch(pipeline.keyspace, pipeline.pool).look()
    [kept] = watch.current(pipeline.keyspace.fleet).conditions
    breaker.resume(pipeline.provider.id)
    breaker.stop(pipeline.provider.id, "timeout", time.time())
    for _ in range(2):  # it is silent again before it was over, then it is well for a moment
        with pipeline.pool.connection() as db:
            [agreed] = watch.agreed(read(pipeline.keyspace, db), watch.known(pipeline.keyspace.fleet))
        assert (agreed.name, agreed.since, agreed.text) == (kept.name, kept.since, kept.text)
        breaker.resume(pipeline.provider.id)


def test_who_reads_finds_that_nobody_looks(pipeline: Pipeline) -> None:
    [never] = watch.current(pipeline.keyspace.fleet).conditions
    assert (never.name, never.since) == ("not_watched", None)
    watch.Watch(pipeline.keyspace, pipeline.pool).look()
    assert watch.current(pipeline.keyspace.fleet).conditions == []
    pipeline.redis.expire(keys.LOOK(), 86_400 - 41)
    [late] = watch.current(pipeline.keyspace.fleet).conditions
    assert late.name == "not_watched" and late.since == pytest.approx(time.time() - 41, abs=5)
    with pipeline.pool.connection() as db:
        assert [
            one.name for one in watch.agreed(read(pipeline.keyspace, db), watch.known(pipeline.keyspace.fleet))
        ] == ["not_watched"]


def test_every_check_is_kept_with_its_value(pipeline: Pipeline) -> None:
    pipeline.take()
    signs.give(pipeline.keyspace.fleet, "bulk-1@w1", ["bulk"])
    watch.Watch(pipeline.keyspace, pipeline.pool).look()
    found = watch.current(pipeline.keyspace.fleet)
    values = {one.part: one.value for one in found.checks}
    assert (values["providers"], values["workers"]) == ("none of 1 is stopped", "1 of the bulk lane")
    assert found.unknown == [] and found.ago is not None and found.ago < 30


def incidents(pipeline: Pipeline) -> list[Incident]:
    with pipeline.pool.connection() as db:
        return incidents_since(db, since=datetime.now(UTC) - timedelta(hours=1))


def test_an_incident_is_kept_with_its_worst_with_what_waited_and_was_lost_and_with_who_ended_it(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    def expired(n: int) -> None:
        with pipeline.pool.connection() as db:
            tallies.add(db, "ledger", {("demo", pipeline.provider.id): {"dropped.expired": n}})

    breaker, began = Breaker(pipeline.partition), time.time() - 60
    expired(5)
    breaker.stop(pipeline.provider.id, "new key", began, manual=True)
    look(pipeline, caplog)
    [one] = incidents(pipeline)
    assert (one.name, one.app, one.provider, one.severity) == ("provider_paused", "demo", "apns", "warning")
    assert one.began.timestamp() == pytest.approx(began, abs=0.01) and one.ended is None
    expired(3)
    breaker.resume(pipeline.provider.id, by_hand=True)
    with pipeline.pool.connection() as db:
        audit.add(db, "provider resumed", who="jo", host="laptop", app="demo", target="apns", detail={}, note=None)
    look(pipeline, caplog, later=OVER + 1)
    [one] = incidents(pipeline)
    assert one.ended is not None
    assert (one.lost, one.ended_by) == (3, "jo@laptop")


def test_an_incident_that_could_not_be_written_is_written_later(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.take()
    with pipeline.pool.connection() as db:
        db.execute("ALTER TABLE carillon.incidents RENAME TO elsewhere")
    Breaker(pipeline.partition).stop(pipeline.provider.id, "silent", time.time() - 60)
    assert look(pipeline, caplog) == [("condition begins", "provider_silent", logging.ERROR)]
    with pipeline.pool.connection() as db:
        db.execute("ALTER TABLE carillon.elsewhere RENAME TO incidents")
    look(pipeline, caplog)
    assert [one.name for one in incidents(pipeline)] == ["provider_silent"]


def test_a_redis_that_was_away_is_in_the_log_once_and_an_incident_once_it_is_back(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [time.time() - 12]
    observed = watch.Watch(pipeline.keyspace, pipeline.pool, now=lambda: clock[0])
    for _ in range(10):
        observed.redis_is_away(ConnectionError("refused"))
        clock[0] += 1.0
    begins = [r for r in caplog.records if r.getMessage() == "condition begins"]
    assert [vars(r)["condition"] for r in begins] == ["redis_away"]
    observed.redis_is_back()
    observed.redis_is_back()
    assert look(pipeline, caplog) == []
    [one] = incidents(pipeline)
    assert (one.name, one.ended) == ("redis_away", None)
    assert look(pipeline, caplog, later=OVER) == [("condition is over", "redis_away", logging.WARNING)]


def test_a_redis_that_is_away_is_said_by_who_reads() -> None:
    nobody = connect(f"redis://127.0.0.1:{free_port()}/0")
    [one] = watch.current(Keyspace(nobody).fleet).conditions
    assert (one.name, one.severity) == ("redis_away", "critical")
