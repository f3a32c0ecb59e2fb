"""What a device's token is for: which pushes it gets, what stops them, and how many of it a user may have."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from psycopg.types.json import Jsonb

from producers import events as ev
from producers.errors import EventError
from tests.integration.pipeline.harness import Pipeline, message, stamp, token, user_of
from worker.core.batch import Sending
from worker.core.model import Answer
from worker.database.audience import Audience
from worker.pipeline.origins import DeviceOrigins
from worker.pipeline.plan import Plan
from worker.state.origins import Origins


def register(pipeline: Pipeline, user: str, purpose: str, n: int = 1, **fields: object) -> str:
    """Returns the token."""
    device = ev.Device(token=token(user, n), purpose=purpose, **fields)  # type: ignore[arg-type]
    pipeline.publish(ev.DeviceRegistered(**stamp(), user=user, device=device))
    return device.token or ""


def active(pipeline: Pipeline, user: str) -> dict[str, str]:
    """Purpose of each active token."""
    return {one.token: one.purpose for one in pipeline.devices.of_user("demo", user)}


def test_messages_pushes_and_badges_go_to_alert_tokens_only(pipeline: Pipeline) -> None:
    pipeline.member("general", "leia", "han")
    register(pipeline, "han", "voip", 1, installation="phone-1")
    register(pipeline, "han", "ptt", 2)
    register(pipeline, "han", "activity-start", 3)
    register(pipeline, "han", "activity", 4, activity="call:1")
    pipeline.publish(message())
    pipeline.publish(ev.PushSend(**stamp(), where=ev.Where(user="han"), alert="hello"))
    pipeline.publish(ev.BadgeCleared(**stamp(), user="han"))
    assert {(one.token, one.heading.push_type, one.heading.topic) for one in pipeline.run()} == {
        (token("han"), "alert", "io.carillon.demo")
    }


def test_the_cap_counts_each_purpose_apart(pipeline: Pipeline) -> None:
    pipeline.save_app(device_cap=2)
    tokens = [register(pipeline, "han", "alert", n) for n in range(3)]
    calls = [register(pipeline, "han", "voip", 10 + n) for n in range(2)]
    pipeline.take()
    assert active(pipeline, "han") == {
        tokens[1]: "alert",
        tokens[2]: "alert",
        calls[0]: "voip",
        calls[1]: "voip",
    }


def test_a_token_of_an_activity_names_it_and_no_other_does() -> None:
    for fields in ({"purpose": "activity"}, {"activity": "call:1"}):
        device = ev.Device(token="aa", **fields)  # type: ignore[arg-type]
        with pytest.raises(EventError, match=r"device\.activity: names the activity of a token of purpose activity"):
            ev.encode(ev.DeviceRegistered(**stamp(), user="han", device=device))


def send_to(pipeline: Pipeline, user: str, purposes: Sequence[str], push_type: str) -> list[dict[str, int]]:
    """Delivers a push of this type to the user's devices for these purposes."""
    sending = Sending("1-1", "e1", '{"aps":{}}', "", int(pipeline.now) + 30, "c1", push_type)  # type: ignore[arg-type]
    devices = Audience(pipeline.pool).for_purposes({("demo", user)}, purposes)["demo"][user]
    origins = DeviceOrigins(pipeline.apps, Origins(pipeline.partition))
    plan = Plan(lambda: "ab" * 8, 500, origins.of, pipeline.now)
    plan.add_jobs("demo", "urgent", sending, devices)
    pipeline.journal.expand([], plan.queued(), {}, [])
    return pipeline.deliver()


def test_a_wrong_topic_of_one_purpose_stops_that_purpose_and_no_message(pipeline: Pipeline) -> None:
    pipeline.member("general", "leia", "han")
    call = register(pipeline, "han", "voip")
    pipeline.take()
    pipeline.apns.answers[call] = [Answer(400, "TopicDisallowed")]
    assert send_to(pipeline, "han", ["voip"], "voip")[0] == {"parked.TopicDisallowed": 1}
    [sent] = pipeline.apns.sent
    assert (sent.heading.topic, sent.heading.push_type) == ("io.carillon.demo.voip", "voip")
    assert pipeline.breaker.stopped(pipeline.provider.id) is None
    assert pipeline.breaker.stopped(f"{pipeline.provider.id}@voip").reason == "TopicDisallowed"  # type: ignore[union-attr]
    pipeline.publish(message())
    assert [user_of(one) for one in pipeline.run()] == ["han"]


def test_a_provider_flows_again_with_all_of_its_purposes(pipeline: Pipeline) -> None:
    call = register(pipeline, "han", "voip")
    pipeline.take()
    pipeline.apns.answers[call] = [Answer(400, "TopicDisallowed")]
    send_to(pipeline, "han", ["voip"], "voip")
    assert pipeline.breaker.resume(pipeline.provider.id, by_hand=True)
    assert pipeline.breaker.stopped(f"{pipeline.provider.id}@voip") is None


def test_tokens_of_a_session_end_with_it(pipeline: Pipeline) -> None:
    tokens = {
        register(pipeline, "han", "alert", 1): "alert",
        register(pipeline, "han", "activity-start", 2): "activity-start",
    }
    register(pipeline, "han", "activity", 3, activity="call:1")
    register(pipeline, "han", "ptt", 4)
    pipeline.take()
    now = datetime.now(UTC)
    for age, left in ((timedelta(hours=11), 4), (timedelta(hours=13), 3), (timedelta(hours=25), 2)):
        with pipeline.pool.connection() as db:
            at = int((now - age).timestamp() * 1000)
            db.execute("UPDATE carillon.devices SET registered_at = %s WHERE active", (at,))
        pipeline.upkeep.prune(30)
        pipeline.upkeep.prune(30)  # from the first device again
        assert len(active(pipeline, "han")) == left
    assert active(pipeline, "han") == tokens


def test_a_release_before_registers_devices_for_alerts(pipeline: Pipeline) -> None:
    with pipeline.pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active, attributes)"
            " VALUES ('demo', 'aa', 'han', %s, 1, true, %s)",
            (pipeline.provider.id, Jsonb({})),
        )
    assert active(pipeline, "han") == {"aa": "alert"}


ACTIVITY = {"event": "update", "content-state": {"n": 1}, "timestamp": 1}


@pytest.mark.parametrize(
    ("push_type", "data", "purpose", "priority"),
    [
        ("voip", {"call": "c1"}, "voip", 10),
        ("liveactivity", ACTIVITY, "activity", 5),
        (
            "liveactivity",
            ACTIVITY | {"event": "start", "attributes-type": "A", "attributes": {}, "alert": "Begun"},
            "activity-start",
            5,
        ),
        ("pushtotalk", {"activeSpeaker": "Leia"}, "ptt", 10),
    ],
)
def test_a_targeted_push_goes_to_the_tokens_of_its_type(
    pipeline: Pipeline, push_type: Any, data: dict[str, Any], purpose: str, priority: int
) -> None:
    for n, one in enumerate(("alert", "voip", "activity-start", "ptt", "activity")):
        register(pipeline, "han", one, n, **({"activity": "call:1"} if one == "activity" else {}))
    pipeline.publish(ev.PushSend(**stamp(), where=ev.Where(user="han"), push_type=push_type, data=data))
    [sent] = pipeline.run()
    assert active(pipeline, "han")[sent.token] == purpose
    assert (sent.heading.push_type, sent.heading.priority) == (push_type, priority)
    payload = msgspec.json.decode(sent.payload)
    assert payload.pop("aps") == (data if push_type == "liveactivity" else {})
    assert payload == ({} if push_type == "liveactivity" else data)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"push_type": "voip", "alert": "hello"}, "alert: only a push of type alert has one"),
        ({"push_type": "voip", "data": {"badge": 1}}, "data.badge: a voip push has none"),
        ({"push_type": "voip", "data": {"text": "x" * 5_200}}, "bytes as a payload, Apple takes 5,120"),
        ({"push_type": "pushtotalk", "data": {"text": "x" * 4_100}}, "bytes as a payload, Apple takes 4,096"),
        ({"push_type": "liveactivity", "data": {"event": "begin"}}, "data.event: expected start, update or end"),
        ({"push_type": "liveactivity", "data": {"event": "end"}}, "data.content-state: expected an object"),
        ({"push_type": "liveactivity", "data": ACTIVITY | {"event": "start"}}, "data.alert: required to start"),
        ({"push_type": "liveactivity", "data": ACTIVITY, "priority": 1}, "priority: a push to a Live Activity"),
        ({"push_type": "widgets", "data": {}}, "push_type"),
    ],
)
def test_a_push_that_apple_would_refuse_is_refused_when_it_is_published(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(EventError, match=said):
        ev.encode(ev.PushSend(**stamp(), where=ev.Where(user="han"), **fields))
