"""The wire: where it goes and where it does not, how much it reads, how long it waits."""

import base64
import dataclasses
import json
import threading
import time
from collections import deque
from typing import Any, cast

import pytest

from config.settings import load
from tests.integration.pipeline.harness import LOOPBACK
from tests.integration.sender.tunnel_proxy import TunnelProxy
from tests.integration.webhook.receiver import Receiver, Say
from worker.core.model import ACCEPTED, HELD_UP, Answer, NoAnswer
from worker.core.outcome import Drop
from worker.providers.base import Context
from worker.providers.webhook.answer import decide
from worker.providers.webhook.client import LARGEST_ANSWER, UNUSED, WebhookClient
from worker.providers.webhook.kind import KIND
from worker.providers.webhook.request import Recipient


def recipient(n=0):
    payload = b'{"aps":{"alert":{"body":"\xc3\xa4"}}}'
    return Recipient(f"id-{n}", "e1", "text", "message", f"u{n}", f"device {n}", n, payload, 2_000_000_000)


@pytest.fixture
def send():
    """Sends to a provider with what a test says of the client."""
    made = []

    def sending(provider, recipients=None, *, allowed=LOOPBACK, following=None, seen=None, **settings):
        client = WebhookClient(allowed, **{"timeout": 5.0} | settings)
        made.append(client)
        return client.send(
            provider, recipients or [recipient()], now=time.time, following=following, seen=seen
        ).responses

    yield sending
    for client in made:
        client.close()


def changed(provider, **settings):
    return dataclasses.replace(provider, settings=dataclasses.replace(provider.settings, **settings))


def at(provider, receiver, host):
    return changed(provider, url=f"https://{host}:{receiver.port}/push")


@pytest.mark.parametrize(
    "addresses",
    [
        pytest.param(["127.0.0.1"], id="a name that is at loopback"),
        pytest.param(["::1"], id="v6 loopback"),
        pytest.param(["::ffff:127.0.0.1"], id="v4 mapped into v6"),
        pytest.param(["10.0.0.7", "192.168.1.1"], id="private ones"),
        pytest.param(["169.254.169.254"], id="a cloud's metadata"),
        pytest.param(["100.64.0.1"], id="carriers' NAT"),
    ],
)
def test_a_name_that_leads_inside_is_not_connected_to(send, hook, receiver, addresses):
    [response] = send(at(hook, receiver, "hooks.example.com"), allowed=(), resolve=lambda *_: addresses)
    assert response == NoAnswer("not_sent", "forbidden_address")
    assert receiver.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "127.1"])
def test_an_address_in_the_url_is_looked_at_likewise(send, hook, receiver, host):
    [response] = send(at(hook, receiver, host), allowed=())
    assert isinstance(response, NoAnswer) and response.sent == "not_sent"
    assert response.cause in ("forbidden_address", "dns")
    assert receiver.connections == 0


def test_a_name_that_changes_its_mind_gains_nothing(send, hook, receiver):
    """What is connected to is what was checked: there is one look at the name, and no second one to be lied to in."""
    answers = deque([["127.0.0.1"], ["10.0.0.1"]])
    asked = []

    def rebinding(host, port):
        asked.append(host)
        return answers.popleft()

    client = WebhookClient(LOOPBACK, timeout=5, resolve=rebinding)
    provider = at(hook, receiver, "hooks.example.com")
    receiver.says(headers={"Connection": "close"})
    [first] = client.send(provider, [recipient()], now=time.time).responses
    [second] = client.send(provider, [recipient()], now=time.time).responses
    client.close()
    assert (first, second) == (ACCEPTED, NoAnswer("not_sent", "forbidden_address"))
    assert asked == ["hooks.example.com"] * 2
    assert len(receiver.got) == 1
    assert receiver.got[0].headers["host"] == f"hooks.example.com:{receiver.port}", "TLS and HTTP ask for the name"


def test_of_several_addresses_only_those_are_tried_that_are_permitted(send, hook, receiver):
    found = ["10.0.0.1", "127.0.0.1"]
    assert send(at(hook, receiver, "hooks.example.com"), resolve=lambda *_: found) == [ACCEPTED]


def test_proxies_of_the_environment_have_no_say(send, hook, receiver, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send(hook) == [ACCEPTED]


def test_a_redirect_is_not_followed(send, hook, receiver):
    receiver.says(302, headers={"Location": receiver.url + "/elsewhere"})
    assert send(hook) == [Answer(302, "redirect")]
    assert [got.path for got in receiver.got] == ["/push"]


def test_a_certificate_of_another_authority_stops_the_webhook(send, hook, receiver):
    [response] = send(changed(hook, ca=None))
    assert response == NoAnswer("not_sent", "certificate")
    assert receiver.got == []


def test_a_certificate_for_another_name_stops_the_webhook(send, hook, receiver):
    found = ["127.0.0.1"]
    [response] = send(at(hook, receiver, "other.example.com"), resolve=lambda *_: found)
    assert response == NoAnswer("not_sent", "certificate")


def test_an_answer_that_is_too_large_is_not_read_and_its_batch_not_sent_again(send, hook, receiver):
    receiver.says(raw=b" " * (LARGEST_ANSWER + 1))
    [response] = send(hook)
    outcome = decide(response, registered_at=0, sent_at=1, attempt=1)
    assert outcome == Drop("bad_answer", alarm=True)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"OK", id="words"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"[1, 2]", id="a list"),
        pytest.param(b'{"results": {"id": 7}, "gone": "all"}', id="shapes that mean nothing"),
        pytest.param(b'{"results": [{"id": 5, "status": "gone"}, 7, null]}', id="entries that name nobody"),
        pytest.param(b"[" * 100_000, id="nested without end"),
        pytest.param(b"\xff\xfe", id="no text"),
    ],
)
def test_an_answer_that_says_nothing_of_anybody_accepts_all(send, hook, receiver, raw):
    receiver.says(raw=raw)
    assert send(hook, [recipient(n) for n in range(3)]) == [ACCEPTED] * 3


def test_an_answer_that_never_ends_is_left(send, hook, receiver):
    left = threading.Event()
    receiver.answer = lambda _: Say(drip=lambda: left.wait(0.02))
    [response] = send(hook, timeout=0.5)
    left.set()
    assert response == NoAnswer("unknown", "timeout")


def test_while_answers_are_missing_others_may_look_at_what_is_there(send, hook, receiver):
    seen = [None] * 150

    def answer(got):
        if len(got.recipients) < 100:
            ends = time.monotonic() + 4
            while seen[0] is not ACCEPTED:
                assert time.monotonic() < ends
                time.sleep(0.01)
        return Say()

    receiver.answer = answer
    assert send(hook, [recipient(n) for n in range(150)], seen=seen) == [ACCEPTED] * 150
    assert sorted(len(got.recipients) for got in receiver.got) == [50, 100]


def test_what_follows_another_one_goes_with_it_or_after_it_and_not_without_it(send, hook, receiver):
    receiver.answer = lambda got: Say(200 if len(got.recipients) == 100 else 503)
    responses = send(hook, [recipient(n) for n in range(250)], following={0: 1, 1: 100, 200: 201, 100: 240, 240: 241})
    assert [len(got.recipients) for got in receiver.got] == [100, 100, 50]
    assert responses[:200] == [ACCEPTED] * 200
    receiver.got.clear()
    receiver.answer = lambda _: Say(503)
    responses = send(hook, [recipient(n) for n in range(150)], following={0: 120, 120: 130})
    assert sorted(len(got.recipients) for got in receiver.got) == [48, 100]
    assert [place for place, one in enumerate(responses) if one is HELD_UP] == [120, 130]


def test_what_is_too_much_at_once_goes_in_halves(send, hook, receiver):
    receiver.answer = lambda got: Say(413 if len(got.recipients) > 3 else 200)
    assert send(hook, [recipient(n) for n in range(10)]) == [ACCEPTED] * 10
    taken = [one["id"] for got in receiver.got if len(got.recipients) <= 3 for one in got.recipients]
    assert sorted(taken) == sorted(f"id-{n}" for n in range(10))


def test_connections_are_kept(send, hook, receiver):
    client = WebhookClient(LOOPBACK, timeout=5)
    for _ in range(3):
        client.send(hook, [recipient()], now=time.time)
    client.close()
    assert (len(receiver.got), receiver.connections) == (3, 1)


def test_the_payload_is_the_bytes_that_a_phone_would_get(send, hook, receiver):
    send(hook)
    assert recipient().payload in receiver.got[0].body
    assert json.loads(receiver.got[0].body)["recipients"][0]["payload"] == json.loads(recipient().payload)


def test_two_receivers_with_authorities_of_their_own(send, hook, receiver, tmp_path):
    with Receiver(tmp_path / "other") as other:
        second = changed(hook, url=other.url, ca=other.ca)
        client = WebhookClient(LOOPBACK, timeout=5)
        assert client.send(hook, [recipient()], now=time.time).responses == [ACCEPTED]
        assert client.send(second, [recipient()], now=time.time).responses == [ACCEPTED]
        client.close()


def test_a_cookie_goes_to_nobody(hook, receiver):
    """One client sends to the webhooks of many companies, some below one domain."""
    receiver.says(headers={"Set-Cookie": f"evil={'x' * 3000}; Domain=example.com; Path=/; Secure"})
    client = WebhookClient(LOOPBACK, timeout=5.0, resolve=lambda *_: ["127.0.0.1"])
    try:
        for host in ("a.hooks.example.com", "hooks.example.com", "hooks.example.com", "localhost", "localhost"):
            client.send(at(hook, receiver, host), [recipient()], now=time.time)
    finally:
        client.close()
    assert len(receiver.got) == 4  # the first name is not in the certificate
    assert not [got for got in receiver.got if "cookie" in got.headers]


def test_connections_of_webhooks_that_are_gone_are_closed(receiver, hook, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("worker.providers.webhook.client.time.monotonic", lambda: clock[0])
    client = WebhookClient(LOOPBACK)
    client.send(hook, [recipient()], now=time.time)
    first = client._pool(hook.settings.ca)
    assert len(first.connections) == 1
    assert client._pool(hook.settings.ca) is first
    other = client._pool(None)
    clock[0] += UNUSED / 2
    assert client._pool(None) is other
    clock[0] += UNUSED / 2 + 1
    assert client._pool(None) is other
    assert first.connections == []
    assert client._pool(hook.settings.ca) is not first
    client.close()


def unknown(*_):
    raise OSError


@pytest.mark.parametrize("resolve", [pytest.param(unknown, id="not known here"), lambda *_: ["127.0.0.1"]])
def test_a_proxy_opens_the_tunnel_and_is_asked_for_the_name(send, hook, receiver, resolve):
    def here(host, port):
        return ["127.0.0.1"] if host == "127.0.0.1" else resolve(host, port)

    with TunnelProxy(receiver.port) as proxy:
        there = at(hook, receiver, "hooks.example.com")
        assert send(there, allowed=LOOPBACK, proxy=proxy.url, resolve=here) == [ACCEPTED]
    [head] = proxy.heads
    assert head.startswith(f"CONNECT hooks.example.com:{receiver.port} HTTP/1.1")
    assert f"Basic {base64.b64encode(b'me:open sesame').decode()}" in head


def test_a_proxy_is_asked_for_nothing_that_is_inside(send, hook, receiver):
    with TunnelProxy(receiver.port) as proxy:
        there = at(hook, receiver, "hooks.example.com")
        assert send(there, allowed=(), proxy=proxy.url, resolve=lambda *_: ["10.0.0.7"]) == [
            NoAnswer("not_sent", "forbidden_address")
        ]
    assert proxy.heads == []


def test_a_proxy_that_opens_no_tunnel_is_no_answer(send, hook, receiver):
    with TunnelProxy(receiver.port, says=b"HTTP/1.1 407 Proxy Authentication Required") as proxy:
        assert send(hook, proxy=proxy.url) == [NoAnswer("not_sent", "proxy")]
    assert receiver.connections == 0


def test_the_proxy_is_a_setting():
    url = "http://me:secret@127.0.0.1:3128"
    client: Any = KIND.client(Context(load({"CARILLON_WEBHOOK_PROXY": url}), cast("Any", None), lambda _: None))
    assert client._proxy == url
    client.close()
