"""One access token for the fleet: what is signed, what each answer of the endpoint means, and who asks for the next one."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import fakeredis
import jwt
import pytest

from tests.unit.fcm.key_files import EMAIL, KEY_ID, account, pem, rsa_key
from worker.providers.base import SettingsError
from worker.providers.fcm.access_token import (
    AccessTokenAwayError,
    AccessTokenError,
    AccessTokenRefusedError,
    ClockError,
    Maker,
    TokenAnswer,
    assertion,
    read_token,
    shared_name,
)
from worker.providers.fcm.settings import FcmSettings
from worker.providers.fleet_tokens import PAUSE, FleetTokens
from worker.state.partition import Keyspace
from worker.state.provider_tokens import ProviderTokens

NOW = 1_800_000_000.0
SETTINGS = FcmSettings(account(), "app")
TOKEN_URL = "https://oauth2.googleapis.com/token"


class Endpoint:
    """A token endpoint that counts. `says` stands in for its answers, as long as it is set."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.says: TokenAnswer | Exception | None = None

    def __call__(self, url: str, form: dict[str, str]) -> TokenAnswer:
        assert url == TOKEN_URL
        self.forms.append(form)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says or answer(access_token=f"ya29.{len(self.forms)}", expires_in=3599, token_type="Bearer")


def answer(status: int = 200, date: float | None = NOW, **document: Any) -> TokenAnswer:
    shown = None if date is None else format_datetime(datetime.fromtimestamp(date, UTC), usegmt=True)
    return TokenAnswer(status, shown, json.dumps(document).encode())


def refused(text: str, status: int = 400, error: str = "invalid_grant", date: float | None = NOW) -> TokenAnswer:
    return answer(status, date, error=error, error_description=text)


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
def server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


def fleet(server: fakeredis.FakeServer) -> FleetTokens:
    """The fleet's tokens as another process sees them."""
    return FleetTokens(ProviderTokens(Keyspace(fakeredis.FakeRedis(server=server)).fleet), faults=(AccessTokenError,))


def test_an_assertion_says_what_google_asks_for_and_nothing_else() -> None:
    signed = assertion(account(), NOW + 0.9)
    assert jwt.get_unverified_header(signed) == {"alg": "RS256", "typ": "JWT", "kid": KEY_ID}
    claims = jwt.decode(
        signed, rsa_key().public_key(), algorithms=["RS256"], audience=TOKEN_URL, options={"verify_iat": False}
    )
    assert claims.pop("exp") - claims["iat"] == 3600, "a second more is refused"
    assert claims == {
        "iss": EMAIL,
        "scope": "https://www.googleapis.com/auth/firebase.messaging",
        "aud": TOKEN_URL,
        "iat": int(NOW) - 10,
    }


def test_the_whole_fleet_uses_one_token(server: fakeredis.FakeServer, endpoint: Endpoint) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = {
            one.bearer for one in pool.map(lambda _: fleet(server).current(Maker(SETTINGS, endpoint), NOW), range(64))
        }
    assert found == {"ya29.1"} and len(endpoint.forms) == 1
    assert endpoint.forms[0]["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.mark.parametrize(
    ("expires_in", "later", "asked"),
    [
        pytest.param(3599, 49 * 60, 1, id="49 minutes"),
        pytest.param(3599, 50 * 60, 2, id="50 minutes"),
        pytest.param("3599", 50 * 60 - 1, 1, id="a number that came as a string"),
        pytest.param(900, 9 * 60, 1, id="six of fifteen minutes left"),
        pytest.param(900, 10 * 60 + 1, 2, id="less than five minutes left"),
        pytest.param(999_999, 50 * 60, 2, id="longer than an hour is not believed"),
    ],
)
def test_a_token_is_renewed_early(
    server: fakeredis.FakeServer, endpoint: Endpoint, expires_in: Any, later: int, asked: int
) -> None:
    endpoint.says = answer(access_token="ya29.x", expires_in=expires_in)
    tokens = fleet(server)
    tokens.current(Maker(SETTINGS, endpoint), NOW)
    tokens.current(Maker(SETTINGS, endpoint), NOW + later)
    assert len(endpoint.forms) == asked


def test_the_old_token_goes_on_while_the_endpoint_is_away_and_it_lives(
    server: fakeredis.FakeServer, endpoint: Endpoint
) -> None:
    tokens = fleet(server)
    old = tokens.current(Maker(SETTINGS, endpoint), NOW)
    endpoint.says = AccessTokenAwayError("deadline")
    due = NOW + 51 * 60
    assert tokens.current(Maker(SETTINGS, endpoint), due) == old
    assert tokens.current(Maker(SETTINGS, endpoint), due + 1) == old
    assert len(endpoint.forms) == 2, "it is not asked again at once"
    assert tokens.current(Maker(SETTINGS, endpoint), due + PAUSE) == old
    assert len(endpoint.forms) == 3
    with pytest.raises(AccessTokenAwayError):
        tokens.current(Maker(SETTINGS, endpoint), NOW + 3_570)
    endpoint.says = None
    assert tokens.current(Maker(SETTINGS, endpoint), NOW + 3_600) != old


def test_a_refused_token_is_replaced_once_for_all(server: fakeredis.FakeServer, endpoint: Endpoint) -> None:
    maker = Maker(SETTINGS, endpoint)
    first, second = fleet(server), fleet(server)
    old = first.current(maker, NOW)
    assert second.current(maker, NOW) == old
    new = first.replace(maker, old.bearer, NOW + 120)
    assert new.bearer == "ya29.2"
    assert second.replace(maker, old.bearer, NOW + 121) == new, "the late complaint of another process"
    assert second.other_than(maker, old.bearer, NOW + 121) == new
    assert first.current(maker, NOW + 122) == new and len(endpoint.forms) == 2


def test_another_key_or_another_endpoint_has_another_token() -> None:
    other = FcmSettings(account(), "app", host="localhost", port=8443)
    names = {shared_name(SETTINGS), shared_name(other), shared_name(FcmSettings(account(), "system"))}
    assert len(names) == 2, "the display changes nothing"
    assert not any(line in repr(names) for line in pem(rsa_key()).splitlines())


def test_neither_key_nor_assertion_is_in_redis(server: fakeredis.FakeServer, endpoint: Endpoint) -> None:
    fleet(server).current(Maker(SETTINGS, endpoint), NOW)
    redis = fakeredis.FakeRedis(server=server)
    stored = b"".join(name + redis.get(name) for name in redis.scan_iter()).decode()
    assert "ya29.1" in stored and pem(rsa_key()).splitlines()[1] not in stored
    assert endpoint.forms[0]["assertion"] not in stored


SHORT_LIVED = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."


@pytest.mark.parametrize(
    ("said", "fault", "words"),
    [
        pytest.param(refused(SHORT_LIVED, date=NOW - 400), ClockError, "400 s ahead of Google's", id="our clock is ahead"),
        pytest.param(refused(SHORT_LIVED, date=NOW + 7_200), ClockError, "7,200 s behind Google's", id="our clock is behind"),
        pytest.param(refused(SHORT_LIVED, date=None), ClockError, "differs from Google's", id="no date to compare with"),
        pytest.param(refused("", date=NOW + 90), ClockError, "90 s behind", id="the clocks differ, whatever it says"),
        pytest.param(refused("Invalid JWT Signature."), AccessTokenRefusedError, f"key {KEY_ID}", id="the key was deleted"),
        pytest.param(refused("Invalid grant: account not found"), AccessTokenRefusedError, "was deleted", id="no account"),
        pytest.param(refused("", error="invalid_scope"), AccessTokenRefusedError, "fault of Carillon's", id="the scope"),
        *(
            pytest.param(refused("", 401, error), AccessTokenRefusedError, "enable the account", id=error)
            for error in ("invalid_client", "unauthorized_client", "disabled_client", "deleted_client")
        ),
        pytest.param(answer(403), AccessTokenRefusedError, "answered 403", id="an answer that nobody knows"),
        pytest.param(TokenAnswer(302, None, b""), AccessTokenRefusedError, "proxy", id="a redirect is not followed"),
        pytest.param(answer(408), AccessTokenAwayError, "status_408", id="408"),
        pytest.param(answer(429), AccessTokenAwayError, "status_429", id="429"),
        pytest.param(answer(500), AccessTokenAwayError, "status_500", id="500"),
        pytest.param(answer(503), AccessTokenAwayError, "status_503", id="503"),
        pytest.param(answer(504), AccessTokenAwayError, "status_504", id="504"),
        *(
            pytest.param(refused("", error=error), AccessTokenAwayError, "status_400", id=error)
            for error in ("internal_failure", "server_error", "temporarily_unavailable")
        ),
        pytest.param(TokenAnswer(200, None, b"<html>"), AccessTokenAwayError, "without a token", id="200 without a token"),
        pytest.param(answer(access_token="a\nb", expires_in=9), AccessTokenAwayError, "without a token", id="an odd token"),
        pytest.param(answer(access_token="ya29", expires_in=True), AccessTokenAwayError, "without a token", id="no life"),
        pytest.param(answer(access_token="A" * 9_000, expires_in=9), AccessTokenAwayError, "without a token", id="too long"),
    ],
)  # fmt: skip
def test_each_answer_of_the_endpoint_has_its_words(said: TokenAnswer, fault: type[Exception], words: str) -> None:
    with pytest.raises(fault, match=words) as raised:
        read_token(said, account(), NOW)
    assert type(raised.value) is fault


def test_what_a_person_has_to_mend_stops_the_provider_with_its_reason() -> None:
    assert issubclass(AccessTokenRefusedError, SettingsError) and not issubclass(AccessTokenAwayError, SettingsError)
    assert (AccessTokenRefusedError.reason, ClockError.reason) == ("access_token_refused", "clock")
