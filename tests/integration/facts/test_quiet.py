"""Quiet time on the pipeline: what it refuses, what comes through, and whose it is."""

from datetime import timedelta
from typing import Any

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token, user_of
from worker.core.attention import Attention
from worker.core.model import ACCEPTED, Answer
from worker.database.postgres import Pool

EVERY_DAY: Any = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
#: The tests are at 21:00 in Berlin.
EVENING = ev.Window(days=EVERY_DAY, begin="20:00", to="07:00")
NIGHT = ev.Window(days=EVERY_DAY, begin="22:00", to="07:00")
ALLOW = ev.Allow(urgent=True, triggers=["direct"], users=["leia"], channels=["ops"])


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str) -> Any:
    made = Pipeline(postgres_url, redis_url)
    yield made
    made.close()


def quiet(user: str = "han", zone: str | None = "Europe/Berlin", **fields: Any) -> ev.QuietUpdated:
    return ev.QuietUpdated(**stamp(), user=user, zone=zone, **fields)


def reason(pipeline: Pipeline, id: str, user: str = "han") -> str:
    account = pipeline.account(id)["page:0"]
    return next((reason for reason, users in account["skipped"].items() if user in users), "pushed")


def people(pipeline: Pipeline, *channels: str) -> None:
    for channel in channels or ("general",):
        pipeline.member(channel, "han", "leia", "luke")


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        pytest.param(
            {"zone": "Europe/Berln", "quiet": [NIGHT]},
            "zone: 'Europe/Berln' is no time zone; did you mean 'Europe/Berlin'?",
            id="unknown zone",
        ),
        pytest.param(
            {"zone": "1234"},
            "zone: '1234' is no time zone; known are those of the IANA database, such as Europe/Berlin",
            id="nothing like a zone",
        ),
    ],
)
def test_what_cannot_be_is_a_dead_letter_that_says_what_can(pipeline: Pipeline, fields: Any, fault: str) -> None:
    people(pipeline)
    pipeline.publish(quiet(**fields), message(id="e1", sender="luke"))
    pipeline.run()
    with pipeline.pool.connection() as db:
        assert db.execute("SELECT error FROM carillon.dead_letters").fetchall() == [(fault,)]
    assert reason(pipeline, "e1") == "pushed"


@pytest.mark.parametrize(
    ("id", "fields", "expected", "passed"),
    [
        pytest.param("general", {"sender": "luke"}, "quiet", None, id="B01"),
        pytest.param("d1", {"sender": "luke", "kind": "direct"}, "pushed", "trigger", id="B02"),
        pytest.param("general", {"sender": "leia"}, "pushed", "user", id="B03"),
        pytest.param("ops", {"sender": "luke"}, "pushed", "channel", id="B04"),
        pytest.param("general", {"sender": "luke", "urgency": "urgent"}, "pushed", "urgent", id="B05"),
        pytest.param("general", {"sender": "luke", "mentioned": ["han"]}, "quiet", None, id="B10"),
    ],
)
def test_what_comes_through(pipeline: Pipeline, id: str, fields: Any, expected: str, passed: str | None) -> None:
    people(pipeline, "general", "ops", "d1")
    pipeline.publish(quiet(quiet=[EVENING], allow=ALLOW))
    kind = fields.pop("kind", None)
    said = message(id, id="e1", **fields)
    pipeline.publish(ev.MessageNew(**{**_fields(said), "channel": ev.Channel(id=id, kind=kind)}))
    pipeline.run()
    assert reason(pipeline, "e1") == expected
    assert pipeline.account("e1")["page:0"].get("passed", {}).get("han") == passed


def _fields(event: ev.MessageNew) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def test_urgent_messages_may_be_refused_too(pipeline: Pipeline) -> None:
    """B06."""
    people(pipeline)
    pipeline.publish(quiet(quiet=[EVENING], allow=ev.Allow(urgent=False)))
    pipeline.publish(message(id="e1", sender="luke", urgency="urgent"))
    pipeline.run()
    assert reason(pipeline, "e1") == "quiet"


def test_what_is_muted_comes_through_no_quiet_time(pipeline: Pipeline) -> None:
    """B08."""
    people(pipeline)
    pipeline.publish(quiet(quiet=[EVENING]), ev.UserMuted(**stamp(), user="han", target="luke"))
    pipeline.publish(message(id="e1", sender="luke", urgency="urgent"))
    pipeline.run()
    assert reason(pipeline, "e1") == "muted_sender"


def test_a_pause_is_quiet_but_for_what_is_allowed(pipeline: Pipeline) -> None:
    """B09."""
    people(pipeline)
    pipeline.publish(quiet(zone=None, pause_until=START + timedelta(hours=1), allow=ALLOW))
    pipeline.publish(message(id="e1", sender="luke"), message(id="e2", sender="leia"))
    pipeline.run()
    assert [reason(pipeline, id) for id in ("e1", "e2")] == ["paused", "pushed"]
    pipeline.now += 3_600
    pipeline.publish(message(id="e3", sender="luke", seconds=3_600))
    pipeline.run()
    assert reason(pipeline, "e3") == "pushed"


def test_the_clock_counts_at_which_it_is_decided(pipeline: Pipeline) -> None:
    """B16: written in the night, and expanded when that is over."""
    people(pipeline)
    pipeline.publish(quiet(quiet=[ev.Window(days=EVERY_DAY, begin="20:00", to="21:10")]))
    pipeline.publish(message(id="e1", sender="luke"))
    pipeline.take()
    pipeline.now += 600
    pipeline.run()
    assert reason(pipeline, "e1") == "pushed"


def registered(user: str, zone: str | None, seconds: float) -> ev.DeviceRegistered:
    attributes = {} if zone is None else {"zone": zone}
    device = ev.Device(token=token(user, int(seconds)), attributes=attributes)
    return ev.DeviceRegistered(**stamp(seconds), user=user, device=device)


def test_the_default_of_the_app_is_for_those_without_a_row(pipeline: Pipeline) -> None:
    people(pipeline)
    pipeline.save_app(attention=Attention(quiet=(EVENING,), quiet_zone="Europe/Berlin"))
    pipeline.publish(quiet("leia"), message(id="e1", sender="luke"))
    assert [user_of(one) for one in pipeline.run()] == ["leia"]
    assert reason(pipeline, "e1") == "quiet"


def test_the_zone_of_the_default_may_be_that_of_the_latest_device(pipeline: Pipeline) -> None:
    people(pipeline)
    pipeline.save_app(attention=Attention(quiet=(EVENING,), quiet_zone="device"))
    pipeline.publish(registered("han", "Europe/Berlin", 5), registered("han", "America/New_York", 3))
    pipeline.publish(registered("leia", "America/New_York", 5))
    pipeline.publish(message(id="e1", sender="luke"))
    pipeline.run()
    assert (reason(pipeline, "e1"), reason(pipeline, "e1", "leia")) == ("quiet", "pushed")
    pipeline.publish(registered("han", None, 9), message(id="e2", sender="luke"))
    pipeline.run()
    assert reason(pipeline, "e2") == "pushed"


def test_rows_are_looked_at_only_in_apps_that_have_any(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    people(pipeline)
    pipeline.publish(message(id="e1", sender="luke"))
    pipeline.run()
    asked: list[int] = []
    connection = Pool.connection

    def counted(pool: Pool, timeout: float | None = None) -> Any:
        asked.append(1)
        return connection(pool, timeout)

    def reads(id: str) -> int:
        pipeline.publish(message(id=id, sender="luke"))
        pipeline.take()
        opened = pipeline.journal.take_messages("urgent", 500)
        asked.clear()
        with monkeypatch.context() as patched:
            patched.setattr(Pool, "connection", counted)
            pipeline.fan_out.expand(opened)
        return len(asked)

    without = reads("e2")
    pipeline.publish(quiet(quiet=[NIGHT]))
    assert reads("e3") == without + 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"alert": "news"}, ["luke"], id="respected"),
        pytest.param({"alert": "news", "respect_quiet": False}, ["han", "leia", "luke"], id="not asked to be"),
        pytest.param({"data": {"x": 1}, "push_type": "background"}, ["han", "leia", "luke"], id="makes no sound"),
        pytest.param({"data": {"x": 1}, "push_type": "background", "respect_quiet": True}, ["luke"], id="asked to be"),
    ],
)
def test_a_targeted_push_leaves_out_whoever_is_in_quiet_time(
    pipeline: Pipeline, fields: Any, expected: list[str]
) -> None:
    """B11."""
    people(pipeline)
    pipeline.publish(
        quiet(quiet=[EVENING], allow=ALLOW), quiet("leia", zone=None, pause_until=START + timedelta(hours=1))
    )
    pipeline.publish(ev.PushSend(**(stamp() | {"id": "p1"}), where=ev.Where(everyone=True), **fields))
    assert sorted(user_of(one) for one in pipeline.run()) == expected
    account = pipeline.account("p1")["page:0"]
    skipped = {"quiet": ["han"], "paused": ["leia"]} if expected == ["luke"] else {}
    assert (sorted(account["pushed"]), account["skipped"]) == (expected, skipped)
    assert pipeline.journal.counts("demo").get("skipped.quiet", 0) == len(skipped.get("quiet", []))


NINE = ev.Window(days=EVERY_DAY, begin="21:05", to="07:00")


@pytest.mark.parametrize(
    ("allow", "urgency", "dropped"),
    [
        pytest.param(ev.Allow(), "normal", True, id="B18"),
        pytest.param(ev.Allow(), "urgent", False, id="B18 urgent"),
        pytest.param(ev.Allow(triggers=["message"]), "normal", False, id="B18 by its trigger"),
        pytest.param(ev.Allow(users=["luke"]), "normal", False, id="B18 by its sender"),
    ],
)
def test_a_retry_is_dropped_in_a_quiet_time_that_began_since(
    pipeline: Pipeline, allow: ev.Allow, urgency: Any, dropped: bool
) -> None:
    pipeline.member("general", "han", "luke")
    pipeline.publish(quiet(quiet=[NINE], allow=allow))
    pipeline.apns.answers[token("han")] = [Answer(503, "ServiceUnavailable"), ACCEPTED]
    pipeline.publish(message(id="e1", sender="luke", urgency=urgency))
    assert len(pipeline.run()) == 1
    pipeline.now += 360
    pipeline.later()
    pipeline.deliver()
    assert len(pipeline.apns.sent) == (1 if dropped else 2)
    assert pipeline.journal.counts("demo").get("dropped.quiet", 0) == dropped


def test_what_came_through_at_first_is_tried_again(pipeline: Pipeline) -> None:
    """Of its triggers another one than the most salient let it through."""
    people(pipeline, "d1")
    pipeline.publish(quiet(quiet=[EVENING], allow=ev.Allow(triggers=["mention"])))
    pipeline.apns.answers[token("han")] = [Answer(503, "ServiceUnavailable"), ACCEPTED]
    said = message("d1", id="e1", sender="luke", mentioned=["han"])
    pipeline.publish(ev.MessageNew(**{**_fields(said), "channel": ev.Channel(id="d1", kind="direct")}))
    pipeline.run()
    pipeline.now += 60
    pipeline.later()
    pipeline.deliver()
    assert [user_of(one) for one in pipeline.apns.sent].count("han") == 2
