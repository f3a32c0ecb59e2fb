"""Registering and unregistering as calls: what the caller gets, in Python and in any other language."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from producers import (
    AsyncPublisher,
    EventError,
    NoReplyError,
    Publisher,
    RateLimitError,
    RefusedError,
    SupersededError,
)
from producers.events import FIELD, STREAM, reply_key
from tests.integration.pipeline.harness import Pipeline, message, token, user_of


@contextmanager
def working(pipeline: Pipeline) -> Iterator[None]:
    """The intake of a worker, in a thread of its own."""
    stop = threading.Event()

    def run() -> None:
        pipeline.lead()
        while not stop.is_set():
            pipeline.rounds.step(wait=0.02)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


Caller = Callable[..., Any]


@pytest.fixture(params=["threads", "asyncio"])
def call(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Caller]:
    """Calls a method of either publisher by its name."""
    if request.param == "threads":
        with Publisher(redis_url) as publisher:
            yield lambda name, **arguments: getattr(publisher, name)(**arguments)
        return
    with asyncio.Runner() as runner:
        aio = AsyncPublisher(redis_url)
        yield lambda name, **arguments: runner.run(getattr(aio, name)(**arguments))
        runner.run(aio.close())


def test_M1_a_registration_that_was_waited_for_is_in_force(pipeline: Pipeline, call: Caller) -> None:
    with working(pipeline):
        call(
            "register_device",
            app="demo",
            user="han",
            token="AB CD",
            locale="en-GB",
            app_version="7.1",
            attributes={"team": "red"},
            wait=5.0,
        )
    [device] = pipeline.devices.of_user("demo", "han")
    assert (device.token, device.provider, device.locale, device.app_version, device.attributes) == (
        "abcd",
        "apns",
        "en-GB",
        "7.1",
        {"team": "red"},
    )


@pytest.mark.parametrize(
    ("change", "field", "text"),
    [
        pytest.param({"app": "nobody"}, "app", "is not known", id="an unknown app"),
        pytest.param(
            {"provider": "fcm"}, "device.provider", "no provider 'fcm'; known: apns", id="an unknown provider"
        ),
        pytest.param({"token": "xyz"}, "device.token", "hex digits", id="no APNs token"),
    ],
)
def test_M1_a_refusal_names_the_field_and_changes_nothing(
    pipeline: Pipeline, call: Caller, change: dict[str, str], field: str, text: str
) -> None:
    with working(pipeline), pytest.raises(RefusedError, match=text) as caught:
        call("register_device", **({"app": "demo", "user": "han", "token": "abcd", "wait": 5.0} | change))
    assert caught.value.field == field
    assert pipeline.devices.of_user("demo", "han", retired=True) == []


def test_what_breaks_the_contract_is_refused_before_anything_is_sent(pipeline: Pipeline, call: Caller) -> None:
    with pytest.raises(EventError, match=r"device\.token: must not be empty"):
        call("register_device", app="demo", user="han", token="", wait=5.0)
    with pytest.raises(EventError, match="wait: expected more than 0"):
        call("unregister_device", app="demo", token="ab", wait=0)
    assert pipeline.redis.xlen(STREAM) == 0


def test_without_a_worker_the_outcome_is_unknown_and_the_error_says_so(pipeline: Pipeline, call: Caller) -> None:
    with pytest.raises(NoReplyError, match="takes effect once one reads it"):
        call("unregister_device", app="demo", token="abcd", wait=0.05)
    assert pipeline.redis.xlen(STREAM) == 1


def test_without_waiting_a_registration_returns_at_once(pipeline: Pipeline, call: Caller) -> None:
    entry = call("register_device", app="demo", user="han", token="abcd")
    published: Any = pipeline.redis.xrange(STREAM)
    assert published[0][0] == entry.encode()
    pipeline.take()
    assert len(pipeline.devices.of_user("demo", "han")) == 1
    assert pipeline.redis.keys("carillon:reply:*") == []


def test_A3_an_unregistration_is_in_force_when_the_call_returns(pipeline: Pipeline, call: Caller) -> None:
    with working(pipeline):
        call("register_device", app="demo", user="han", token="abcd", wait=5.0)
        call("unregister_device", app="demo", user="luke", token="abcd")
        assert len(pipeline.devices.of_user("demo", "han")) == 1, "M3: it is not his"
        call("unregister_device", app="demo", user="han", token="ABCD")
        assert pipeline.devices.of_user("demo", "han") == []


def test_A3_what_was_expanded_for_the_last_user_notifies_nobody_else(pipeline: Pipeline) -> None:
    """The batch was made before the device changed hands, and is delivered after."""
    pipeline.member("general", "leia", "han", "luke")
    pipeline.publish(message())
    pipeline.take()
    pipeline.expand()
    with working(pipeline), Publisher(pipeline.redis_url) as publisher:
        publisher.unregister_device(app="demo", user="han", token=token("han"))
        publisher.register_device(app="demo", user="greedo", token=token("luke"), wait=5.0)
    pipeline.deliver()
    assert [user_of(n) for n in pipeline.apns.sent] == []
    assert pipeline.journal.counts("demo")["dropped.device_moved"] == 2
    assert pipeline.journal.backlog() == (0, 0)


def test_S10_an_anonymous_user_has_no_device_and_the_call_is_a_success(pipeline: Pipeline, call: Caller) -> None:
    with working(pipeline):
        call("register_device", app="demo", user="han", token="abcd", wait=5.0)
        call("register_device", app="demo", user="guest-7", token="abcd", anonymous=True, wait=5.0)
    assert [device.user for device in pipeline.devices.of_user("demo", "han")] == ["han"]
    assert pipeline.devices.of_user("demo", "guest-7", retired=True) == []
    assert pipeline.journal.counts("demo")["devices.anonymous"] == 1


def test_S10_anonymous_registrations_count_against_the_rate_and_unregistrations_do_not(
    pipeline: Pipeline, call: Caller
) -> None:
    pipeline.save_app(registration_rate=1, registration_burst=2)
    with working(pipeline):
        for n in range(2):
            call("register_device", app="demo", user=f"guest-{n}", token="abcd", anonymous=True, wait=5.0)
        with pytest.raises(RateLimitError, match="takes 1 registrations a second and 2 at once"):
            call("register_device", app="demo", user="han", token="abcd", wait=5.0)
        call("unregister_device", app="demo", user="han", token="abcd")
    assert pipeline.journal.counts("demo")["devices.over_rate"] == 1
    assert pipeline.ledger.dead_letters() == [], "the caller knows, and nobody has to look at it"


def test_a_backlog_is_no_flood(pipeline: Pipeline) -> None:
    """The rate is that of publishing: what waited while no worker ran is applied whole."""
    pipeline.save_app(registration_rate=1, registration_burst=1)
    for second in range(1, 31):
        document = {
            "v": 1,
            "type": "device.registered",
            "id": f"e{second}",
            "app": "demo",
            "at": "2026-11-21T20:00:00Z",
            "user": f"u{second}",
            "device": {"token": f"{second:04x}"},
        }
        pipeline.redis.xadd(STREAM, {FIELD: json.dumps(document)}, id=f"{second * 1000}-0")
    pipeline.take()
    assert pipeline.ledger.dead_letters() == []
    assert len(pipeline.devices.user_devices("demo", [f"u{n}" for n in range(31)])) == 30


@pytest.mark.parametrize(
    ("document", "answer"),
    [
        pytest.param(
            {"type": "device.registered", "user": "han", "device": {"token": "abcd"}}, {"ok": True}, id="a success"
        ),
        pytest.param(
            {"type": "device.registered", "user": "g", "device": {"token": "abcd"}, "anonymous": True},
            {"ok": True, "ignored": "anonymous"},
            id="an anonymous user",
        ),
        pytest.param(
            {"type": "device.registered", "user": "han", "device": {"tokn": "abcd"}},
            {
                "ok": False,
                "code": "refused",
                "field": "device.tokn",
                "error": "device.tokn: unknown field; known in device are token, subscription, platform, provider,"
                " environment, locale, app_version, attributes, purpose, installation, activity, accepts, keys, privacy",
            },
            id="a misspelt field",
        ),
        pytest.param(
            {"type": "device.unregistered", "device": {"token": "xyz"}},
            {
                "ok": False,
                "code": "refused",
                "field": "device.token",
                "error": "device.token: an APNs device token is an even number of hex digits",
            },
            id="a bad token",
        ),
    ],
)
def test_any_language_may_ask_by_a_reply_key(
    pipeline: Pipeline, document: dict[str, Any], answer: dict[str, Any]
) -> None:
    envelope = {"v": 1, "id": "e", "app": "demo", "at": "2026-11-21T20:00:00Z", "reply": "r-1"}
    pipeline.redis.xadd(STREAM, {FIELD: json.dumps(envelope | document)})
    pipeline.take()
    assert [json.loads(one) for one in pipeline.redis.lrange(reply_key("r-1"), 0, -1)] == [answer]
    assert 0 < pipeline.redis.ttl(reply_key("r-1")) <= 60
    assert pipeline.redis.xlen(STREAM) == 0


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        pytest.param({"token": "abcd"}, {"ok": True}, id="applied"),
        pytest.param({"token": "xyz"}, {"ok": False}, id="refused"),
    ],
)
def test_a_leader_that_died_before_answering_is_made_up_for(
    pipeline: Pipeline, body: dict[str, str], answer: dict[str, Any]
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    document = {"v": 1, "type": "device.registered", "id": "e", "app": "demo", "at": "2026-11-21T20:00:00Z"}
    pipeline.redis.xadd(STREAM, {FIELD: json.dumps(document | {"user": "han", "device": body, "reply": "r-1"})})
    replies: Any = pipeline.intake._replies  # the crash: between the commit and the answer
    send, replies.send = replies.send, die
    with pytest.raises(Killed):
        pipeline.take()
    replies.send = send
    assert pipeline.lead() == 1
    [reply] = pipeline.redis.lrange(reply_key("r-1"), 0, -1)
    assert json.loads(reply)["ok"] is answer["ok"]
    assert pipeline.redis.xlen(STREAM) == 0


def test_M1_a_write_that_something_newer_decided_is_not_called_ok(pipeline: Pipeline, call: Caller) -> None:
    now = datetime.now(UTC)
    with working(pipeline):
        call("register_device", app="demo", user="han", token="abcd", at=now + timedelta(seconds=3), wait=5.0)
        with pytest.raises(SupersededError, match="is 3 s newer") as caught:
            call("register_device", app="demo", user="leia", token="abcd", at=now, wait=5.0)
        assert caught.value.at == now + timedelta(seconds=3)
        with pytest.raises(SupersededError):
            call("unregister_device", app="demo", user="han", token="abcd", at=now)
        assert [d.user for d in pipeline.devices.of_user("demo", "han")] == ["han"]
        call("unregister_device", app="demo", user="leia", token="abcd", at=now)  # it is not hers: what she asked is so
        call("unregister_device", app="demo", user="han", token="abcd", at=now + timedelta(seconds=4))
        with pytest.raises(SupersededError, match="an unregistration of"):
            call("register_device", app="demo", user="han", token="abcd", at=now + timedelta(seconds=3.5), wait=5.0)


def test_M1_a_device_beyond_the_users_cap_is_not_called_registered(pipeline: Pipeline, call: Caller) -> None:
    pipeline.save_app(device_cap=1)
    now = datetime.now(UTC)
    with working(pipeline):
        call("register_device", app="demo", user="han", token="aa", at=now, wait=5.0)
        with pytest.raises(SupersededError, match="device_cap"):
            call("register_device", app="demo", user="han", token="bb", at=now - timedelta(days=1), wait=5.0)


def test_M5_two_writes_of_one_millisecond_are_kept_apart(pipeline: Pipeline, call: Caller) -> None:
    moment = datetime(2026, 11, 28, 12, 0, 0, 123_400, tzinfo=UTC)
    with working(pipeline):
        call(
            "register_device", app="demo", user="leia", token="abcd", at=moment + timedelta(microseconds=500), wait=5.0
        )
        with pytest.raises(SupersededError):
            call("register_device", app="demo", user="han", token="abcd", at=moment, wait=5.0)
        call("unregister_device", app="demo", user=None, token="abcd", at=moment + timedelta(microseconds=501))
        with pytest.raises(SupersededError, match=r"12:00:00\.123901Z"):
            call(
                "register_device",
                app="demo",
                user="han",
                token="abcd",
                at=moment + timedelta(microseconds=500),
                wait=5.0,
            )


@pytest.mark.parametrize(
    "body",
    [
        {"type": "device.registered", "user": "han", "device": {"token": "abcd"}},
        {"type": "device.unregistered", "device": {"token": "abcd"}},
        {"type": "member.added", "channel": {"id": "c"}, "users": ["han"]},
        {"type": "member.removed", "channel": {"id": "c"}, "users": ["han"]},
        {"type": "channel.updated", "channel": {"id": "c", "push_notifications": False}},
        {"type": "user.muted", "user": "han", "target": "leia"},
        {"type": "user.unmuted", "user": "han", "target": "leia"},
    ],
    ids=lambda body: body["type"],
)
def test_a_write_from_the_future_is_refused_so_that_it_does_not_win_for_ever(
    pipeline: Pipeline, body: dict[str, Any]
) -> None:
    for id, at in (("near", timedelta(minutes=4)), ("far", timedelta(minutes=6))):
        envelope = {"v": 1, "id": id, "app": "demo", "at": (datetime.now(UTC) + at).isoformat()}
        pipeline.redis.xadd(STREAM, {FIELD: json.dumps(envelope | body)})
    pipeline.take()
    [letter] = pipeline.ledger.dead_letters()
    assert letter.letter.event_id == "far"
    assert letter.letter.error.startswith("at: ")
    assert "s ahead of Postgres's and Redis's clock" in letter.letter.error


def test_what_an_older_release_stored_in_milliseconds_is_read(pipeline: Pipeline) -> None:
    with pipeline.pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active, tombstones, refusals)"
            " VALUES ('demo', 'abcd', 'han', %s, 1000, true, '{\"leia\": 2000}', '{\"9\": 3000}')",
            (pipeline.provider.id,),
        )
    for user, ms in (("leia", 1_999), ("luke", 1_999)):
        at = datetime.fromtimestamp(ms / 1000, UTC).isoformat()
        document = {"v": 1, "type": "device.registered", "id": user, "app": "demo", "at": at, "user": user}
        pipeline.redis.xadd(STREAM, {FIELD: json.dumps(document | {"device": {"token": "abcd"}, "reply": user})})
    pipeline.take()
    [leia], [luke] = (pipeline.redis.lrange(reply_key(user), 0, -1) for user in ("leia", "luke"))
    assert json.loads(leia)["code"] == "superseded"
    assert json.loads(luke) == {"ok": True}
    with pipeline.pool.connection() as db:
        row = db.execute("SELECT registered_at, registered_us, tombstones, refusals FROM carillon.devices").fetchone()
    assert row == (1_999, 0, {"leia": 2000}, {"9": 3000})
