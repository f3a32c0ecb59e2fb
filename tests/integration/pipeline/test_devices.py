"""The registry of devices over time: evicted, refused, retired and restored, stale, forgotten; and its history."""

import random
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token
from tests.unit.core.test_ownership import Refusal, Write, owner
from worker.core.model import Answer
from worker.core.ownership import mark
from worker.database.device_use import ROWS, Use
from worker.database.device_writes import DeviceWrite, write_devices
from worker.database.postgres import transaction

REGISTERED = int(START.timestamp() * 1000)
AGES_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def registered(user: str, text: str, seconds: float = 0.0, **more: object) -> ev.DeviceRegistered:
    return ev.DeviceRegistered(**stamp(seconds), user=user, device=ev.Device(token=text, **more))  # type: ignore[arg-type]


def unregistered(text: str, user: str | None = None, seconds: float = 1.0) -> ev.DeviceUnregistered:
    return ev.DeviceUnregistered(**stamp(seconds), user=user, device=ev.DeviceToken(token=text))


def active(pipeline: Pipeline) -> set[str]:
    with pipeline.pool.connection() as db:
        return {user for (user,) in db.execute("SELECT user_id FROM carillon.devices WHERE active")}


def history_of(pipeline: Pipeline, text: str) -> list[str]:
    id = pipeline.devices.device_by_token("demo", [text])
    assert id is not None
    return [line.what for line in pipeline.devices.history(id)][::-1]


def sql(pipeline: Pipeline, statement: str) -> None:
    with pipeline.pool.connection() as db:
        db.execute(statement.encode())


def test_M6_a_device_has_a_provider_not_just_a_token(pipeline: Pipeline) -> None:
    sandbox = pipeline.add_provider("sandbox", environment="sandbox")
    pipeline.publish(registered("han", "aa", provider="sandbox"), registered("han", "bb", environment="production"))
    pipeline.take()
    assert {d.token: d.provider for d in pipeline.devices.of_user("demo", "han")} == {"aa": sandbox.name, "bb": "apns"}


def test_the_history_tells_what_changed_and_not_every_repeated_registration(pipeline: Pipeline) -> None:
    pipeline.publish(registered("han", "aa", 1), registered("han", "aa", 2), registered("leia", "aa", 3))
    pipeline.take()
    pipeline.publish(unregistered("aa", "han", 4), unregistered("aa", None, 5), registered("han", "aa", 6))
    pipeline.take()
    assert history_of(pipeline, "aa") == ["registered", "taken_over", "unregistered", "registered"]


def test_S6_an_eviction_is_in_the_history_of_the_device(pipeline: Pipeline) -> None:
    pipeline.save_app(device_cap=1)
    pipeline.publish(registered("han", "aa", 1), registered("han", "bb", 2))
    pipeline.take()
    assert [d.token for d in pipeline.devices.of_user("demo", "han")] == ["bb"]
    assert history_of(pipeline, "aa") == ["registered", "evicted"]


def test_P1_attributes_are_queried_by_their_index(pipeline: Pipeline) -> None:
    pipeline.publish(
        registered("han", "aa", attributes={"team": "red"}), registered("leia", "bb", attributes={"team": "blue"})
    )
    pipeline.take()
    with pipeline.pool.connection() as db, db.transaction():
        db.execute("SET LOCAL enable_seqscan = off")
        plan = db.execute(
            """EXPLAIN SELECT user_id FROM carillon.devices WHERE active AND attributes @> '{"team": "red"}'"""
        ).fetchall()
        found = db.execute("""SELECT user_id FROM carillon.devices WHERE active AND attributes @> '{"team": "red"}'""")
        assert found.fetchall() == [("han",)]
    assert "devices_attributes" in str(plan)


def test_A3_a_refusal_by_one_provider_leaves_a_registration_with_another(pipeline: Pipeline) -> None:
    """The 410 of the old provider is under way while the device registers with a new one, its clock a little behind."""
    pipeline.add_provider("other")
    pipeline.publish(registered("han", "aa", provider="apns"))
    pipeline.take()
    [device] = pipeline.devices.of_user("demo", "han")
    pipeline.publish(registered("han", "aa", 1, provider="other"))
    pipeline.take()
    assert pipeline.devices.retire(pipeline.provider.id, [(device.id, REGISTERED + 60_000, "Unregistered")]) == 0
    pipeline.publish(registered("han", "aa", 2, provider="apns"))
    pipeline.take()
    assert active(pipeline) == set(), "but its word stands for the registration with itself that is older"


def mass(pipeline: Pipeline, share: float, users: int = 300) -> list[str]:
    """A channel of which so many devices are answered 410."""
    names = [f"u{n:03}" for n in range(users)]
    pipeline.save_app(member_cap=None)
    pipeline.member("general", "leia", *names)
    for user in names[: int(users * share)]:
        pipeline.apns.answers[token(user)] = [Answer(410, "Unregistered", REGISTERED + 1)]
    return names


def test_a_flood_of_410s_empties_no_registry_and_raises_an_alarm(
    pipeline: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    names = mass(pipeline, 0.9)
    pipeline.publish(message())
    pipeline.run()
    assert active(pipeline) == {"leia", *names}
    assert pipeline.journal.counts("demo")["dropped.mass_gone"] == 270
    assert any(record.levelname == "ERROR" for record in caplog.records)


def test_410s_in_usual_numbers_retire(pipeline: Pipeline) -> None:
    names = mass(pipeline, 0.3)
    pipeline.publish(message())
    pipeline.run()
    assert active(pipeline) == {"leia", *names[90:]}


def test_a_device_of_a_mass_410_is_retired_when_it_is_refused_again_a_day_later(pipeline: Pipeline) -> None:
    names = mass(pipeline, 1.0)
    pipeline.publish(message())
    pipeline.run()
    sql(pipeline, "UPDATE carillon.devices SET doubted_at = doubted_at - interval '25 hours'")
    sql(
        pipeline,
        "INSERT INTO carillon.device_use SELECT id, current_date FROM carillon.devices WHERE user_id = 'u000'",
    )
    pipeline.redis.delete(*pipeline.redis.keys("carillon:answers:*"))
    pipeline.publish(message(id="e2"))
    pipeline.run()
    assert active(pipeline) == {"leia", names[0]}, "one that took a push in between is checked anew"


@pytest.mark.parametrize("reason", ["Unregistered", "BadDeviceToken"])
def test_what_was_refused_is_retired_and_can_be_restored(pipeline: Pipeline, reason: str) -> None:
    pipeline.member("general", "leia", "han", "luke", "lando", "rey")
    pipeline.take()
    ids = {
        user: pipeline.devices.device_by_token("demo", [token(user)]) or 0 for user in ("han", "luke", "lando", "rey")
    }
    before = datetime.now(UTC) - timedelta(minutes=1)
    assert pipeline.devices.retire(pipeline.provider.id, [(id, REGISTERED + 5, reason) for id in ids.values()]) == 4
    pipeline.publish(
        unregistered(token("luke"), "luke"), unregistered(token("lando")), registered("kylo", token("rey"), 9)
    )
    pipeline.take()
    assert pipeline.devices.restore(before, dry_run=True) == {reason: 1}
    assert active(pipeline) == {"leia", "kylo"}
    assert pipeline.devices.restore(before, app="demo", reason=reason) == {reason: 1}
    assert pipeline.devices.restore(before) == {}
    assert active(pipeline) == {"leia", "kylo", "han"}, "who was unregistered or handed on since is not brought back"
    assert history_of(pipeline, token("han")) == ["registered", "refused", "restored"]
    assert pipeline.devices.restore(datetime.now(UTC) + timedelta(hours=1)) == {}


def test_an_evicted_device_is_restored_only_by_name_and_never_over_the_cap(pipeline: Pipeline) -> None:
    pipeline.save_app(device_cap=1)
    pipeline.publish(registered("han", "aa", 1), registered("han", "bb", 2))
    pipeline.take()
    assert pipeline.devices.restore(AGES_AGO) == {}
    assert pipeline.devices.restore(AGES_AGO, reason="over_device_cap") == {"over_device_cap": 1}
    assert [d.token for d in pipeline.devices.of_user("demo", "han")] == ["bb"]


def test_the_last_accepted_push_is_noted_once_a_day(pipeline: Pipeline) -> None:
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="e1"), message(id="e2"))
    pipeline.run()
    pipeline.account("e1")
    [device] = pipeline.devices.of_user("demo", "han")
    assert device.last_accepted_at is not None
    assert device.last_accepted_at.date() == datetime.now(UTC).date()
    with pipeline.pool.connection() as db:
        [(rows,)] = db.execute("SELECT count(*) FROM carillon.device_use").fetchall()
    assert rows == 1


def test_the_last_accepted_push_of_very_many_is_noted_in_pieces_that_are_committed_one_by_one(
    pipeline: Pipeline,
) -> None:
    devices, use = set(range(1, 2 * ROWS + 2)), Use()
    with pipeline.pool.connection() as db:
        assert use.note(db, devices) == len(devices)
        assert use.note(db, devices) == 0
        assert db.execute("SELECT count(*), count(DISTINCT xmin::text) FROM carillon.device_use").fetchall() == [
            (len(devices), 3)
        ]


def test_stale_devices_are_kept_unless_an_app_says_how_long_and_then_counted(pipeline: Pipeline) -> None:
    pipeline.publish(*(registered(user, f"{n:02x}") for n, user in enumerate(("han", "luke", "rey"))))
    pipeline.take()
    sql(
        pipeline,
        f"UPDATE carillon.devices SET registered_at = {int(AGES_AGO.timestamp() * 1000)} WHERE user_id <> 'rey'",
    )
    sql(
        pipeline, "INSERT INTO carillon.device_use SELECT id, current_date FROM carillon.devices WHERE user_id = 'luke'"
    )
    assert pipeline.upkeep.prune(30) == {"stale": 0, "forgotten": 0, "history": 0}
    pipeline.save_app(stale_days=3650 // 10)
    sql(pipeline, "UPDATE carillon.devices SET registered_at = extract(epoch FROM now()) * 1000 WHERE user_id = 'rey'")
    pipeline.redis.delete("carillon:devices:walk")
    assert pipeline.upkeep.prune(30)["stale"] == 1
    assert active(pipeline) == {"luke", "rey"}
    assert pipeline.journal.counts("demo")["devices.stale"] == 1
    assert pipeline.devices.restore(AGES_AGO) == {}
    assert pipeline.devices.restore(AGES_AGO, reason="stale") == {"stale": 1}


def test_what_is_over_is_forgotten_in_bounded_bites_and_tombstones_with_it(pipeline: Pipeline) -> None:
    pipeline.publish(*(registered(f"u{n}", f"{n:02x}") for n in range(10)))
    pipeline.publish(*(unregistered(f"{n:02x}") for n in range(0, 20, 2)))
    pipeline.take()
    assert pipeline.upkeep.prune(30, bite=4)["forgotten"] == 0
    sql(pipeline, "UPDATE carillon.devices SET changed_at = now() - interval '31 days'")
    pipeline.redis.delete("carillon:devices:walk")
    with pipeline.pool.connection() as db:
        ids = db.execute("SELECT id, active FROM carillon.devices").fetchall()
    for kind in ("badge", "cleared"):
        pipeline.redis.hset(f"carillon:{kind}:demo", mapping={str(id): 1 for id, _ in ids})
    went = [pipeline.upkeep.prune(30, bite=4)["forgotten"] for _ in range(5)]
    assert sum(went) == 10
    assert max(went) <= 4
    assert active(pipeline) == {f"u{n}" for n in range(1, 10, 2)}
    kept = {str(id).encode() for id, is_active in ids if is_active}
    for kind in ("badge", "cleared"):
        # '' has the latest clearing of all.
        assert set(pipeline.redis.hkeys(f"carillon:{kind}:demo")) - {b""} == kept


def test_histories_go_by_the_day(pipeline: Pipeline) -> None:
    sql(
        pipeline,
        "INSERT INTO carillon.device_history (device, what, at, day)"
        " SELECT n, 'registered', now() - n * interval '1 day', (now() AT TIME ZONE 'utc')::date - n"
        " FROM generate_series(1, 120) n",
    )
    pipeline.publish(registered("han", "aa"))
    pipeline.take()
    assert pipeline.upkeep.prune(30)["history"] == 0, (
        "what the release before wrote goes as a whole, when its last day is old enough"
    )
    assert active(pipeline) == {"han"}


def test_badges_are_forgotten_for_the_app_of_the_device_and_no_other(pipeline: Pipeline) -> None:
    pipeline.publish(*(registered(f"u{n}", f"{n:02x}") for n in range(3)))
    pipeline.publish(unregistered("00"))
    pipeline.take()
    sql(pipeline, "UPDATE carillon.devices SET changed_at = now() - interval '31 days'")
    id = pipeline.devices.device_by_token("demo", ["00"])
    hashes = [f"carillon:{kind}:{app}" for kind in ("badge", "cleared") for app in ("demo", "other")]
    for key in hashes:
        pipeline.redis.hset(key, mapping={"": "1-1", str(id): 1})
    assert pipeline.upkeep.prune(30)["forgotten"] == 1
    left = {key: set(pipeline.redis.hkeys(key)) for key in hashes}
    assert left == {key: {b""} if key.endswith("demo") else {b"", str(id).encode()} for key in hashes}


Steps = list[tuple[str, Write | Refusal]]
USERS = st.sampled_from(["han", "leia", "luke"])
TOKENS = st.sampled_from(["aa", "bb"])
TIMES = st.integers(1, 40)
WRITES = st.builds(Write, st.just(0), TIMES, USERS, st.integers(1, 2)) | st.builds(
    Write, st.just(0), TIMES, st.none() | USERS
)
STEPS = st.lists(st.tuples(TOKENS, WRITES | st.builds(Refusal, st.integers(1, 2), TIMES)), max_size=24)


def apply(pipeline: Pipeline, text: str, step: Write | Refusal) -> None:
    if isinstance(step, Refusal):
        if (id := pipeline.devices.device_by_token("demo", [text])) is not None:
            pipeline.devices.retire(step.provider, [(id, step.until, "Unregistered")])
        return
    event = mark(f"e{step.number}")
    with transaction(pipeline.pool) as db:
        write_devices(db, [DeviceWrite("demo", text, step.user, step.at * 1000, step.provider, event=event)])


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS, seed=st.integers(0, 2**16))
def test_M2_M5_several_workers_find_the_owner_whatever_the_order(
    pipeline: Pipeline, steps: list[tuple[str, Write | Refusal]], seed: int
) -> None:
    """Writes of distinct times, each of them twice, dealt out to three threads with connections of their own."""
    sql(pipeline, "TRUNCATE carillon.devices, carillon.device_history")
    by_time = {(text, step.until if isinstance(step, Refusal) else step.at): (text, step) for text, step in steps}
    distinct = [
        (text, step if isinstance(step, Refusal) else replace(step, number=n))
        for n, (text, step) in enumerate(by_time.values())
    ]
    known = [(text, Write(5000 + n, 0, "nobody", 9)) for n, text in enumerate(("aa", "bb"))]
    for text, first in known:
        apply(pipeline, text, first)
    dealt = random.Random(seed).sample(distinct * 2, len(distinct) * 2)
    faults: list[BaseException] = []

    def work(part: int) -> None:
        try:
            for text, step in dealt[part::3]:
                apply(pipeline, text, step)
        except BaseException as fault:  # noqa: BLE001  # raised by the test's own thread
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with pipeline.pool.connection() as db:
        found: dict[str, str] = dict(db.execute("SELECT token, user_id FROM carillon.devices WHERE active").fetchall())
    for text in ("aa", "bb"):
        assert found.get(text) == owner([step for t, step in known + distinct if t == text]), (text, steps)
