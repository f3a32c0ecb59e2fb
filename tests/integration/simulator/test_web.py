"""The push services: who they let send, what they answer, what the browser reads."""

import ssl
import time
from typing import Any, ClassVar

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from worker.simulator import Answer, ControlClient, Rule, Script, SimulatorThread, WebSettings
from worker.simulator.web.services import SERVICES
from worker.simulator.web.subscriptions import Wish, decode, encode

KEY = ec.generate_private_key(ec.SECP256R1())
POINT = Encoding.X962, PublicFormat.UncompressedPoint
PUBLIC = encode(KEY.public_key().public_bytes(*POINT))
HOUR = {"TTL": "3600"}


def encrypt(plaintext: bytes, subscription: dict[str, Any]) -> bytes:
    """As RFC 8291 says, with another library's key derivation than the simulator's."""
    public, auth = decode(subscription["keys"]["p256dh"]), decode(subscription["keys"]["auth"])
    private, salt = ec.generate_private_key(ec.SECP256R1()), b"0123456789abcdef"
    ours = private.public_key().public_bytes(*POINT)
    secret = private.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public))
    material = HKDF(hashes.SHA256(), 32, auth, b"WebPush: info\x00" + public + ours).derive(secret)
    key = HKDF(hashes.SHA256(), 16, salt, b"Content-Encoding: aes128gcm\x00").derive(material)
    nonce = HKDF(hashes.SHA256(), 12, salt, b"Content-Encoding: nonce\x00").derive(material)
    sealed = AESGCM(key).encrypt(nonce, plaintext + b"\x02", None)
    return salt + (4096).to_bytes(4, "big") + b"\x41" + ours + sealed


class Sender:
    """Sends to subscriptions at the simulator, whatever host they name."""

    opened: ClassVar[list["Sender"]] = []

    def __init__(self, simulator: SimulatorThread, *, http2: bool = True) -> None:
        self.port = simulator.port
        context = ssl.create_default_context(cadata=simulator.ca_pem)
        self.http = httpx.Client(http2=http2, verify=context)
        self.control = ControlClient(simulator.host, simulator.control_port or 0, simulator.control_token, kind="web")
        self.opened.append(self)

    def subscribe(self, service: str = "mozilla", **wish: Any) -> dict[str, Any]:
        wish = {"key": PUBLIC, "origin": f"https://localhost:{self.port}"} | wish
        return self.control.subscriptions(Wish(service=service, **wish))[0]

    def send(
        self,
        subscription: dict[str, Any],
        plaintext: bytes = b"hello",
        headers: dict[str, str | None] | None = None,
        key: ec.EllipticCurvePrivateKey = KEY,
        **claims: object,
    ) -> httpx.Response:
        url = httpx.URL(subscription["endpoint"])
        origin = f"https://{url.netloc.decode()}"
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        plain = {"aud": origin, "exp": int(time.time()) + 43_200, "sub": "mailto:admin@example.com"}
        token = jwt.encode(plain | claims, pem, "ES256")
        public = encode(key.public_key().public_bytes(*POINT))
        fields = {
            "Content-Encoding": "aes128gcm",
            "Authorization": f"vapid t={token}, k={public}",
            **HOUR,
            **(headers or {}),
        }
        return self.http.post(
            url.copy_with(host="localhost", port=self.port),
            content=encrypt(plaintext, subscription),
            headers={"host": url.netloc.decode()}
            | {name: value for name, value in fields.items() if value is not None},
        )


@pytest.fixture(autouse=True)
def _close_senders():
    yield
    while Sender.opened:
        Sender.opened.pop().http.close()


@pytest.fixture
def simulator():
    with SimulatorThread(WebSettings()) as simulator:
        yield simulator


@pytest.fixture(params=[True, False], ids=["HTTP/2", "HTTP/1.1"])
def sender(simulator, request):
    return Sender(simulator, http2=request.param)


@pytest.mark.parametrize("own_host", [True, False], ids=["its own host", "a path"])
@pytest.mark.parametrize("service", SERVICES)
def test_each_service_takes_a_message_and_the_browser_reads_it(simulator, sender, service, own_host):
    origin = None if own_host else f"https://localhost:{simulator.port}"
    subscription = sender.subscribe(service, origin=origin)
    answer = sender.send(subscription, "Grüße".encode(), {"Topic": "a" * 32, "Urgency": "high"})
    assert (answer.status_code, answer.content) == (201, b"")
    wanted = {"mozilla": "location", "google": "location", "microsoft": "x-wns-status", "apple": "apns-id"}
    assert wanted[service] in answer.headers
    [entry] = simulator.accepted
    assert (entry.token, entry.payload) == (subscription["endpoint"], "Grüße")
    assert (entry.service, entry.ttl, entry.urgency, entry.topic) == (service, 3600, "high", "a" * 32)


OTHER = ec.generate_private_key(ec.SECP256R1())
LATE = int(time.time()) + 90_000
CASES: list[tuple[str, dict[str, Any], dict[str, tuple[int, str]]]] = [
    (
        "another key",
        {"key": OTHER},
        {
            "mozilla": (401, "VAPID public key mismatch"),
            "google": (403, "do not correspond to the credentials"),
            "microsoft": (403, ""),
            "apple": (400, '{"reason":"VapidPkHashMismatch"}'),
        },
    ),
    (
        "another audience",
        {"aud": "https://example.com"},
        {"mozilla": (401, "Invalid VAPID audience"), "google": (403, "aud claim"), "apple": (403, "BadJwtToken")},
    ),
    (
        "a day and an hour",
        {"exp": LATE},
        {"mozilla": (401, "expiration is too long"), "google": (403, "invalid JWT"), "apple": (403, "BadJwtToken")},
    ),
    ("a local subject", {"sub": "mailto:me@localhost"}, {"mozilla": (201, ""), "apple": (403, "BadJwtToken")}),
    (
        "no VAPID",
        {"headers": {"Authorization": None}},
        {
            "mozilla": (401, "Missing VAPID public key"),
            "google": (400, "UnauthorizedRegistration"),
            "microsoft": (401, ""),
        },
    ),
    (
        "no TTL",
        {"headers": {"TTL": None}},
        {"mozilla": (400, '"errno":111'), "google": (400, "InvalidTtlParameter"), "apple": (400, "BadTtl")},
    ),
    ("a negative TTL", {"headers": {"TTL": "-1"}}, {"mozilla": (400, '"errno":114')}),
    ("now or never", {"headers": {"TTL": "0"}}, {"mozilla": (201, ""), "microsoft": (400, "")}),
    ("13 characters", {"headers": {"Topic": "a" * 13}}, {"mozilla": (201, ""), "apple": (400, "BadWebPushTopic")}),
    ("14 characters", {"headers": {"Topic": "a" * 14}}, {"apple": (201, "")}),
    (
        "33 characters",
        {"headers": {"Topic": "a" * 33}},
        {"mozilla": (400, '"errno":113'), "apple": (400, "BadWebPushTopic")},
    ),
    ("two urgencies", {"headers": {"Urgency": "high, low"}}, {"apple": (400, "BadUrgency")}),
    ("no encoding", {"headers": {"Content-Encoding": None}}, {"mozilla": (400, '"errno":110')}),
    ("the draft's key", {"headers": {"Crypto-Key": "dh=abc"}}, {"mozilla": (400, '"errno":110'), "google": (201, "")}),
    ("the largest", {"plaintext": b"x" * 3993}, {"google": (201, ""), "apple": (201, "")}),
    (
        "one more",
        {"plaintext": b"x" * 3994},
        {"google": (413, ""), "apple": (413, "PayloadTooLarge"), "mozilla": (201, "")},
    ),
]


@pytest.mark.parametrize(
    ("service", "wish", "status", "says"),
    [
        pytest.param(service, wish, status, says, id=f"{name} at {service}")
        for name, wish, expected in CASES
        for service, (status, says) in expected.items()
    ],
)
def test_a_service_has_rules_and_words_of_its_own(simulator, service, wish, status, says):
    sender = Sender(simulator)
    answer = sender.send(sender.subscribe(service), **wish)
    assert (answer.status_code, says in answer.text) == (status, True)
    assert len(simulator.accepted) == (status == 201)


def test_microsoft_names_its_reason_in_a_header(simulator, sender):
    subscription = sender.subscribe("microsoft")
    conflict = sender.send(subscription, headers={"TTL": "0"})
    assert conflict.headers["x-wns-error-description"] == "Ttl value conflicts with X-WNS-Cache-Policy."
    assert sender.send(subscription, headers={"TTL": "0", "X-WNS-Cache-Policy": "no-cache"}).status_code == 201


def test_firefox_on_a_phone_takes_less(simulator, sender):
    subscription = sender.subscribe(android=True)
    assert sender.send(subscription, b"x" * 2912).status_code == 201
    answer = sender.send(subscription, b"x" * 2913)
    assert (answer.status_code, answer.json()["errno"]) == (413, 104)
    assert "constrained device" in answer.json()["message"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_mutilated_endpoint_is_not_found(simulator, service):
    sender = Sender(simulator)
    subscription = sender.subscribe(service)
    cut = subscription | {"endpoint": subscription["endpoint"][:-5]}
    assert sender.send(cut).status_code == 404


@pytest.mark.parametrize(
    ("service", "reason", "status", "field", "value"),
    [
        ("mozilla", "NotRegistered", 410, "cache-control", "max-age=86400"),
        ("mozilla", "Overloaded", 503, "retry-after", "120"),
        ("mozilla", "BridgeFailed", 502, "content-type", "application/json"),
        ("google", "NotRegistered", 410, "content-type", "text/plain; charset=utf-8"),
        ("google", "InvalidEndpoint", 403, "content-type", "text/plain; charset=utf-8"),
        ("microsoft", "Throttled", 406, "retry-after", "900"),
        ("microsoft", "ChannelThrottled", 406, "x-wns-notificationstatus", "channelthrottled"),
        ("microsoft", "NotRegistered", 410, "x-wns-error-description", "Gone"),
        ("microsoft", "DomainBlocked", 410, "x-wns-error-description", "Domain Blocked"),
        ("microsoft", "Dropped", 200, "x-wns-status", "dropped"),
        ("apple", "Overloaded", 503, "content-type", "application/json"),
    ],
)
def test_answers_can_be_had_for_one_subscription(simulator, service, reason, status, field, value):
    sender = Sender(simulator)
    subscription, other = sender.subscribe(service), sender.subscribe(service, first=1)
    simulator.set_tokens({subscription["endpoint"]: Answer(reason)})
    answer = sender.send(subscription)
    assert (answer.status_code, answer.headers[field]) == (status, value)
    assert sender.send(other).status_code == 201
    assert [entry.token for entry in simulator.accepted] == [other["endpoint"]]


def test_a_dead_subscription_may_be_answered_as_a_living_one(simulator, sender):
    subscription = sender.subscribe("apple")
    simulator.set_tokens({subscription["endpoint"]: Answer("SilentlyDead")})
    assert sender.send(subscription).status_code == 201
    assert simulator.accepted == []


def test_one_service_may_be_down_or_redirect_elsewhere(simulator, sender):
    down = Rule(push_type="mozilla", answer=Answer("Overloaded"))
    away = Rule(push_type="google", answer=Answer(status=302, headers={"location": "https://127.0.0.1:1/"}))
    simulator.set_script(Script(rules=(down, away)))
    answers = [sender.send(sender.subscribe(service)) for service in ("mozilla", "google", "apple")]
    assert [answer.status_code for answer in answers] == [503, 302, 201]
    assert answers[1].headers["location"] == "https://127.0.0.1:1/"


def test_a_topic_replaces_and_now_or_never_does_not_wait(simulator, sender):
    subscription = sender.subscribe()
    for text, topic in ((b"1", "a"), (b"2", None), (b"3", "a"), (b"4", "b")):
        assert sender.send(subscription, text, {"Topic": topic}).status_code == 201
    assert sender.send(subscription, b"5", {"TTL": "0"}).status_code == 201
    assert [entry["payload"] for entry in sender.control.surviving()] == ["2", "3", "4"]
    assert len(simulator.accepted) == 5


def test_what_a_browser_cannot_read_is_taken_and_counted(simulator, sender):
    ours, other = sender.subscribe(), sender.subscribe(first=1)
    assert sender.send(ours | {"keys": other["keys"]}).status_code == 201
    assert [entry.payload for entry in simulator.accepted] == [None]
    assert simulator.counts["unreadable"] == {"the tag does not fit": 1}


def test_the_record_keeps_what_a_refused_browser_would_have_read(simulator, sender):
    simulator.set_script(Script(rules=(Rule(answer=Answer("VapidKeyMismatch")),)))
    sender.send(sender.subscribe(), b"never shown")
    [entry] = simulator.refused
    assert (entry.payload, simulator.counts["unreadable"]) == ("never shown", {})


def test_only_some_bodies_are_decrypted_where_that_is_asked_for():
    with SimulatorThread(WebSettings(decrypt_every=2)) as simulator:
        sender = Sender(simulator)
        subscription = sender.subscribe()
        for _ in range(4):
            sender.send(subscription)
        assert [entry.payload for entry in simulator.accepted] == [None, "hello", None, "hello"]


def test_a_service_may_have_http1_alone():
    with SimulatorThread(WebSettings(protocols=("http/1.1",))) as simulator:
        sender = Sender(simulator)
        answer = sender.send(sender.subscribe("microsoft"))
        assert (answer.status_code, answer.http_version) == (201, "HTTP/1.1")
