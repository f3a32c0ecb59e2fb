"""Senders that show a certificate instead of a token, seen through a client of another make."""

import ssl

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization as ser

from tests.integration.simulator.client import Peer
from tests.unit.apns.push_certificates import push_certificate, topic_list
from tests.unit.simulator.credentials import TOPIC
from worker.simulator import Simulator
from worker.simulator.apns.client_certificate import read_certificate

LISTED = topic_list({TOPIC: "app", f"{TOPIC}.voip": "voip"})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, (TOPIC, {TOPIC}, None), id="both environments"),
        pytest.param({"marks": ("sandbox",)}, (TOPIC, {TOPIC}, "sandbox"), id="one environment"),
        pytest.param({"topics": LISTED}, (None, {TOPIC, f"{TOPIC}.voip"}, None), id="several topics"),
        pytest.param(
            {"voip_topics": topic_list({f"{TOPIC}.voip": "voip"})}, (None, {TOPIC, f"{TOPIC}.voip"}, None), id="voip"
        ),
        pytest.param({"uid": None}, (None, set(), None), id="no uid"),
    ],
)
def test_a_certificate_says_its_topics_and_environment(changes, expected):
    certificate, _ = push_certificate(**{"uid": TOPIC} | changes)
    assert read_certificate(certificate.public_bytes(ser.Encoding.DER)) == expected


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """A simulator's settings and a client's TLS for a certificate of these particulars."""

    def shown(settings, **changes):
        certificate, key = push_certificate(**{"uid": TOPIC} | changes)
        path = tmp_path / "client.pem"
        private = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
        path.write_bytes(certificate.public_bytes(ser.Encoding.PEM) + private)
        return msgspec.structs.replace(settings, client_ca=str(path)), path

    return shown


async def _open(simulator, path) -> Peer:
    context = ssl.create_default_context(cadata=simulator.ca_pem)
    context.load_cert_chain(path)
    return await Peer.open(simulator, context)


@pytest.mark.parametrize(
    ("changes", "topic", "reason"),
    [
        pytest.param({}, None, None, id="the topic may be omitted"),
        pytest.param({}, TOPIC, None, id="the topic may be named"),
        pytest.param({"topics": LISTED}, None, "MissingTopic", id="unless there are several"),
        pytest.param({"uid": "org.example.other"}, TOPIC, "TopicDisallowed", id="another app's certificate"),
    ],
)
def test_a_certificate_stands_for_token_and_topic(changes, topic, reason, settings, shown, run):
    async def main():
        ours, path = shown(settings, **changes)
        async with Simulator(ours) as simulator, await _open(simulator, path) as peer:
            await peer.until(lambda: peer.h2.remote_settings.max_concurrent_streams == ours.max_streams)
            response = await peer.ask(**{"authorization": None, "apns-topic": topic})
            assert (response.status, response.body) == (
                (200, b"") if reason is None else (400, msgspec.json.encode({"reason": reason}))
            )

    run(main())


def test_a_certificate_of_the_other_environment_meets_a_goaway(settings, shown, run):
    async def main():
        ours, path = shown(settings, marks=("sandbox",))
        async with Simulator(ours) as simulator, await _open(simulator, path) as peer:
            peer.post()
            await peer.until(lambda: peer.eof)
            (goaway,) = peer.goaways
            assert (goaway.last_stream_id, goaway.additional_data) == (0, b'{"reason":"BadCertificateEnvironment"}')
            assert simulator.accepted == []

    run(main())


def test_who_shows_none_needs_a_token(settings, shown, run):
    async def main():
        ours, _ = shown(settings)
        async with Simulator(ours) as simulator, await Peer.open(simulator) as peer:
            assert (await peer.ask(authorization=None)).status == 403
            assert (await peer.ask()).status == 200

    run(main())


def test_a_certificate_of_another_ca_fails_the_handshake(settings, shown, run, tmp_path):
    async def main():
        ours, _ = shown(settings)
        stranger, key = push_certificate(uid=TOPIC, days=100)
        path = tmp_path / "stranger.pem"
        private = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
        path.write_bytes(stranger.public_bytes(ser.Encoding.PEM) + private)
        async with Simulator(ours) as simulator, await _open(simulator, path) as peer:
            await peer.until(lambda: peer.eof)
            assert not peer.responses

    run(main())
