"""FCM beside APNs over the whole pipeline: one message reaches a user's devices of both, and its answers have their outcomes."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp
from tests.unit.fcm.key_files import EMAIL, KEY_ID, PROJECT, account, pem, rsa_key
from worker.core.model import Provider
from worker.core.way import way_of
from worker.providers.fcm.access_token import AccessTokenError
from worker.providers.fcm.client import FcmClient
from worker.providers.fcm.settings import FcmSettings
from worker.providers.fleet_tokens import FleetTokens
from worker.sender.sender import Sender
from worker.simulator import Answer, Rule, Script, SimulatorThread
from worker.simulator import FcmSettings as SimulatorSettings
from worker.simulator.fcm.settings import Account
from worker.state.partition import Keyspace
from worker.state.provider_tokens import ProviderTokens


@pytest.fixture
def simulator() -> Iterator[SimulatorThread]:
    known = Account(EMAIL, KEY_ID, pem(rsa_key()), PROJECT)
    with SimulatorThread(SimulatorSettings(accounts=(known,), control_port=0)) as simulator:
        yield simulator


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str, simulator: SimulatorThread) -> Iterator[Pipeline]:
    """The app `demo` with an APNs and an FCM, somewhat behind the real time: the token endpoint looks at its clock."""
    made = Pipeline(postgres_url, redis_url)
    made.now = time.time() - 100
    settings = FcmSettings(account(), "app", host="localhost", port=simulator.port, ca=simulator.ca_pem)
    made.registry.save_provider(Provider(0, "demo", "fcm", "production", settings))
    tokens = FleetTokens(ProviderTokens(Keyspace(made.redis).fleet), faults=(AccessTokenError,))
    made.clients["fcm"] = FcmClient(Sender(), tokens, connections=1, proxy=None)
    yield made
    made.clients["fcm"].close()
    made.close()


def token(name: str) -> str:
    return f"{name:-<20}:APA91b{'x' * 130}"


def now(pipeline: Pipeline) -> float:
    """Seconds since the harness's own time."""
    return pipeline.now - START.timestamp()


def publish(pipeline: Pipeline, text: str = "hello", id: str = "e1") -> None:
    pipeline.publish(message(text=text, id=id, seconds=now(pipeline)))


def register(pipeline: Pipeline, **platforms: str) -> None:
    """A device of FCM for each user."""
    users = ["leia", *platforms]
    pipeline.publish(ev.MemberAdded(**stamp(now(pipeline)), channel=ev.ChannelId(id="general"), users=users))
    for user, platform in platforms.items():
        device = ev.Device(token=token(user), platform=platform, provider="fcm")
        pipeline.publish(ev.DeviceRegistered(**stamp(now(pipeline)), user=user, device=device))


def active(pipeline: Pipeline) -> list[str]:
    with pipeline.pool.connection() as db:
        rows = db.execute("SELECT user_id FROM carillon.devices WHERE active ORDER BY user_id").fetchall()
    return [user for (user,) in rows]


def test_one_message_reaches_a_users_iphone_and_android_phone(pipeline: Pipeline, simulator: SimulatorThread) -> None:
    register(pipeline, han="android")
    iphone = ev.Device(token="ab" * 32, platform="ios", provider="apns")
    pipeline.publish(ev.DeviceRegistered(**stamp(now(pipeline)), user="han", device=iphone))
    publish(pipeline)
    assert [one.token for one in pipeline.run()] == ["ab" * 32]
    [entry] = simulator.accepted
    data = json.loads(entry.payload)["message"]["android"]["data"]
    assert (entry.token, data["body"], data["badge"]) == (token("han"), "hello", "1")
    assert pipeline.journal.counts("demo")["accepted"] == 2


def test_what_was_read_elsewhere_or_deleted_goes_from_an_android_phone(
    pipeline: Pipeline, simulator: SimulatorThread
) -> None:
    register(pipeline, han="android")
    device = ev.Device(token=token("han"), platform="android", provider="fcm", accepts=["clear"])
    pipeline.publish(ev.DeviceRegistered(**stamp(now(pipeline)), user="han", device=device))
    publish(pipeline)
    pipeline.run()
    until, channel = pipeline.now, ev.ChannelId(id="general")
    at = datetime.fromtimestamp(until, UTC)
    pipeline.publish(ev.ChannelRead(**stamp(now(pipeline)), user="han", channel=channel, until=at))
    pipeline.run()
    while pipeline.ledger.flush(pipeline.journal):
        pass
    pipeline.publish(ev.MessageDeleted(**stamp(now(pipeline)), channel=channel, message=ev.MessageId(id="m-e1")))
    pipeline.take()
    pipeline.later(5)
    pipeline.run()
    _, clear, retract = [json.loads(entry.payload)["message"]["android"] for entry in simulator.accepted]
    for android, what in ((clear, "clear"), (retract, "retract")):
        assert (android["priority"], android["ttl"], android["data"]["kind"]) == ("NORMAL", "0s", what)
        assert "notification" not in android
    assert json.loads(clear["data"]["clear"]) == {"channel": "general", "until": int(until * 1000)}
    assert json.loads(retract["data"]["retract"]) == {"channel": "general", "message": "m-e1"}


def test_a_device_that_is_gone_is_retired_and_no_other(pipeline: Pipeline, simulator: SimulatorThread) -> None:
    simulator.set_tokens({token("han"): Answer("UNREGISTERED")})
    register(pipeline, han="android", luke="android")
    publish(pipeline)
    pipeline.run()
    assert active(pipeline) == ["luke"]
    assert pipeline.journal.counts("demo")["retired.UNREGISTERED"] == 1


@pytest.mark.parametrize("reason", ["UNAVAILABLE", "MESSAGE_TOO_LARGE", "NOT_FOUND", "SERVICE_DISABLED"])
def test_no_answer_that_is_not_about_the_token_retires_a_device(
    pipeline: Pipeline, simulator: SimulatorThread, reason: str
) -> None:
    simulator.set_script(Script(rules=(Rule(answer=Answer(reason)),)))
    register(pipeline, han="android", luke="android")
    publish(pipeline)
    pipeline.run()
    assert active(pipeline) == ["han", "luke"]


def test_a_wrong_project_stops_the_provider_and_what_it_did_not_find_is_sent_once_it_is_mended(
    pipeline: Pipeline, simulator: SimulatorThread, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.set_script(Script(rules=(Rule(answer=Answer("NOT_FOUND")),)))
    users = [f"u{n:02}" for n in range(20)]
    register(pipeline, **dict.fromkeys(users, "android"))
    publish(pipeline)
    caplog.set_level("INFO")
    pipeline.run()
    [line] = [one for one in caplog.records if "provider stopped" in one.message]
    assert "service account and project" in line.message
    assert pipeline.journal.counts("demo")["parked.mass_refusal"] == 20

    simulator.set_script(Script())
    for key in pipeline.redis.scan_iter("carillon:probe:*"):  # it is time for a probe
        pipeline.redis.delete(key)
    for _ in range(3):
        pipeline.later()
        pipeline.deliver()
    assert sorted(one.token for one in simulator.accepted) == sorted(map(token, users))
    assert active(pipeline) == users


def test_a_wrong_project_retires_no_device_of_a_way_that_few_pushes_go(
    pipeline: Pipeline, simulator: SimulatorThread
) -> None:
    """What shows the mistake is refused on another way of the provider."""
    simulator.set_script(Script(rules=(Rule(answer=Answer("SENDER_ID_MISMATCH")),)))
    few = [f"apple{n}" for n in range(3)]
    register(pipeline, **dict.fromkeys([f"u{n:02}" for n in range(20)], "android"), **dict.fromkeys(few, "ios"))
    pipeline.take()
    [fcm] = [one.id for one in pipeline.registry.providers().values() if one.name == "fcm"]
    pipeline.breaker.record(way_of(fcm, "apns"), answered=300)
    publish(pipeline)
    pipeline.run()
    assert pipeline.retire_deferred() == 0
    assert set(few) <= set(active(pipeline))


def test_an_access_token_that_is_called_expired_costs_one_more_try_and_nothing_else(
    pipeline: Pipeline, simulator: SimulatorThread
) -> None:
    register(pipeline, han="android", luke="android")
    publish(pipeline)
    pipeline.run()
    pipeline.now += 70  # the token is older than one that is refused for its age
    simulator.set_script(Script(rules=(Rule(answer=Answer("ACCESS_TOKEN_EXPIRED"), count=2),)))
    publish(pipeline, id="e2")
    pipeline.run()
    pipeline.later(1.0)
    pipeline.deliver()
    assert len(simulator.accepted) == 4
    assert simulator.counts["token_requests"] == 2
    assert active(pipeline) == ["han", "luke"]


def test_a_wrong_apns_key_stops_the_way_to_apple_devices_alone(pipeline: Pipeline, simulator: SimulatorThread) -> None:
    simulator.set_tokens({token("han"): Answer("THIRD_PARTY_AUTH_ERROR")})
    register(pipeline, han="ios", luke="android")
    publish(pipeline)
    pipeline.run()
    publish(pipeline, id="e2")
    pipeline.run()
    assert [entry.token for entry in simulator.accepted] == [token("luke")] * 2
    assert len(simulator.refused) == 1, "nothing more goes to Apple devices, but a probe when it is time"
    assert simulator.counts["token_requests"] == 1 and active(pipeline) == ["han", "luke"]


def test_a_projects_quota_is_waited_for_in_the_store_and_is_no_fault(
    pipeline: Pipeline, simulator: SimulatorThread
) -> None:
    over = Answer("RATE_LIMIT_EXCEEDED", retry_after=30)
    simulator.set_script(Script(rules=(Rule(answer=over, count=1),)))
    register(pipeline, han="android")
    publish(pipeline)
    pipeline.run()
    publish(pipeline, id="e2")
    pipeline.run()
    assert (len(simulator.refused), len(simulator.accepted)) == (1, 0)
    pipeline.later(70.0)
    pipeline.now += 70
    pipeline.deliver()
    assert sorted(json.loads(one.payload)["message"]["android"]["data"]["event"] for one in simulator.accepted) == [
        "e1",
        "e2",
    ]
    assert active(pipeline) == ["han"]
