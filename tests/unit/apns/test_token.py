"""One provider token for the whole fleet, renewed inside Apple's window, and clear words for a wrong key."""

import base64
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import fakeredis
import jwt
import pytest
import redis
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from worker.providers.apns.settings import P12, ApnsSettings, Key
from worker.providers.apns.token import (
    DUE_AGE,
    ISSUED_BACK,
    LEAST_AGE,
    STALE_AGE,
    ProviderKeyError,
    TokenSource,
    check_key,
    issued_at,
    mint,
    shared_name,
)
from worker.providers.base import TokenAgeError
from worker.providers.fleet_tokens import LOCAL_SECONDS, FleetToken
from worker.state.partition import Keyspace
from worker.state.provider_tokens import ProviderTokens

NOW = 1_800_000_000.0


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes | None = None) -> str:
    protection = ser.BestAvailableEncryption(password) if password else ser.NoEncryption()
    return key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, protection).decode()


KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
SETTINGS = Key("TEAMID1234", "KEYID12345", pem(KEY))
LEASE = f"carillon:jwt:{':'.join(shared_name(SETTINGS))}:lease"


def new_fleet() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


def source(fleet: fakeredis.FakeServer) -> TokenSource:
    """A token source as another process of the same fleet has it."""
    return TokenSource(ProviderTokens(Keyspace(fakeredis.FakeRedis(server=fleet)).fleet))


def test_a_token_says_what_apple_asks_for_and_nothing_else() -> None:
    token = mint("TEAMID1234", "KEYID12345", pem(KEY), NOW + 0.9)
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": "KEYID12345"}
    claims = jwt.decode(token, KEY.public_key(), algorithms=["ES256"], options={"verify_iat": False})
    assert claims == {"iss": "TEAMID1234", "iat": int(NOW)}
    assert issued_at(token) == NOW


@pytest.mark.parametrize(
    ("age", "state"),
    [
        pytest.param(0, "fresh", id="new"),
        pytest.param(-30, "fresh", id="minted by a clock ahead of ours"),
        pytest.param(-61, "stale", id="minted by a clock far ahead"),
        pytest.param(DUE_AGE - 1, "fresh", id="49 minutes"),
        pytest.param(DUE_AGE, "due", id="50 minutes"),
        pytest.param(STALE_AGE - 1, "due", id="57 minutes"),
        pytest.param(STALE_AGE, "stale", id="58 minutes"),
    ],
)
def test_the_age_of_a_token_decides_whether_it_is_used_or_renewed(age: float, state: str) -> None:
    issued = NOW - age
    assert FleetToken("text", "bearer", issued, issued + DUE_AGE, issued + STALE_AGE).state(NOW) == state


def test_the_whole_fleet_uses_one_token() -> None:
    fleet = new_fleet()
    with ThreadPoolExecutor(16) as pool:
        tokens = set(pool.map(lambda _: source(fleet).current(SETTINGS, NOW), range(64)))
    assert len(tokens) == 1
    assert issued_at(tokens.pop()) == NOW - ISSUED_BACK


def test_a_process_asks_redis_only_now_and_then() -> None:
    fleet = new_fleet()
    tokens = source(fleet)
    first = tokens.current(SETTINGS, NOW)
    fakeredis.FakeRedis(server=fleet).flushall()
    assert tokens.current(SETTINGS, NOW + LOCAL_SECONDS - 1) == first
    assert tokens.current(SETTINGS, NOW + LOCAL_SECONDS) != first


def test_a_due_token_is_renewed_by_one_process_while_the_others_go_on_with_it() -> None:
    fleet = new_fleet()
    old = source(fleet).current(SETTINGS, NOW)
    redis_ = fakeredis.FakeRedis(server=fleet)
    redis_.set(LEASE, "1", px=60_000)
    later = NOW + DUE_AGE
    assert source(fleet).current(SETTINGS, later) == old, "somebody else holds the lease"
    redis_.delete(LEASE)
    new = source(fleet).current(SETTINGS, later)
    assert new != old
    assert source(fleet).current(SETTINGS, later + 1) == new


def test_a_stale_token_is_never_used() -> None:
    fleet = new_fleet()
    tokens = source(fleet)
    old = tokens.current(SETTINGS, NOW)
    assert tokens.current(SETTINGS, NOW + STALE_AGE) != old


def test_another_key_under_the_same_ids_has_another_token() -> None:
    fleet = new_fleet()
    tokens = source(fleet)
    changed = replace(SETTINGS, pem=pem(OTHER))
    first, second = tokens.current(SETTINGS, NOW), tokens.current(changed, NOW)
    jwt.decode(first, KEY.public_key(), algorithms=["ES256"], options={"verify_iat": False})
    jwt.decode(second, OTHER.public_key(), algorithms=["ES256"], options={"verify_iat": False})


def test_the_key_is_nowhere_in_redis() -> None:
    fleet = new_fleet()
    source(fleet).current(SETTINGS, NOW)
    redis_ = fakeredis.FakeRedis(server=fleet)
    stored = b"".join(name + redis_.get(name) for name in redis_.scan_iter())
    secret = SETTINGS.pem.splitlines()[1].encode()
    assert stored and secret not in stored and b"PRIVATE" not in stored


def test_an_old_token_that_was_refused_is_replaced_once_for_all() -> None:
    fleet = new_fleet()
    old = source(fleet).current(SETTINGS, NOW)
    later = NOW + LEAST_AGE
    new = source(fleet).refuse(SETTINGS, old, later)
    assert new != old
    assert source(fleet).refuse(SETTINGS, old, later + 1) == new, "the late complaint of another process"
    assert source(fleet).current(SETTINGS, later + 2) == new


def test_a_refused_young_token_is_a_clock_alarm_and_mints_nothing(caplog: pytest.LogCaptureFixture) -> None:
    fleet = new_fleet()
    tokens = source(fleet)
    young = tokens.current(SETTINGS, NOW)
    with caplog.at_level(logging.ERROR), pytest.raises(TokenAgeError, match="clock"):
        tokens.refuse(SETTINGS, young, NOW + LEAST_AGE - ISSUED_BACK - 1)
    assert "clock" in caplog.text and young not in caplog.text
    assert tokens.current(SETTINGS, NOW + LOCAL_SECONDS) == young


def test_a_process_goes_on_with_its_token_while_redis_is_away() -> None:
    fleet = new_fleet()
    tokens = source(fleet)
    token = tokens.current(SETTINGS, NOW)
    fleet.connected = False
    assert tokens.current(SETTINGS, NOW + DUE_AGE) == token
    with pytest.raises(redis.ConnectionError):
        tokens.current(SETTINGS, NOW + STALE_AGE)
    fleet.connected = True
    assert tokens.current(SETTINGS, NOW + STALE_AGE) != token


def test_the_lease_of_a_process_that_died_holds_nobody_for_long() -> None:
    fleet = new_fleet()
    fakeredis.FakeRedis(server=fleet).set(LEASE, "1", px=50)
    assert source(fleet).current(SETTINGS, NOW)


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
#: A private key, made for this, on a curve that cryptography does not know: prime239v1.
ODD_CURVE = (
    "-----BEGIN "
    "PRIVATE KEY-----\n"
    "MIGBAgEAMBMGByqGSM49AgEGCCqGSM49AwEEBGcwZQIBAQQeQWIp/lHX0Jjucpu7\n"
    "0LQyy/NXnlHrmJZZ0hryHH6ioUADPgAERnVJk7tpLBsAoF+fT7jLJVhFrS43s59V\n"
    "v4J/1ha8bNsqXv45ERkJlbmAm8BIiN1MnT1E0sfv9ZzUMbbb\n"
    "-----END PRIVATE KEY-----\n"
)
PUBLIC = KEY.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("\n", "no PEM text", id="nothing"),
        pytest.param("AuthKey_ABC.p8", "no PEM text", id="a file name"),
        pytest.param(CERTIFICATE, "a certificate", id="a certificate"),
        pytest.param(PUBLIC, "a public key", id="a public key"),
        pytest.param(base64.b64encode(pem(KEY).encode()).decode(), "base64 of the whole file", id="base64 of the file"),
        pytest.param("".join(pem(KEY).splitlines()[1:-1]), "without its lines BEGIN", id="no first and last line"),
        pytest.param(ODD_CURVE, "of a kind that is not supported", id="a curve that is not known"),
        pytest.param(pem(KEY)[:90] + "\n-----END PRIVATE KEY-----", "damaged", id="cut off"),
        pytest.param(pem(KEY, b"secret"), "encrypted", id="encrypted"),
        pytest.param(pem(rsa.generate_private_key(65537, 2048)), "RSA", id="an RSA key"),
        pytest.param(pem(ec.generate_private_key(ec.SECP384R1())), "secp384r1", id="another curve"),
    ],
)
def test_a_wrong_key_says_what_it_is_and_where_the_right_one_comes_from(text: str, fault: str) -> None:
    with pytest.raises(ProviderKeyError, match=fault) as raised:
        check_key(text)
    assert "developer.apple.com" in str(raised.value)
    assert not any(line and line in str(raised.value) for line in text.splitlines())
    assert raised.value.__cause__ is None


def test_line_breaks_that_became_two_characters_are_named() -> None:
    with pytest.raises(ProviderKeyError, match="put real ones there"):
        check_key(pem(KEY).replace("\n", "\\n"))


def test_a_key_with_stray_blank_lines_is_taken() -> None:
    check_key("\n  " + pem(KEY) + "\n\n")


def test_a_provider_shows_neither_key_nor_certificate() -> None:
    shown = repr((ApnsSettings("t", SETTINGS), ApnsSettings("t", P12(b"p12", "pa55"))))
    assert "PRIVATE" not in shown and "b'p12'" not in shown and "pa55" not in shown
