"""The wire: HTTP/2 and HTTP/1.1 servers that share no code with ours, and a browser that decrypts what they got."""

import json
import socket
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.apns.h2_server import H2Server, Request
from tests.integration.web.push_service import OldService, Say
from tests.unit.web.browser import APPLE, CURVE, GOOGLE, MICROSOFT, MOZILLA, new_browser
from tests.unit.web.test_render import of_message
from worker.core.batch import Job, Sending
from worker.core.model import ACCEPTED, HELD_UP, SEALED, Answer, NoAnswer, Provider, Response
from worker.core.notification import HEAD
from worker.providers.web import client as module
from worker.providers.web.client import WebClient
from worker.providers.web.endpoint import SERVICES
from worker.providers.web.form import Encrypted
from worker.providers.web.http1 import Http1
from worker.providers.web.kind import KIND
from worker.providers.web.outcome import FORBIDDEN_ADDRESS, FORBIDDEN_HOST, ORIGIN_THROTTLED
from worker.providers.web.render import SHORT, SILENT, Push
from worker.providers.web.route import WebRoute
from worker.providers.web.settings import WebSettings
from worker.providers.web.vapid import new_key_pair
from worker.sender.route import Address
from worker.sender.sender import Sender

KEYS = new_key_pair()
BROWSER = new_browser()
SETTINGS = WebSettings("mailto:push@example.com", KEYS.public, KEYS.private)


@pytest.fixture
def web() -> Iterator[WebClient]:
    """Keys of subscriptions are sealed by a `sealed:` before them."""
    made = WebClient(
        unseal=lambda text: text.removeprefix("sealed:") if text.startswith("sealed:") else None, hosts=SERVICES
    )
    yield made
    made.close()


def at(server: H2Server | OldService) -> Provider:
    """A provider whose push services are all at this server."""
    there = replace(SETTINGS, host="127.0.0.1", port=server.port, ca=server.ca)
    return Provider(7, "demo", "web", "production", there)


def push(endpoint: str = GOOGLE, number: int = 0, *, text: str = "hello", secret: str | None = None) -> Push:
    sealed = f"sealed:{BROWSER.packed}" if secret is None else secret
    return Push(
        f"{endpoint}{number}", sealed, of_message(text=text), 3, 3_993, int(time.time()) + 60, "high", f"t{number:031}"
    )


def send(web, provider, pushes, **others):
    return web.send(provider, pushes, now=time.time, deadline=5.0, **others).responses


@contextmanager
def http2(answer=lambda request: request.answer(201)):
    async def script(request: Request) -> None:
        answer(request)

    with H2Server(script) as server:
        yield server


def test_a_push_arrives_encrypted_and_signed_for_its_origin(web):
    with http2() as server:
        assert send(web, at(server), [push(MICROSOFT)]) == [ACCEPTED]
    [got] = server.requests
    assert got.headers[":authority"] == "wns2-par02p.notify.windows.com"
    assert got.headers[":path"] == "/w/?token=BQ%2bYAAAA%3d%3d0", "path and query as they were"
    assert json.loads(BROWSER.read(got.body))["notification"]["body"] == "hello"
    kept = ("urgency", "topic", "content-encoding", "x-wns-cache-policy", "content-length")
    assert {name: got.headers[name] for name in kept} == {
        "urgency": "high",
        "topic": f"t{0:031}",
        "content-encoding": "aes128gcm",
        "x-wns-cache-policy": "cache",
        "content-length": str(len(got.body)),
    }
    assert 50 <= int(got.headers["ttl"]) <= 60
    scheme, _, rest = got.headers["authorization"].partition(" ")
    token, key = (part.partition("=")[2] for part in rest.split(", "))
    assert (scheme, key) == ("vapid", KEYS.public)
    public = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, urlsafe_b64decode(key + "="))
    claims = jwt.decode(token, public, algorithms=["ES256"], audience="https://wns2-par02p.notify.windows.com")
    assert claims["sub"] == "mailto:push@example.com"


def test_each_push_service_has_connections_of_its_own_and_one_token_for_many(web):
    with http2() as server:
        pushes = [push(endpoint, n) for n in range(40) for endpoint in (GOOGLE, MOZILLA, APPLE)]
        assert send(web, at(server), pushes) == [ACCEPTED] * 120
        assert send(web, at(server), pushes[:3]) == [ACCEPTED] * 3
    by_host: dict[str, set[int]] = {}
    for got in server.requests:
        by_host.setdefault(got.headers[":authority"], set()).add(id(got.peer))
    assert len(by_host) == 3
    assert not set.intersection(*by_host.values())
    assert len({(got.headers[":authority"], got.headers["authorization"]) for got in server.requests}) == 3
    assert len({got.body[:16] for got in server.requests}) == 123, "a salt for each"


def test_words_of_the_services_in_bodies_and_fields_become_reasons(web):
    said = {
        "0": lambda request: request.answer(403, {"reason": "BadJwtToken"}),
        "1": lambda request: request.answer(
            410, b"", x_wns_status="dropped", x_wns_error_description="Domain Blocked", x_other="a"
        ),
        "2": lambda request: request.answer(406, b"", retry_after="900", x_wns_notificationstatus="appthrottled"),
        "3": lambda request: request.answer(200, b"", x_wns_status="dropped"),
        "4": lambda request: request.answer(201, b"", location="https://x.example/m/1", ttl="60"),
        "5": lambda request: request.answer(302, b"", location="https://127.0.0.1/"),
    }
    with http2(lambda request: said[request.headers[":path"][-1]](request)) as server:
        responses = send(web, at(server), [push(MICROSOFT, n) for n in range(6)])
    assert responses == [
        Answer(403, "BadJwtToken"),
        Answer(410, "DomainBlocked"),
        Answer(406, "AppThrottled", None, 900.0),
        Answer(200, "Dropped"),
        ACCEPTED,
        Answer(302),
    ]
    assert len(server.requests) == 6, "no redirect is followed"


def test_what_is_too_long_for_a_browser_is_sent_once_more_and_shorter(web):
    def answer(request: Request) -> None:
        request.answer(413 if len(request.body) > SHORT + 103 else 201)

    with http2(answer) as server:
        pushes = [push(number=0, text="ä" * 3_000), push(number=1), push(number=2, text="ä" * 3_000)]
        assert send(web, at(server), pushes) == [ACCEPTED] * 3
    assert len(server.requests) == 5
    with http2(lambda request: request.answer(413)) as server:
        assert send(web, at(server), [push(text="ä" * 3_000)]) == [Answer(413)]
    assert [len(got.body) > SHORT + 103 for got in server.requests] == [True, False]


def test_the_second_of_a_browser_goes_after_the_first(web):
    with http2() as server:
        assert send(web, at(server), [push(number=0), push(number=0)], following={0: 1}) == [ACCEPTED] * 2
    with http2(lambda request: request.answer(503)) as server:
        pushes = [push(number=0), push(MOZILLA, 1), push(number=0)]
        assert send(web, at(server), pushes, following={0: 2}) == [Answer(503), Answer(503), HELD_UP]


def test_what_cannot_be_shown_or_opened_is_not_sent(web):
    document = KIND.render(
        at_nobody(), [Sending("1-0", "b", HEAD.decode(), "}}", 0, "c", badge=0)], [Job(0, 1, "u", GOOGLE, 0)], [None]
    )
    silent = document[0]._replace(secret=f"sealed:{BROWSER.packed}")
    with http2() as server:
        responses = send(web, at(server), [silent, push(secret=""), push(secret="with another key"), push(number=3)])
    assert responses == [NoAnswer("unwritable", SILENT), SEALED, SEALED, ACCEPTED]
    assert len(server.requests) == 1


def test_an_endpoint_of_a_host_that_is_not_known_any_more_is_not_sent_to(web):
    with http2() as server:
        responses = send(web, at(server), [push("https://push.example.org/"), push()])
    assert responses == [NoAnswer("not_sent", FORBIDDEN_HOST), ACCEPTED]


def test_responses_are_seen_as_they_come(web):
    seen = [None] * 2
    with http2() as server:
        send(web, at(server), [push(number=0), push(number=1)], seen=seen)
    assert seen == [ACCEPTED] * 2


def test_several_browsers_that_have_to_wait_hold_their_host(web):
    with http2(lambda request: request.answer(429, b"", retry_after="30")) as server:
        responses = send(web, at(server), [push(number=n) for n in range(4)])
    assert [one.reason for one in responses] == [None, None, ORIGIN_THROTTLED, ORIGIN_THROTTLED]


def test_an_old_service_is_spoken_to_over_http_1_1(web):
    with OldService() as server:
        pushes = [push(number=n) for n in range(30)]
        assert send(web, at(server), pushes) == [ACCEPTED] * 30
        assert send(web, at(server), [push(number=30)]) == [ACCEPTED], "without another look for HTTP/2"
    assert sorted(got.path for got in server.got) == sorted(f"/fcm/send/abc:def{n}" for n in range(31))
    [first, *_] = server.got
    assert first.headers["host"] == "fcm.googleapis.com"
    assert first.headers["content-encoding"] == "aes128gcm"
    assert "transfer-encoding" not in first.headers
    assert json.loads(BROWSER.read(first.body))["app_badge"] == 3


def test_an_old_service_has_reasons_too_and_no_redirect_is_followed(web):
    def answer(got):
        if got.path.endswith("0"):
            return Say(302, headers={"Location": "https://127.0.0.1:1/"})
        return Say(406, headers={"Retry-After": "900", "X-WNS-Status": "channelthrottled"})

    with OldService(answer) as server:
        responses = send(web, at(server), [push(number=0), push(number=1)])
    assert responses == [Answer(302), Answer(406, "ChannelThrottled", None, 900.0)]


def test_the_second_of_a_browser_goes_after_the_first_over_http_1_1(web):
    with OldService(lambda got: Say(503 if got.path.endswith("0") else 201)) as server:
        pushes = [push(number=0), push(number=1), push(number=0), push(number=1)]
        responses = send(web, at(server), pushes, following={0: 2, 1: 3})
    assert responses == [Answer(503), ACCEPTED, HELD_UP, ACCEPTED]
    assert len(server.got) == 3


def test_an_endless_answer_is_not_read_to_its_end(web):
    with OldService(lambda _: Say(403, b"x" * 10_000_000)) as server:
        assert send(web, at(server), [push()]) == [Answer(403)]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fd00:ec2::254"])
def test_a_host_without_a_public_address_is_not_connected_to(address):
    """A name server may say one thing when a browser registers and another when we connect."""
    asked = []

    async def look_up(host: str, port: int) -> list[Address]:
        asked.append((host, port))
        return [Address(socket.AF_INET6 if ":" in address else socket.AF_INET, (address, port))]

    sender = Sender()
    try:
        route = WebRoute("fcm.googleapis.com", None, look_up)
        responses = sender.send(route, [encrypted()], authorization="vapid", deadline=5.0)
    finally:
        sender.close()
    assert responses == [NoAnswer("not_sent", FORBIDDEN_ADDRESS)]
    assert set(asked) == {("fcm.googleapis.com", 443)}

    given: list[Response | None] = [None]
    old = Http1(None, lambda *_: [address])
    old.send("fcm.googleapis.com", [encrypted()], authorization="vapid", deadline=5.0, following={}, responses=given)
    old.close()
    assert given == [NoAnswer("not_sent", FORBIDDEN_ADDRESS)]


def test_a_certificate_of_nobody_is_not_taken(web):
    with http2() as server, http2() as other:
        provider = at(server)
        wrong = replace(provider, settings=replace(provider.settings, ca=other.ca))
        [response] = send(web, wrong, [push()])
    assert response == NoAnswer("not_sent", "connect: certificate not trusted")
    assert not server.requests


def test_proof_is_that_the_key_signs_and_the_services_can_be_reached(web):
    with http2() as server:
        proof = web.prove(at(server), deadline=5.0)
    assert proof.well and "only a push shows" in proof.text
    gone = web.prove(at(server), deadline=5.0)
    assert not gone.well and "127.0.0.1 (" in gone.text
    assert not server.requests


def test_nothing_of_a_subscription_or_a_text_is_in_a_repr():
    one = push(text="a secret text")
    shown = repr([one, encrypted(), WebRoute("fcm.googleapis.com", None)])
    assert not [word for word in ("abc:def", BROWSER.packed, "a secret text", "/fcm/send") if word in shown]


def at_nobody() -> Provider:
    return Provider(7, "demo", "web", "production", SETTINGS)


def encrypted() -> Encrypted:
    return Encrypted("/fcm/send/a", b"x", 60, "t", (("urgency", "high"),))


def test_what_is_proven_is_one_host_of_each_service_that_has_a_fixed_one():
    assert all(KIND.canonical_token(f"https://{host}/a") for host in module._PROVEN)
