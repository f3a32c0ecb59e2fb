"""Where only a proxy gets out, pushes go through it, over HTTP/2 and HTTP/1.1. It is asked for names, and for nothing inside."""

import base64
import socket
import time
from typing import Any, cast

import pytest

from config.settings import load
from tests.integration.apns.h2_server import H2Server
from tests.integration.sender.tunnel_proxy import TunnelProxy
from tests.integration.web.push_service import OldService
from tests.integration.web.test_client import at, at_nobody, encrypted, http2, push
from worker.core.model import ACCEPTED, NoAnswer, Response
from worker.providers.base import Context
from worker.providers.web.advice import advice
from worker.providers.web.client import WebClient
from worker.providers.web.endpoint import SERVICES
from worker.providers.web.http1 import Http1
from worker.providers.web.kind import KIND
from worker.providers.web.outcome import FORBIDDEN_ADDRESS
from worker.providers.web.route import WebRoute
from worker.sender.route import Address
from worker.sender.sender import Sender

HOST = "fcm.googleapis.com"
UNTRUSTED = NoAnswer("not_sent", "connect: certificate not trusted")
WRONG_PASSWORD = b"HTTP/1.1 407 Proxy Authentication Required"


def client(proxy: TunnelProxy) -> WebClient:
    return WebClient(unseal=lambda text: text.removeprefix("sealed:"), hosts=SERVICES, proxy=proxy.url)


def send(proxy: TunnelProxy, server: H2Server | OldService) -> list[Response]:
    web = client(proxy)
    try:
        return web.send(at(server), [push()], now=time.time, deadline=5.0).responses
    finally:
        web.close()


def ask(proxy: str, resolve: Any) -> list[Response | None]:
    """What the real host answers over HTTP/2 and over HTTP/1.1, where this machine resolves names so."""

    async def look_up(host: str, port: int) -> list[Address]:
        return [Address(socket.AF_INET, (address, port)) for address in resolve(host)]

    sender = Sender(proxy=proxy)
    try:
        route = WebRoute(HOST, None, look_up, proxied=True)
        [over_http2] = sender.send(route, [encrypted()], authorization="vapid", deadline=5.0)
    finally:
        sender.close()
    responses: list[Response | None] = [None]
    old = Http1(None, lambda host, _: ["127.0.0.1"] if host == "127.0.0.1" else resolve(host), proxy=proxy)
    old.send(HOST, [encrypted()], authorization="vapid", deadline=5.0, following={}, responses=responses)
    old.close()
    return [over_http2, *responses]


def not_known(_host: str) -> list[str]:
    raise socket.gaierror(socket.EAI_NONAME, "no name server")


def test_a_push_goes_through_the_tunnel_over_http_2() -> None:
    with http2() as server, TunnelProxy(server.port) as proxy:
        assert send(proxy, server) == [ACCEPTED]
    [head] = proxy.heads
    assert head.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1")
    assert f"Basic {base64.b64encode(b'me:open sesame').decode()}" in head
    assert server.requests[0].headers[":authority"] == HOST


def test_a_push_goes_through_the_tunnel_over_http_1_1() -> None:
    with OldService() as server, TunnelProxy(server.port) as proxy:
        assert send(proxy, server) == [ACCEPTED]
    *_, head = proxy.heads
    assert len(proxy.heads) == 2, "HTTP/2 was tried first"
    assert head.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1")
    assert f"Basic {base64.b64encode(b'me:open sesame').decode()}" in head
    assert server.got[0].headers["host"] == HOST


@pytest.mark.parametrize("resolve", [pytest.param(not_known, id="not known here"), lambda _: ["142.250.1.95"]])
def test_the_proxy_is_asked_for_the_name_and_the_certificate_is_the_hosts(resolve: Any) -> None:
    with http2() as server, TunnelProxy(server.port) as proxy:
        assert ask(proxy.url, resolve) == [UNTRUSTED] * 2
    assert {head.partition("\r\n")[0] for head in proxy.heads} == {f"CONNECT {HOST}:443 HTTP/1.1"}
    assert not server.requests


def test_the_proxy_is_asked_for_nothing_that_is_inside() -> None:
    with http2() as server, TunnelProxy(server.port) as proxy:
        assert ask(proxy.url, lambda _: ["10.0.0.7"]) == [NoAnswer("not_sent", FORBIDDEN_ADDRESS)] * 2
    assert proxy.heads == []


def test_a_proxy_that_opens_no_tunnel_is_named() -> None:
    with TunnelProxy(1, says=WRONG_PASSWORD) as proxy:
        answers = ask(proxy.url, not_known)
    answers += ask("http://127.0.0.1:1", not_known)
    for answer in answers:
        assert isinstance(answer, NoAnswer) and answer.sent == "not_sent" and answer.cause.startswith("proxy: ")
        assert "CARILLON_WEB_PROXY" in advice(answer, at_nobody())


def test_the_proof_goes_through_the_proxy_too() -> None:
    with http2() as server, TunnelProxy(server.port) as proxy:
        web = client(proxy)
        assert web.prove(at(server), deadline=5.0).well
        web.close()
        assert len(proxy.heads) == 1
    with http2() as server, TunnelProxy(server.port, says=WRONG_PASSWORD) as proxy:
        web = client(proxy)
        proof = web.prove(at(server), deadline=5.0)
        web.close()
    assert not proof.well
    assert "(proxy: wants another user or password)" in proof.text and "CARILLON_WEB_PROXY" in proof.text


def test_the_proxy_is_a_setting() -> None:
    url = "http://me:secret@127.0.0.1:3128"
    web: Any = KIND.client(Context(load({"CARILLON_WEB_PROXY": url}), cast("Any", None), lambda _: None))
    assert web._proxy == url
    web.close()
