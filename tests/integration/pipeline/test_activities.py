"""Live Activities: the newest update goes out, few of them at once, and a start that the phone would drop is not sent."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from producers import events as ev
from producers.errors import EventError
from tests.integration.pipeline.harness import START, Pipeline, stamp, token
from worker.core.activities import LOOKS
from worker.core.model import Answer, Notification
from worker.reports.delivery_report import delayed_in


def register(
    pipeline: Pipeline, user: str = "han", *, start: bool = False, activity: str = "call:1", n: int = 0
) -> str:
    """Returns the token."""
    named = {"purpose": "activity-start"} if start else {"purpose": "activity", "activity": activity}
    device = ev.Device(token=token(user, n), **named)  # type: ignore[arg-type]
    pipeline.publish(ev.DeviceRegistered(**stamp(), user=user, device=device))
    return token(user, n)


def update(id: str = "e1", at: float = 0.0, **fields: Any) -> ev.ActivityUpdated:
    given: dict[str, Any] = {"user": "han", "activity": "call:1", "state": {"people": 4}} | fields
    return ev.ActivityUpdated(**(stamp(at) | {"id": id}), **given)


def start(id: str = "e1", **fields: Any) -> ev.ActivityUpdated:
    given: dict[str, Any] = {
        "attributes_type": "CallAttributes",
        "attributes": {"id": 1},
        "alert": ev.Alert(title="Call", body="Begun"),
    }
    return update(id, event="start", **(given | fields))


def aps(sent: Notification) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(sent.payload)["aps"]
    return found


def test_an_update_goes_to_the_tokens_of_its_activity(pipeline: Pipeline) -> None:
    mine = register(pipeline)
    register(pipeline, n=1, activity="call:2")
    register(pipeline, n=2, start=True)
    pipeline.publish(update(stale_at=START + timedelta(minutes=5)))
    [sent] = pipeline.run()
    assert (sent.token, sent.heading.push_type, sent.heading.topic) == (
        mine,
        "liveactivity",
        "io.carillon.demo.push-type.liveactivity",
    )
    assert (sent.heading.priority, sent.heading.collapse_id) == (5, None)
    at = int(START.timestamp())
    assert aps(sent) == {
        "timestamp": at,
        "event": "update",
        "content-state": {"people": 4},
        "stale-date": at + 300,
    }


def test_a_start_goes_to_the_tokens_that_start_one_and_asks_for_the_activitys_own(pipeline: Pipeline) -> None:
    register(pipeline)
    mine = register(pipeline, n=1, start=True)
    pipeline.publish(start())
    [sent] = pipeline.run()
    assert (sent.token, sent.heading.priority) == (mine, 10)
    assert (aps(sent)["attributes-type"], aps(sent)["input-push-token"]) == ("CallAttributes", 1)
    assert aps(sent)["alert"] == {"title": "Call", "body": "Begun"}


def test_l01_of_the_updates_that_wait_the_newest_is_sent(pipeline: Pipeline) -> None:
    register(pipeline)
    pipeline.publish(*(update(f"e{n}", at=n / 10, state={"n": n}) for n in (1, 2, 3)))
    assert [aps(one)["content-state"] for one in pipeline.run()] == [{"n": 3}]
    account = pipeline.account("e1")
    assert account["page:0"]["pushed"] == ["han"]
    assert [entry for entry in account.values() if "dropped.superseded" in entry]


def test_l02_an_update_that_is_older_than_the_last_is_not_sent(pipeline: Pipeline) -> None:
    register(pipeline)
    pipeline.publish(update("e2", at=5))
    assert len(pipeline.run()) == 1
    pipeline.publish(update("e1", at=4))
    assert pipeline.run() == []
    assert pipeline.account("e1")["page:0"]["skipped"] == {"superseded": ["han"]}


def test_updates_of_other_users_take_no_ones_place(pipeline: Pipeline) -> None:
    register(pipeline, "han")
    register(pipeline, "luke")
    pipeline.publish(update("e1", at=1, user="han"), update("e2", at=2, user=ev.OneOf(any_of=["luke"])))
    assert {one.token for one in pipeline.run()} == {token("han"), token("luke")}


@pytest.mark.parametrize("missing", ["alert", "attributes", "attributes_type"])
def test_l03_a_start_without_what_it_needs_is_refused(missing: str) -> None:
    with pytest.raises(EventError, match=f"{missing}: required to start"):
        ev.encode(start("e1", **{missing: None}))


def test_l04_the_ninth_start_in_an_hour_is_not_sent(pipeline: Pipeline) -> None:
    register(pipeline, start=True)
    pipeline.publish(*(start(f"e{n}", activity=f"call:{n}") for n in range(9)))
    assert len(pipeline.run()) == 8
    assert pipeline.account("e8")["page:0"]["skipped"] == {"budget": ["han"]}
    pipeline.now += 3601
    pipeline.publish(start("e9", at=3601))
    assert len(pipeline.run()) == 1


def test_l05_an_update_waits_a_minute_for_the_token_of_its_activity(pipeline: Pipeline) -> None:
    pipeline.publish(update("e1", at=0, state={"n": 1}), update("e2", at=0.5, state={"n": 2}))
    assert pipeline.run() == []
    register(pipeline)
    pipeline.later(2)
    assert [aps(one)["content-state"] for one in pipeline.run()] == [{"n": 2}]


def test_l05_an_update_whose_activity_has_no_token_in_a_minute_is_for_no_device(pipeline: Pipeline) -> None:
    pipeline.publish(update())
    assert pipeline.run() == []
    for seconds in LOOKS:
        pipeline.later(seconds)
        assert pipeline.run() == []
    assert sum(LOOKS) == 60
    parts = pipeline.account("e1")
    assert parts["page:0"]["delayed"] == ["han"]
    assert parts["page:0"]["considered"] == 0
    assert delayed_in(parts["page:0"])["han"].words.endswith("Z, the activity has no token yet")
    assert [part for part in parts.values() if part.get("skipped") == {"no_device": ["han"]}]


def test_l06_a_state_that_is_too_large_is_refused_when_it_is_published() -> None:
    ev.encode(update(state={"text": "x" * 3_900}))
    with pytest.raises(EventError, match=r"state: 4,\d+ bytes as a payload, Apple takes 4,096"):
        ev.encode(update(state={"text": "x" * 4_096}))


def test_l07_an_end_may_go_away_at_once(pipeline: Pipeline) -> None:
    register(pipeline)
    pipeline.publish(update(event="end", dismiss_at=START - timedelta(seconds=1)))
    [sent] = pipeline.run()
    assert (sent.heading.priority, aps(sent)["dismissal-date"]) == (10, int(START.timestamp()) - 1)


def test_only_one_update_in_some_seconds_is_urgent(pipeline: Pipeline) -> None:
    users = ["han", "luke", "rey"]
    for user in users:
        register(pipeline, user)
    pipeline.publish(*(update(f"e{n}", at=n, user=user, urgent=True) for n, user in enumerate(users)))
    assert sorted(one.heading.priority for one in pipeline.run()) == [5, 5, 10]


def test_a_token_that_is_gone_goes_alone(pipeline: Pipeline) -> None:
    starts, mine = register(pipeline, n=1, start=True), register(pipeline)
    pipeline.take()
    pipeline.apns.answers[mine] = [Answer(410, "Unregistered", int(START.timestamp() * 1000))]
    pipeline.publish(update())
    pipeline.run()
    assert [one.token for one in pipeline.devices.of_user("demo", "han")] == [starts]
