"""The client over the wire, against the FCM of the simulator and its token endpoint."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import fakeredis
import pytest

from tests.integration.pipeline.harness import message
from tests.unit.fcm.key_files import EMAIL, KEY_ID, PROJECT, account, pem, rsa_key
from worker.core import notification
from worker.core.batch import Job, Sending
from worker.core.model import ACCEPTED, Answer, NoAnswer, Provider
from worker.providers.base import Sent, SettingsError, Simulated
from worker.providers.fcm.access_token import AccessTokenError, AccessTokenRefusedError, ClockError
from worker.providers.fcm.client import FcmClient
from worker.providers.fcm.kind import KIND
from worker.providers.fcm.reasons import NOT_KNOWN_AS_APPLE, SEVERAL_DEVICES
from worker.providers.fcm.settings import FcmSettings
from worker.providers.fleet_tokens import FleetTokens
from worker.sender.sender import Sender
from worker.simulator import Answer as Said
from worker.simulator import FcmSettings as SimulatorSettings
from worker.simulator import Rule, Script, SimulatorThread
from worker.simulator.fcm.settings import Account
from worker.state.partition import Keyspace
from worker.state.provider_tokens import ProviderTokens

ACCOUNT: Final = Account(EMAIL, KEY_ID, pem(rsa_key()), PROJECT)
LIFE: Final = 600


@pytest.fixture(scope="module")
def shared() -> Iterator[SimulatorThread]:
    with SimulatorThread(SimulatorSettings(accounts=(ACCOUNT,), control_port=0)) as simulator:
        yield simulator


@pytest.fixture
def simulator(shared: SimulatorThread) -> SimulatorThread:
    shared.reset()
    return shared


@pytest.fixture
def redis() -> fakeredis.FakeRedis:
    return fakeredis.FakeRedis()


@pytest.fixture
def client(redis: fakeredis.FakeRedis) -> Iterator[FcmClient]:
    tokens = FleetTokens(ProviderTokens(Keyspace(redis).fleet), faults=(AccessTokenError,))
    client = FcmClient(Sender(), tokens, connections=2, proxy=None)
    yield client
    client.close()


def at(simulator: SimulatorThread, **changed: Any) -> Provider:
    settings = FcmSettings(account(), "app", host="localhost", port=simulator.port, ca=simulator.ca_pem)
    return Provider(7, "demo", "fcm", "production", replace(settings, **changed))


def token(number: int) -> str:
    return f"device{number:016d}:APA91b{'x' * 130}"


def send(client: FcmClient, provider: Provider, count: int = 1, platform: str = "android") -> Sent:
    event = message(text="hello")
    rendered = notification.render(event)
    prefix, suffix = rendered.prefix.decode(), rendered.suffix.decode()
    sending = Sending("1-0", event.id, prefix, suffix, int(time.time()) + LIFE, "collapse")
    jobs = [Job(0, n, f"user{n}", token(n), 0, badge=n, platform=platform) for n in range(count)]
    return client.send(
        provider, KIND.render(provider, [sending], jobs, [job.badge for job in jobs]), now=time.time, deadline=10.0
    )


def answer(reason: str, count: int | None = None, **given: Any) -> Script:
    return Script(rules=(Rule(answer=Said(reason, **given), count=count),))


def test_each_device_gets_its_own_message_with_one_access_token(simulator: SimulatorThread, client: FcmClient) -> None:
    asked = simulator.counts["token_requests"]
    sent = send(client, at(simulator), 300)
    assert sent.responses == [ACCEPTED] * 300 and all(one is ACCEPTED for one in sent.responses)
    got = {entry.token: json.loads(entry.payload)["message"]["android"] for entry in simulator.accepted}
    assert {token: int(one["data"]["badge"]) for token, one in got.items()} == {token(n): n for n in range(300)}
    assert len({one["data"]["id"] for one in got.values()}) == 300
    assert {LIFE - 5 < int(one["ttl"][:-1]) <= LIFE for one in got.values()} == {True}
    assert simulator.counts["token_requests"] == int(str(asked)) + 1
    assert sent.token_age is not None and sent.token_age < 10


@pytest.mark.parametrize("reason", ["ACCESS_TOKEN_EXPIRED", "UNAUTHENTICATED"])
def test_a_refused_access_token_is_replaced_once_for_all(
    simulator: SimulatorThread, client: FcmClient, reason: str
) -> None:
    provider = at(simulator)
    simulator.set_script(answer(reason, count=2))
    sent = send(client, provider, 2)
    assert sent.responses == [Answer(401, reason)] * 2 and sent.authorization
    asked = int(str(simulator.counts["token_requests"]))
    client.renew(provider, sent.authorization, time.time())
    client.renew(provider, sent.authorization, time.time())
    again = send(client, provider, 2)
    assert again.responses == [ACCEPTED] * 2 and again.authorization != sent.authorization
    assert simulator.counts["token_requests"] == asked + 1


def oauth(simulator: SimulatorThread, *answers: Said) -> None:
    """The token endpoint gives these answers, and then good ones."""
    rules = tuple(Rule(answer=one, count=1) for one in answers)
    service: Any = simulator._simulator.service
    simulator._call(lambda: service.set_oauth(Script(rules=rules)))


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        pytest.param("invalid_grant_time", ClockError, id="the clock"),
        pytest.param("invalid_grant_signature", AccessTokenRefusedError, id="a deleted key"),
        pytest.param("invalid_grant_account", AccessTokenRefusedError, id="a deleted account"),
        pytest.param("invalid_client", AccessTokenRefusedError, id="an account that is disabled"),
        pytest.param("invalid_scope", AccessTokenRefusedError, id="a scope"),
    ],
)
def test_an_account_that_is_refused_stops_the_provider_and_no_message_leaves(
    simulator: SimulatorThread, client: FcmClient, reason: str, fault: type[SettingsError]
) -> None:
    oauth(simulator, Said(reason))
    with pytest.raises(fault):
        send(client, at(simulator))
    assert not simulator.accepted and not simulator.refused


def test_an_endpoint_that_is_away_costs_time_and_nothing_else(simulator: SimulatorThread, client: FcmClient) -> None:
    oauth(simulator, Said("internal_failure", status=503))
    away = send(client, at(simulator), 3)
    assert away == Sent([NoAnswer("not_sent", "access token: status_503")] * 3)
    assert not simulator.accepted and not simulator.refused


def test_a_refused_token_that_cannot_be_replaced_is_not_used_again(
    simulator: SimulatorThread, client: FcmClient
) -> None:
    provider = at(simulator)
    sent = send(client, provider)
    assert sent.authorization
    oauth(simulator, Said("invalid_grant_signature"))
    client.renew(provider, sent.authorization, time.time())
    with pytest.raises(AccessTokenRefusedError):
        send(client, provider)


@pytest.mark.parametrize(
    ("platform", "reason"),
    [("ios", "THIRD_PARTY_AUTH_ERROR:InvalidProviderToken"), ("", f"{NOT_KNOWN_AS_APPLE}:InvalidProviderToken"),
     ("android", f"{NOT_KNOWN_AS_APPLE}:InvalidProviderToken")],
)  # fmt: skip
def test_a_wrong_apns_key_is_said_of_apple_devices(
    simulator: SimulatorThread, client: FcmClient, platform: str, reason: str
) -> None:
    simulator.set_script(answer("THIRD_PARTY_AUTH_ERROR"))
    assert send(client, at(simulator), platform=platform).responses == [Answer(401, reason)]


def test_three_devices_over_their_rate_are_the_projects_overload(simulator: SimulatorThread, client: FcmClient) -> None:
    simulator.set_script(answer("QUOTA_EXCEEDED", retry_after=7))
    provider = at(simulator)
    one = Answer(429, "QUOTA_EXCEEDED", None, 7.0)
    assert send(client, provider, 2).responses == [one, one]
    assert send(client, provider, 2).responses == [one, one], "the same two devices say nothing new"
    assert send(client, provider, 3).responses[2] == one._replace(reason=SEVERAL_DEVICES)


def test_the_proof_is_that_fcm_refuses_a_token_that_cannot_be(simulator: SimulatorThread, client: FcmClient) -> None:
    well, text = client.prove(at(simulator), deadline=10.0)
    assert well and PROJECT in text and "localhost" in text
    assert not simulator.accepted, "no device gets anything"


def test_a_service_account_of_another_project_is_named(simulator: SimulatorThread, client: FcmClient) -> None:
    well, text = client.prove(at(simulator, account=replace(account(), project="other-project")), deadline=10.0)
    assert not well and "403 IAM_PERMISSION_DENIED" in text and "give it the role" in text and EMAIL in text


def test_a_proof_names_an_endpoint_that_is_away_and_a_host_that_is_not_there(
    simulator: SimulatorThread, client: FcmClient
) -> None:
    oauth(simulator, Said("temporarily_unavailable"))
    well, text = client.prove(at(simulator), deadline=10.0)
    assert not well and "no access token came from https://localhost" in text


def test_what_is_only_validated_reaches_nobody(simulator: SimulatorThread, client: FcmClient) -> None:
    provider = at(simulator)
    event = message(text="hello")
    rendered = notification.render(event)
    sending = Sending("1-0", event.id, rendered.prefix.decode(), rendered.suffix.decode(), int(time.time()) + 60, "c")
    good, bad = Job(0, 1, "han", token(1), 0), Job(0, 2, "leia", "short", 0)
    found = client.validate(provider, KIND.render(provider, [sending], [good, bad], [None, None]), deadline=10.0)
    assert found == [ACCEPTED, Answer(400, "INVALID_ARGUMENT:message.token")]
    assert not simulator.accepted


def test_neither_key_nor_token_is_in_the_log(
    simulator: SimulatorThread, client: FcmClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    sent = send(client, at(simulator))
    assert sent.authorization and caplog.records
    assert sent.authorization not in caplog.text and token(0) not in caplog.text and "PRIVATE" not in caplog.text


def test_at_a_simulator_of_a_command_the_credential_is_not_used(client: FcmClient) -> None:
    with SimulatorThread(SimulatorSettings()) as simulator:
        stands_in = Simulated("localhost", {"fcm": simulator.port}, simulator.ca_pem, "")
        unreadable = Provider(
            7, "demo", "fcm", "production", FcmSettings(replace(account(), key=""), "app"), readable=False
        )
        there = KIND.at_simulator(unreadable, stands_in)
        assert there.readable and there.settings.account.key not in ("", account().key)
        assert send(client, there).responses == [ACCEPTED]
        assert [entry.token for entry in simulator.accepted] == [token(0)]
