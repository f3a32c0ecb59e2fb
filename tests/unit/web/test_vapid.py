"""Who sends: subjects, keys of other senders, and one token for many requests."""

from base64 import urlsafe_b64decode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.unit.web.browser import CURVE, base64url
from worker.providers.base import SettingsError
from worker.providers.web.settings import WebSettings
from worker.providers.web.vapid import DUE, LIFE, Tokens, check_key, check_subject, key_pair, new_key_pair, token

NOW = 1_800_000_000.5
KEYS = new_key_pair()
SETTINGS = WebSettings("mailto:push@example.com", KEYS.public, KEYS.private)


def pem(key, form=PrivateFormat.PKCS8, encryption=None):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param("mailto:push@example.com", id="a mail address"),
        pytest.param("mailto:push+web@mail.example.co.uk", id="a mail address with signs"),
        pytest.param("https://example.com", id="a host"),
        pytest.param("https://example.com/contact?who=push", id="a page"),
    ],
)
def test_a_subject_by_which_somebody_can_be_reached_is_taken(subject):
    assert check_subject(subject) == subject


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param("", id="nothing"),
        pytest.param("push@example.com", id="a bare address"),
        pytest.param("mailto:<push@example.com>", id="angle brackets"),
        pytest.param("mailto: push@example.com", id="a blank"),
        pytest.param("mailto:push@example.com ", id="a blank behind it"),
        pytest.param("mailto:push", id="no host"),
        pytest.param("mailto:a@example.com,b@example.com", id="two"),
        pytest.param("mailto:push@localhost", id="mail to this machine"),
        pytest.param("https://localhost", id="this machine"),
        pytest.param("mailto:push@mac.local", id="mail to .local"),
        pytest.param("https://mac.local/", id="a host in .local"),
        pytest.param("https://127.0.0.1", id="an address"),
        pytest.param("http://example.com", id="http"),
        pytest.param("https://user@example.com", id="a user"),
        pytest.param("https://<example.com>", id="angle brackets around a host"),
        pytest.param("https://[::1", id="half an address"),
    ],
)
def test_a_subject_that_apple_refuses_is_refused(subject):
    with pytest.raises(SettingsError, match=r"^subject: "):
        check_subject(subject)


def test_a_new_key_pair_is_what_a_browser_subscribes_with():
    octets = urlsafe_b64decode(KEYS.public + "=")
    assert (len(KEYS.public), len(octets), octets[0]) == (87, 65, 4)
    assert new_key_pair() != KEYS
    assert KEYS.private not in repr(KEYS)
    assert KEYS.private not in repr(SETTINGS)


def test_a_key_of_another_sender_is_read_in_each_of_its_forms():
    key = ec.generate_private_key(CURVE)
    number = key.private_numbers().private_value.to_bytes(32, "big")
    public = base64url(key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
    for text in (
        pem(key),
        pem(key, PrivateFormat.TraditionalOpenSSL),
        base64url(number),
        base64url(number) + "=",
        f"\n{base64url(number)}\n",
    ):
        assert key_pair(text) == (public, base64url(number))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("no key", "neither PEM text nor 43", id="no key"),
        pytest.param(KEYS.public, "neither PEM text nor 43", id="the public key"),
        pytest.param("A" * 43, "not a number of the curve", id="zero"),
        pytest.param("_" * 42 + "8", "not a number of the curve", id="beyond the curve"),
        pytest.param(pem(ec.generate_private_key(CURVE))[:150], "damaged or cut off", id="a cut file"),
        pytest.param(pem(ec.generate_private_key(ec.SECP384R1())), "on the curve P-256", id="another curve"),
        pytest.param(pem(rsa.generate_private_key(65537, 2048)), "on the curve P-256", id="RSA"),
        pytest.param(
            pem(ec.generate_private_key(CURVE), encryption=BestAvailableEncryption(b"x")), "a passphrase", id="a passphrase"
        ),
        pytest.param("-----BEGIN PUBLIC KEY-----\n", "a public key", id="a public key as PEM"),
        pytest.param("", "cannot be read; give CARILLON_SECRET_KEYS", id="none"),
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused_in_words_without_it(text, words):
    with pytest.raises(SettingsError, match=rf"^private key: .*{words}") as refused:
        key_pair(text)
    assert not text or text not in str(refused.value)


def test_a_pair_has_to_be_one():
    check_key(SETTINGS)
    with pytest.raises(SettingsError, match="not that of the public key"):
        check_key(WebSettings(SETTINGS.subject, KEYS.public, new_key_pair().private))


def test_a_token_is_one_that_a_push_service_takes():
    made = token(SETTINGS, "web.push.apple.com", NOW)
    key = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, urlsafe_b64decode(KEYS.public + "="))
    claims = jwt.decode(
        made, key, algorithms=["ES256"], audience="https://web.push.apple.com", options={"verify_exp": False}
    )
    assert claims == {"aud": "https://web.push.apple.com", "exp": int(NOW) + LIFE, "sub": "mailto:push@example.com"}
    assert jwt.get_unverified_header(made) == {"typ": "JWT", "alg": "ES256"}
    assert type(claims["exp"]) is int
    assert LIFE <= 86_400


def test_the_example_of_the_rfc_is_verified_by_the_key_in_it():
    """RFC 8292, section 2.4. A verifier of our own that takes it is one that ours can be held against."""
    made = (
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNo"
        "QGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA"
    )
    public = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs"
    key = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, urlsafe_b64decode(public + "="))
    claims = jwt.decode(
        made, key, algorithms=["ES256"], audience="https://push.example.net", options={"verify_exp": False}
    )
    assert claims["sub"] == "mailto:push@example.com"


def test_a_token_is_made_once_for_an_origin_and_again_when_it_is_old():
    tokens = Tokens()

    def at(seconds, host="web.push.apple.com", settings=SETTINGS):
        return tokens.authorization(settings, host, NOW + seconds)

    first = at(0)
    assert first.startswith("vapid t=") and first.endswith(f", k={KEYS.public}")
    assert at(DUE - 1) == first
    assert at(0, "fcm.googleapis.com") != first
    assert at(0, settings=WebSettings("https://example.com", KEYS.public, KEYS.private)) != first
    assert at(DUE) != first
    assert at(0) != at(DUE), "the clock was set back"
