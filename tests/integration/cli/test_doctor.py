"""The doctor finds what is wrong and says what to do."""

import json
from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.integration.cli.conftest import TOPIC, Cli, apn, redis_of
from worker.core.model import Answer, NoAnswer, Provider
from worker.providers.apns.advice import advice
from worker.providers.apns.reasons import ACTIONS, Action
from worker.providers.apns.settings import ApnsSettings, Key

PROVIDER = Provider(1, "chat", "apns", "sandbox", ApnsSettings(TOPIC, Key("TEAM", "KEY")))


def examined(cli: Cli, *flags: str) -> tuple[int, dict[str, Any]]:
    done = cli.run("doctor", "--no-workers", "--timeout", "5", "--json", *flags)
    return done.exit_code, {f["part"]: f for f in json.loads(done.stdout)}


def provider(cli: Cli) -> tuple[bool, str]:
    _, findings = examined(cli)
    found = findings["provider 'apns' of app 'chat'"]
    return found["well"], found["text"]


def test_a_provider_is_well_when_its_host_refuses_an_impossible_token(with_key, apns):
    code, findings = examined(with_key)
    assert {part for part, f in findings.items() if not f["well"]} <= {"redis persistence", "redis eviction"}
    assert provider(with_key)[0]
    assert apns.accepted == []
    assert {entry.status for entry in apns.refused} == {400}
    assert code == (0 if all(f["well"] for f in findings.values()) else 1)
    assert {"redis", "postgres", "schema", "clock of redis", "clock of postgres", "secrets"} <= findings.keys()


def test_a_deep_look_compares_the_state(with_key):
    assert examined(with_key, "--deep")[1]["state"]["well"]
    with redis_of(with_key) as redis:
        redis.hset("carillon:open", "1-1", 1)
        code, findings = examined(with_key, "--deep")
        redis.delete("carillon:open")
    assert code == 1
    assert "report it with this line" in findings["state"]["text"]


@pytest.mark.parametrize(
    ("response", "said"),
    [
        pytest.param(Answer(403, "InvalidProviderToken"), "key id KEY and team id TEAM", id="key"),
        pytest.param(Answer(403, "BadEnvironmentKeyInToken"), "is not for sandbox", id="environment"),
        pytest.param(Answer(400, "TopicDisallowed"), f"may not push to {TOPIC}", id="topic"),
        pytest.param(Answer(503, "ServiceUnavailable"), "try again later", id="busy"),
        pytest.param(Answer(418, "Teapot"), "is it Apple's?", id="nothing of Apple's"),
        pytest.param(
            NoAnswer("not_sent", "connect: certificate not valid now"), "look at this machine's clock first", id="clock"
        ),
        pytest.param(NoAnswer("not_sent", "connect: certificate not trusted"), "give its CA with --ca", id="CA"),
        pytest.param(NoAnswer("not_sent", "refused"), "check the firewall", id="no connection"),
        pytest.param(
            NoAnswer("unknown", "BadCertificate"), "was revoked", id="a connection that is closed for a reason"
        ),
    ],
)
def test_every_answer_is_explained(response, said):
    assert said in advice(response, PROVIDER)


@pytest.mark.parametrize("reason", [reason for (_, reason), action in ACTIONS.items() if action is Action.FIX_CONFIG])
def test_what_stops_a_provider_has_advice_of_its_own(reason):
    if reason in ("FeatureNotEnabled", "CannotCreateChannelConfig", "TopicMismatch"):
        return  # of the broadcast API, which is not asked here
    assert "does not document" not in advice(Answer(403, reason), PROVIDER)


def test_a_key_that_apple_does_not_know_is_found(cli, key_file, apns):
    cli.ok("app", "create", "chat")
    unknown = key_file.rename(key_file.with_name("AuthKey_XXXXXXXXXX.p8"))
    wrong = [word if word != "ABC123DEFG" else "XXXXXXXXXX" for word in apn(unknown)]
    cli.ok(*wrong, "--host", "localhost", "--port", apns.port, "--ca", apns.ca_path)
    well, text = provider(cli)
    assert not well and "InvalidProviderToken" in text
    assert text.index("this machine's clock") < text.index("key id"), "the clock is looked at first"


def test_a_bundle_id_that_is_not_the_key_s_is_found(cli, key_file, apns):
    cli.ok("app", "create", "chat")
    cli.ok(*apn(key_file), "-b", "io.other.App", "--host", "localhost", "--port", apns.port, "--ca", apns.ca_path)
    well, text = provider(cli)
    assert not well and "TopicDisallowed" in text and "io.other.App" in text


def test_a_host_that_cannot_be_reached_is_found(cli, key_file):
    cli.ok("app", "create", "chat")
    cli.ok(*apn(key_file), "--host", "127.0.0.1", "--port", "1")
    well, text = provider(cli)
    assert not well and "127.0.0.1:1 cannot be reached" in text


def test_a_credential_that_no_key_decrypts_is_found(with_key):
    with_key.keys[:] = [Fernet.generate_key().decode()]
    code, findings = examined(with_key)
    assert code == 1
    assert findings["provider chat/apns"]["condition"] == "credential_unreadable"
    assert "CARILLON_SECRET_KEYS" in findings["provider chat/apns"]["text"]
    assert "secrets" not in findings


def test_a_redis_that_forgets_is_found(cli):
    client = redis_of(cli)
    before = {name: client.config_get(name) for name in ("maxmemory", "maxmemory-policy", "appendonly")}
    try:
        client.config_set("maxmemory", "1gb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
        code, findings = examined(cli)
        assert code == 1
        assert "set maxmemory-policy noeviction" in findings["redis eviction"]["text"]
        assert "set appendonly yes" in findings["redis persistence"]["text"]
    finally:
        for one in before.values():
            for name, value in one.items():
                client.config_set(name, value)


def test_without_workers_it_says_which_to_start(cli):
    done = cli.run("doctor", "--timeout", "0.5")
    assert done.exit_code == 1
    assert "carillon worker --lane urgent" in done.stdout and "carillon beat" in done.stdout
    assert "need somebody" in done.stdout


def test_engines_that_are_away_are_said_and_the_rest_is_not_looked_at(cli, monkeypatch):
    monkeypatch.setenv("CARILLON_POSTGRES_URL", "postgresql://127.0.0.1:1/x")
    monkeypatch.setenv("CARILLON_REDIS_URL", "redis://127.0.0.1:1")
    code, findings = examined(cli)
    assert code == 1
    assert findings.keys() == {"redis", "postgres"}
