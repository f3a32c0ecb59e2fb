"""Provider tokens alone, and in the life of one connection."""

import base64
import json
from dataclasses import dataclass, field

import jwt
import pytest

from tests.unit.simulator.credentials import KEY, KEY_ID, PEM, TEAM, new_pem, provider_token
from worker.simulator import Key
from worker.simulator.apns.provider_token import ProviderToken, TokensOfConnection, Verifier

NOW = 1_763_700_000.0
OTHER = new_pem()


def _bearer(**changes) -> bytes:
    return b"bearer " + provider_token(now=NOW, **changes).encode()


@dataclass
class Connection:
    """Admits tokens at times given in seconds after `NOW`."""

    keys: tuple[Key, ...] = (KEY,)
    environment: str = "production"
    tokens: TokensOfConnection = field(init=False)

    def __post_init__(self):
        self.tokens = TokensOfConnection(Verifier({key.key_id: key for key in self.keys}), self.environment)

    def admit(self, value: bytes | None, after: float = 0):
        verdict = self.tokens.admit(value, NOW + after)
        return "accepted" if isinstance(verdict, ProviderToken) else verdict


def _unsigned(alg: str) -> bytes:
    def part(content: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=")

    header, claims = part({"alg": alg, "kid": KEY_ID}), part({"iss": TEAM, "iat": int(NOW)})
    return b"bearer %b.%b.%b" % (header, claims, base64.urlsafe_b64encode(b"s" * 64).rstrip(b"="))


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        pytest.param(_bearer(), "accepted", id="a good token"),
        pytest.param(_bearer().replace(b"bearer", b"Bearer"), "accepted", id="the scheme in another case"),
        pytest.param(_bearer(age=3599), "accepted", id="59 minutes 59 seconds old"),
        pytest.param(None, "MissingProviderToken", id="nothing"),
        pytest.param(b"", "MissingProviderToken", id="an empty value"),
        pytest.param(b"bearer ", "MissingProviderToken", id="no token"),
        pytest.param(b"basic abc", "MissingProviderToken", id="another scheme"),
        pytest.param(b"bearer abc", "InvalidProviderToken", id="no JWT"),
        pytest.param(b"bearer \xff.\xff.\xff", "InvalidProviderToken", id="no text"),
        pytest.param(_bearer(age=3661), "ExpiredProviderToken", id="61 minutes old"),
        pytest.param(_bearer(age=-600), "InvalidProviderToken", id="from the future"),
        pytest.param(_bearer(pem=OTHER), "InvalidProviderToken", id="another key's signature"),
        pytest.param(_bearer(kid="KEY9999999"), "InvalidProviderToken", id="an unknown key id"),
        pytest.param(_bearer(iss="TEAM999999"), "InvalidProviderToken", id="another team's id"),
        pytest.param(_unsigned("none"), "InvalidProviderToken", id="alg none"),
        pytest.param(_unsigned("HS256"), "InvalidProviderToken", id="alg HS256"),
        pytest.param(_unsigned("ES256"), "InvalidProviderToken", id="a made-up signature"),
    ],
)
def test_a_token_is_judged_by_form_signature_and_age(value, verdict):
    assert Connection().admit(value) == verdict


def test_claims_of_another_type_are_invalid():
    token = jwt.encode({"iss": TEAM, "iat": "now"}, PEM, algorithm="ES256", headers={"kid": KEY_ID})
    assert Connection().admit(b"bearer " + token.encode()) == "InvalidProviderToken"


def test_without_keys_every_signer_is_trusted():
    assert Connection(keys=()).admit(_bearer(pem=OTHER, kid="ANY0000000", iss="ANYTEAM000")) == "accepted"


def test_a_second_token_within_20_minutes_blocks_the_connection_until_they_are_over():
    connection = Connection()
    first = _bearer()
    assert connection.admit(first) == "accepted"
    assert connection.admit(_bearer(age=5), 1199) == "TooManyProviderTokenUpdates"
    assert connection.admit(first, 1199) == "TooManyProviderTokenUpdates"
    assert connection.admit(first, 1200) == "accepted"


def test_a_second_token_after_20_minutes_is_welcome_and_the_first_stays_so():
    connection = Connection()
    first, second = _bearer(age=10), _bearer(age=5)
    assert [connection.admit(first), connection.admit(second, 1200), connection.admit(first, 1201)] == ["accepted"] * 3


def test_after_an_expired_token_the_connection_does_not_recover():
    connection = Connection()
    assert connection.admit(_bearer(age=3661)) == "ExpiredProviderToken"
    assert connection.admit(_bearer()) == "ExpiredProviderToken"


def test_the_first_team_binds_the_connection():
    connection = Connection((KEY, Key("KEY0000002", "TEAM000002", OTHER)))
    assert connection.admit(_bearer()) == "accepted"
    assert connection.admit(_bearer(pem=OTHER, kid="KEY0000002", iss="TEAM000002")) == "InvalidProviderToken"


@pytest.mark.parametrize(
    ("groups", "verdict"),
    [
        pytest.param((None, None), "UnrelatedKeyIdInToken", id="no groups"),
        pytest.param(("a", "b"), "UnrelatedKeyIdInToken", id="other groups"),
        pytest.param(("a", "a"), "accepted", id="the same group"),
    ],
)
def test_another_key_of_the_team_must_be_related(groups, verdict):
    connection = Connection((Key(KEY_ID, TEAM, PEM, groups[0]), Key("KEY0000002", TEAM, OTHER, groups[1])))
    connection.admit(_bearer())
    assert connection.admit(_bearer(pem=OTHER, kid="KEY0000002"), 1200) == verdict


@pytest.mark.parametrize(
    ("environment", "verdict"), [("production", "accepted"), ("sandbox", "BadEnvironmentKeyIdInToken")]
)
def test_a_key_may_be_for_one_environment(environment, verdict):
    connection = Connection((Key(KEY_ID, TEAM, PEM, environment="production"),), environment)
    assert connection.admit(_bearer()) == verdict


def test_a_key_is_read_from_its_file_and_keeps_no_private_part(tmp_path):
    (tmp_path / "key.p8").write_text(PEM)
    key = Key.read(f"{KEY_ID}:{TEAM}:{tmp_path / 'key.p8'}")
    assert (key.key_id, key.team_id) == (KEY_ID, TEAM)
    assert "PRIVATE" not in key.pem


@pytest.mark.parametrize("text", ["", "KEY", "KEY:TEAM", "KEY:TEAM:"])
def test_a_key_that_is_not_given_whole_is_refused(text):
    with pytest.raises(ValueError, match="KEYID:TEAMID:path"):
        Key.read(text)
