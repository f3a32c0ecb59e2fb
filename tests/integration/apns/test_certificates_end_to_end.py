"""S13: a provider with a `.p12` sends through the sender to a simulator that asks for certificates, over both transports."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.serialization import pkcs12

from tests.unit.apns.push_certificates import p12, push_certificate, topic_list
from worker.core.model import ACCEPTED, Answer, Heading, NoAnswer, Notification, Provider, Response
from worker.providers.apns.certificate import CertificateError
from worker.providers.apns.sender import ApnsSender
from worker.providers.apns.settings import P12, ApnsSettings
from worker.simulator import Answer as Scripted
from worker.simulator import Script, Settings, SimulatorThread

TOPIC = "io.team.App"
PASSWORD = "open sesame"
PLAIN = Script()
#: What either transport says where the handshake ends with a refusal of the certificate; never that a deadline passed.
NOT_TRUSTED = {"tls error", "connection lost", "connection reset", "connection closed", "network", "disconnected"}
#: httpcore begins its connection a second time, for whoever waited for the first.
NOT_TRUSTED |= {"protocol"}
#: The tests' certificates count from a fixed day; the sender reads the real clock.
DAYS = 36_500
PROTECTIONS = {
    "no password": None,
    "a modern cipher": ser.BestAvailableEncryption(PASSWORD.encode()),
    "the cipher of old exports": ser.PrivateFormat.PKCS12.encryption_builder()
    .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
    .hmac_hash(hashes.SHA1())
    .build(PASSWORD.encode()),
}


class Apple:
    """A simulator that trusts one push certificate, and the provider that has it."""

    def __init__(self, simulator: SimulatorThread, provider: Provider) -> None:
        self.simulator = simulator
        self.provider = provider


Serve = Callable[..., Apple]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    running: list[SimulatorThread] = []

    def start(protection: ser.KeySerializationEncryption | None = None, script: Script = PLAIN, **more: Any) -> Apple:
        pair = push_certificate(days=DAYS, **more)
        (ca := tmp_path / "client.pem").write_bytes(pair[0].public_bytes(ser.Encoding.PEM))
        settings = Settings(client_ca=str(ca), topics=(TOPIC,), script=script, control_port=None)
        simulator = SimulatorThread(settings)
        simulator.start()
        running.append(simulator)
        document, password = p12(pair, protection), None if protection is None else PASSWORD
        sent_to = ApnsSettings(TOPIC, P12(document, password), "127.0.0.1", simulator.port, simulator.ca_pem)
        return Apple(simulator, Provider(1, "demo", "apn", "production", sent_to))

    yield start
    for simulator in running:
        simulator.stop()


@pytest.fixture(params=["http2", "httpx"])
def sender(request: pytest.FixtureRequest) -> Iterator[ApnsSender]:
    transport: Literal["http2", "httpx"] = request.param
    made = ApnsSender(transport=transport, connections=1)
    yield made
    made.close(drain=1.0)


def batch(size: int, **changes: Any) -> list[Notification]:
    heading = Heading(**{"topic": TOPIC} | changes)
    return [
        Notification(f"{n:064x}", f"6ba7b810-9dad-51d1-80b4-{n:012x}", b'{"aps":{}}', heading)
        for n in range(1, size + 1)
    ]


def changed(provider: Provider, **settings: Any) -> Provider:
    """The provider with other settings."""
    return replace(provider, settings=replace(provider.settings, **settings))


def send(sender: ApnsSender, provider: Provider, notifications: list[Notification]) -> list[Response]:
    return sender.send(provider, notifications, authorization=None, deadline=15)


@pytest.mark.parametrize("protection", PROTECTIONS.values(), ids=PROTECTIONS)
def test_S13_a_p12_sends_without_a_token_and_every_answer_is_its_own(
    sender: ApnsSender, serve: Serve, protection: ser.KeySerializationEncryption | None
) -> None:
    gone = {f"{n:064x}": Scripted("Unregistered", timestamp=n) for n in range(5, 41, 5)}
    apple = serve(protection, Script(tokens=gone))
    responses = send(sender, apple.provider, batch(40))
    assert responses == [Answer(410, "Unregistered", n) if n % 5 == 0 else ACCEPTED for n in range(1, 41)]
    assert len(apple.simulator.accepted) == 32


def test_S13_a_certificate_sends_to_the_topics_that_it_lists_and_to_no_other(sender: ApnsSender, serve: Serve) -> None:
    apple = serve(topics=topic_list({TOPIC: "app", f"{TOPIC}.voip": "voip"}))
    listed = batch(1, topic=f"{TOPIC}.voip", push_type="voip")
    unlisted = batch(1, topic=f"{TOPIC}.complication", push_type="complication")
    assert send(sender, apple.provider, batch(1) + listed + unlisted) == [
        ACCEPTED,
        ACCEPTED,
        Answer(400, "TopicDisallowed"),
    ]
    with pytest.raises(CertificateError, match=r"not for io\.other"):
        send(sender, changed(apple.provider, topic="io.other"), batch(1, topic="io.other"))


def test_S13_a_certificate_of_the_other_environment_is_refused_before_anything_is_sent(
    sender: ApnsSender, serve: Serve
) -> None:
    apple = serve(marks=("sandbox",))
    with pytest.raises(CertificateError, match="not for production"):
        send(sender, apple.provider, batch(1))
    assert apple.simulator.counts["total"] == 0


def test_S13_apples_answer_about_the_wrong_environment_reaches_the_sender(sender: ApnsSender, serve: Serve) -> None:
    apple = serve(marks=("sandbox",))
    misled = replace(apple.provider, environment="sandbox")
    assert send(sender, misled, batch(3)) == [NoAnswer("not_sent", "BadCertificateEnvironment")] * 3
    assert apple.simulator.accepted == []


def test_S13_a_certificate_that_the_server_does_not_trust_delivers_nothing(sender: ApnsSender, serve: Serve) -> None:
    apple = serve()
    stranger = changed(apple.provider, credential=P12(p12(push_certificate(uid=TOPIC, days=DAYS))))
    responses = send(sender, stranger, batch(3))
    assert len(responses) == 3
    assert {getattr(response, "cause", response) for response in responses} <= NOT_TRUSTED
    assert apple.simulator.accepted == []
