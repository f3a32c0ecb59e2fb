"""What the push services of the simulator know: subscriptions, VAPID, Topics, and the browser's decryption."""

import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from worker.simulator.decryption import Receiver, Unreadable, decrypt
from worker.simulator.web import vapid
from worker.simulator.web.rules import LONGEST_LIFE
from worker.simulator.web.services import SERVICES, service_at
from worker.simulator.web.subscriptions import Wish, browser_of, decode, encode, find, hash_of, make

#: RFC 8291, appendix A.
UA_PRIVATE = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
UA_PUBLIC = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"
    "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)
BROWSER = Receiver(
    ec.derive_private_key(int.from_bytes(decode(UA_PRIVATE), "big"), ec.SECP256R1()), decode(UA_PUBLIC), decode(AUTH)
)
#: RFC 8292, section 2.4.
EXAMPLE = (
    "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1"
    "YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9Ok"
    "SSHzvoD1oA, k=BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs"
)


def test_the_body_of_the_rfc_is_read():
    assert decrypt(decode(BODY), BROWSER) == b"When I grow up, I want to be a watermelon"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(lambda body: body[:90], "too short", id="cut"),
        pytest.param(lambda body: body[:-1] + bytes([body[-1] ^ 1]), "tag", id="changed"),
        pytest.param(
            lambda body: body[:16] + (40).to_bytes(4, "big") + body[20:], "more than one record", id="records"
        ),
        pytest.param(lambda body: body[:20] + b"\x21" + body[21:], "no uncompressed point", id="key id"),
        pytest.param(lambda body: body[:22] + bytes(64) + body[86:], "not on the curve", id="curve"),
    ],
)
def test_a_browser_throws_a_broken_body_away(change, why):
    with pytest.raises(Unreadable, match=why):
        decrypt(change(decode(BODY)), BROWSER)


def test_the_token_of_the_rfc_is_read():
    read = vapid.read(EXAMPLE, "https://push.example.net")
    assert isinstance(read, vapid.Vapid)
    assert (read.expires_at, read.subject) == (1453523768, "mailto:push@example.com")
    assert vapid.read(EXAMPLE, "https://push.example.org") == "BadAudience"
    assert vapid.time_fault(read, time.time()) == "VapidExpired"


def _authorization(key: ec.EllipticCurvePrivateKey, **claims: object) -> str:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    token = jwt.encode({"aud": "https://a.example", "exp": 2_000_000_000} | claims, pem, "ES256")
    public = encode(key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))
    return f"vapid t={token}, k={public}"


KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        pytest.param("", "MissingVapid", id="nothing"),
        pytest.param("WebPush abc", "BadVapid", id="the draft's form"),
        pytest.param("vapid t=a, k=b", "BadVapid", id="no token"),
        pytest.param(
            _authorization(KEY).split(", ")[0] + ", " + _authorization(OTHER).split(", ")[1],
            "BadVapid",
            id="another key",
        ),
        pytest.param(_authorization(KEY, exp="2000000000"), "BadVapid", id="exp is a text"),
        pytest.param(_authorization(KEY, exp=2e9), "BadVapid", id="exp is a fraction"),
        pytest.param(_authorization(KEY, aud="https://b.example"), "BadAudience", id="another service"),
    ],
)
def test_a_token_is_refused(authorization, reason):
    assert vapid.read(authorization, "https://a.example") == reason


@pytest.mark.parametrize(
    ("ahead", "reason"), [(3600, None), (86_400, None), (86_401, "VapidTooLong"), (-60, None), (-61, "VapidExpired")]
)
def test_a_token_lives_for_a_day(ahead, reason):
    assert vapid.time_fault(vapid.Vapid(b"", 1_000_000 + ahead, None), 1_000_000) == reason


@pytest.mark.parametrize(
    ("subject", "taken"),
    [
        ("mailto:admin@example.com", True),
        ("https://example.com", True),
        ("https://example.com/contact", True),
        ("admin@example.com", False),
        ("mailto:<admin@example.com>", False),
        ("mailto: admin@example.com", False),
        ("mailto:admin@localhost", False),
        ("mailto:admin@mac.local", False),
        ("https://localhost", False),
        ("http://example.com", False),
        (None, False),
    ],
)
def test_apple_looks_at_the_subject(subject, taken):
    assert vapid.is_subject(subject) is taken


@pytest.mark.parametrize("name", SERVICES)
def test_a_subscription_is_known_again_by_its_endpoint_alone(name):
    key = encode(BROWSER.public)
    for origin, android in ((None, False), ("https://localhost:2198", True)):
        [made] = make(7, Wish(service=name, first=41, key=key, origin=origin, android=android))
        authority, _, path = made["endpoint"].removeprefix("https://").partition("/")
        at = service_at(authority, f"/{path}")
        assert at is not None
        assert at[0].name == name
        found = find(7, *at)
        assert found is not None
        assert (found.number, found.key_hash, found.constrained) == (41, hash_of(BROWSER.public), android)
        assert find(8, *at) is None
        assert find(7, at[0], at[1][:-1]) is None
        assert decode(made["keys"]["p256dh"]) == browser_of(7, 41).public
        assert len(decode(made["keys"]["auth"])) == 16


def test_subscriptions_are_the_same_each_time_and_all_different():
    made = make(0, Wish(count=50))
    assert make(0, Wish(count=50)) == made
    assert len({one["endpoint"] for one in made}) == len({one["keys"]["p256dh"] for one in made}) == 50
    assert make(0, Wish(first=49)) == made[-1:]
    assert len(made[0]["endpoint"]) == 234


@pytest.mark.parametrize("host", ["evil.example", "notify.windows.com.evil.example", "xfcm.googleapis.com"])
def test_another_host_is_no_push_service(host):
    assert service_at(host, "/x/y") is None


def test_a_wish_names_a_service():
    with pytest.raises(ValueError, match="service: one of mozilla, google, microsoft, apple"):
        Wish(service="nokia")
    assert set(LONGEST_LIFE) <= set(SERVICES)
