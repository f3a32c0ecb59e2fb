"""How a connection is made: several addresses, black holes among them, proxies, and what a TLS server says when it refuses."""

import asyncio
import base64
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, cast

import pytest
from cryptography.hazmat.primitives import serialization as ser

from config.settings import load
from tests.integration.apns.conftest import Run
from tests.integration.apns.h2_server import H2Server
from tests.integration.apns.pools import apns_pool
from tests.integration.apns.raw_server import RawServer, answer_all
from tests.unit.apns.push_certificates import push_certificate
from tests.unit.http2.wire import JWT, notification
from worker.core.model import ACCEPTED, NoAnswer, Provider, Response
from worker.providers.apns import certificate as certificates
from worker.providers.apns.kind import KIND
from worker.providers.apns.sender import ApnsSender
from worker.providers.apns.settings import ApnsSettings, Key
from worker.providers.base import Context
from worker.sender.dial import Dialer, in_turn
from worker.sender.pool import Pool
from worker.sender.proxy import Proxy
from worker.sender.route import Address, Endpoint
from worker.sender.timing import Timing
from worker.simulator.certificates import make_identity

V4, V6 = socket.AF_INET, socket.AF_INET6
NOWHERE = Address(V4, ("127.0.0.1", 1))


class BlackHole:
    """A loopback address that answers no SYN: its queue of connections is full and nobody takes from it."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._listener = socket.socket(V6 if ":" in host else V4)
        self._listener.bind((host, 0))
        self._listener.listen(0)
        self.address = Address(self._listener.family, self._listener.getsockname())
        self._fill = [self._connecting() for _ in range(4)]

    def _connecting(self) -> socket.socket:
        sock = socket.socket(self._listener.family)
        sock.setblocking(False)
        sock.connect_ex(self._listener.getsockname())
        return sock

    def close(self) -> None:
        for sock in (self._listener, *self._fill):
            sock.close()


@pytest.fixture
def hole() -> Iterator[Address]:
    made = BlackHole()
    yield made.address
    made.close()


def has_ipv6() -> bool:
    with socket.socket(V6) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            return False
    return True


needs_ipv6 = pytest.mark.skipif(not socket.has_ipv6 or not has_ipv6(), reason="no IPv6 on loopback")


@pytest.fixture
def hole6() -> Iterator[Address]:
    made = BlackHole("::1")
    yield made.address
    made.close()


def resolving(*addresses: Address) -> Callable[[str, int], Coroutine[Any, Any, list[Address]]]:
    async def resolve(_host: str, _port: int) -> list[Address]:
        return list(addresses)

    return resolve


async def send(pool: Pool, number: int = 0, deadline: float = 20) -> list[Response]:
    return await pool.send([notification(number)], authorization=JWT, deadline=deadline)


def test_families_take_turns_and_addresses_that_did_not_answer_come_last() -> None:
    a, b, c = (Address(V6, (f"::{n}", 443, 0, 0)) for n in (1, 2, 3))
    x, y = (Address(V4, (f"10.0.0.{n}", 443)) for n in (1, 2))
    assert in_turn([a, b, c, x, y]) == [a, x, b, y, c]
    assert in_turn([x, a, b, x]) == [x, a, b]
    assert in_turn([a, b, c, x, y], {a, x}) == [b, y, c, a, x]
    assert in_turn([]) == []


@needs_ipv6
def test_a_first_address_that_does_not_answer_costs_a_quarter_of_a_second_once(
    run: Run, hole: Address, hole6: Address
) -> None:
    async def main() -> tuple[list[Response], float, float]:
        async with RawServer(answer_all) as server:
            port = server.endpoint.port
            resolve = resolving(hole6, hole, Address(V4, ("127.0.0.1", port)))
            pool = apns_pool(server.endpoint, resolve=resolve)
            began = time.monotonic()
            try:
                responses = await send(pool)
                first = time.monotonic() - began
                for connection in list(pool._connections):
                    connection.close("test")
                began = time.monotonic()
                responses += await send(pool, 1)
                return responses, first, time.monotonic() - began
            finally:
                await pool.close(drain=0)

    responses, first, second = run(main())
    assert responses == [ACCEPTED, ACCEPTED]
    assert 0.4 < first < 8, "two addresses were given their time, and no more"
    # The second connection begins with the address that worked; the pause after a short connection is 0.1 s at most.
    assert second < 8


def test_the_address_that_worked_is_tried_first_the_next_time(run: Run, hole: Address) -> None:
    async def main() -> None:
        async with RawServer(answer_all) as server:
            good = Address(V4, ("127.0.0.1", server.endpoint.port))
            dialer = Dialer("h", 1, resolve=resolving(hole, NOWHERE, good))
            for _ in range(2):
                sock, address = await dialer.dial()
                sock.close()
                assert address == good
            assert list(dialer._distrusted) == [NOWHERE, hole]

    run(main())


def test_addresses_that_refuse_are_passed_over_at_once(run: Run) -> None:
    async def main() -> float:
        async with RawServer(answer_all) as server:
            good = Address(V4, ("127.0.0.1", server.endpoint.port))
            dialer = Dialer("h", 1, resolve=resolving(*[Address(V4, ("127.0.0.1", n)) for n in range(1, 12)], good))
            began = time.monotonic()
            sock, _ = await dialer.dial()
            sock.close()
            return time.monotonic() - began

    assert run(main()) < 2.5, "not eleven times a quarter of a second"


@needs_ipv6
def test_where_no_address_answers_the_attempt_ends_in_time_and_leaves_no_socket(
    run: Run, hole: Address, hole6: Address
) -> None:
    async def main() -> list[Response]:
        pool = apns_pool(Endpoint("h"), timing=Timing(connect=0.7), resolve=resolving(hole6, hole))
        try:
            return await send(pool, deadline=1.2)
        finally:
            await pool.close(drain=0)

    assert run(main()) == [NoAnswer("not_sent", "connect: timed out")]


def test_a_look_up_that_hangs_is_not_followed_by_others_and_holds_no_other_host(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, asked, real = threading.Event(), list[str](), socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any, **more: Any) -> Any:
        if host.startswith("silent"):
            asked.append(host)
            released.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def main() -> list[Response]:
        async with RawServer(answer_all) as server:
            quick = Timing(connect=0.05, backoff=0.01, backoff_cap=0.01)
            pools = [apns_pool(Endpoint(f"silent{n}"), timing=quick) for n in range(8)]
            silent = [asyncio.ensure_future(send(pool, deadline=20)) for pool in pools]
            pool = apns_pool(server.endpoint)
            try:
                responses = await send(pool)
                assert {await each == [NoAnswer("not_sent", "connect: timed out")] for each in silent} == {True}
                return responses
            finally:
                released.set()
                for each in (pool, *pools):
                    await each.close(drain=0)

    assert run(main()) == [ACCEPTED]
    assert sorted(asked) == [f"silent{n}" for n in range(8)], "each was asked once"


def test_an_address_whose_tls_fails_is_tried_last(run: Run) -> None:
    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def main() -> list[Response]:
        wrong = await asyncio.start_server(plain, "127.0.0.1", 0)
        async with RawServer(answer_all) as server:
            found = [Address(V4, ("127.0.0.1", wrong.sockets[0].getsockname()[1]))]
            found.append(Address(V4, ("127.0.0.1", server.endpoint.port)))
            pool = apns_pool(server.endpoint, resolve=resolving(*found), timing=Timing(backoff=0.01))
            try:
                return await send(pool)
            finally:
                await pool.close(drain=0)
                wrong.close()

    assert run(main()) == [ACCEPTED]


@needs_ipv6
@pytest.mark.parametrize("transport", ["http2", "httpx"])
def test_an_address_of_IPv6_stands_in_brackets_in_the_authority(transport: str) -> None:
    with H2Server(host="::1") as server:
        settings = ApnsSettings("t", Key("T", "K", "k"), "::1", server.port, server.ca)
        provider = Provider(1, "demo", "apns", "production", settings)
        sender = ApnsSender(transport=transport)  # type: ignore[arg-type]
        try:
            assert sender.send(provider, [notification()], authorization=JWT, deadline=20) == [ACCEPTED]
        finally:
            sender.close(drain=0.5)
    assert server.requests[0].headers[":authority"] == f"[::1]:{server.port}"


class ConnectProxy:
    """An HTTP proxy that opens tunnels for whoever has the password, and notes what it was asked."""

    def __init__(self, password: str | None = None, *, says: bytes | None = None) -> None:
        self.expected = None if password is None else b"Basic " + base64.b64encode(password.encode())
        self.says = says
        self.asked: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        self.asked.append(head[0])
        named = [line.partition(b": ")[2] for line in head if line.lower().startswith(b"proxy-authorization")]
        if self.says is not None or (self.expected is not None and named != [self.expected]):
            writer.write(self.says or b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        host, _, port = head[0].split(b" ")[1].rpartition(b":")
        up_reader, up_writer = await asyncio.open_connection(host.decode().strip("[]"), int(port))
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
            with suppress(ConnectionError):
                await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer))
        finally:
            for each in (writer, up_writer):
                each.transport.abort()
            for each in (writer, up_writer):
                with suppress(ConnectionError):
                    await each.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(65_536):
        writer.write(octets)
        await writer.drain()
    writer.close()


def test_a_proxy_with_a_password_opens_a_tunnel_and_the_password_is_in_no_log(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        async with ConnectProxy("me:open sesame") as proxy, RawServer(answer_all) as server:
            named = Proxy.parse(f"http://me:open%20sesame@127.0.0.1:{proxy.port}")
            pool = apns_pool(server.endpoint, proxy=named)
            try:
                assert await send(pool) == [ACCEPTED]
            finally:
                await pool.close(drain=0)
            assert proxy.asked == [f"CONNECT 127.0.0.1:{server.endpoint.port} HTTP/1.1".encode()]
            assert "sesame" not in repr(named)

    run(main())
    assert "sesame" not in caplog.text
    assert base64.b64encode(b"me:open sesame").decode() not in caplog.text


@pytest.mark.parametrize("transport", ["http2", "httpx"])
def test_the_setting_reaches_either_transport(transport: str) -> None:
    with H2Server() as server:
        proxy = ConnectProxy("me:open sesame")
        server.call(proxy.__aenter__())
        url = f"http://me:open%20sesame@127.0.0.1:{proxy.port}"
        settings = load({"CARILLON_APNS_PROXY": url, "CARILLON_APNS_TRANSPORT": transport, "CARILLON_APNS_IDLE": "900"})
        there = ApnsSettings("t", Key("T", "K", "k"), "127.0.0.1", server.port, server.ca)
        provider = Provider(1, "demo", "apns", "production", there)
        client: Any = KIND.client(Context(settings, cast("Any", None), lambda _: None))
        sender: ApnsSender = client._sender
        try:
            assert sender.send(provider, [notification()], authorization=JWT, deadline=20) == [ACCEPTED]
        finally:
            sender.close(drain=0.5)
            server.call(proxy.__aexit__())
        assert sender.sender._idle == 900
        assert proxy.asked == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1".encode()]


@pytest.mark.parametrize(
    ("says", "cause"),
    [
        pytest.param(None, "proxy: wants another user or password", id="a wrong password"),
        pytest.param(b"HTTP/1.1 403 Forbidden\r\n\r\n", "proxy: refused with 403", id="a rule"),
        pytest.param(b"HTTP/1.0 502 Bad Gateway\r\n\r\nno route", "proxy: not an HTTP proxy", id="a body"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", "proxy: not an HTTP proxy", id="another protocol"),
        pytest.param(b"x" * 20_000, "proxy: not an HTTP proxy", id="no end"),
        pytest.param(b"HTTP/1.1 200", "proxy: ended the connection", id="cut off"),
    ],
)
def test_what_a_proxy_refuses_is_named(run: Run, says: bytes | None, cause: str) -> None:
    async def main() -> list[Response]:
        async with ConnectProxy("me:right", says=says) as proxy:
            pool = apns_pool(
                Endpoint("apns.invalid"),
                proxy=Proxy.parse(f"http://me:wrong@127.0.0.1:{proxy.port}"),
                timing=Timing(backoff=0.01),
            )
            try:
                return await send(pool)
            finally:
                await pool.close(drain=0)

    assert run(main()) == [NoAnswer("not_sent", cause)]


def test_a_proxy_that_is_not_there_is_named_as_one(run: Run) -> None:
    async def main() -> list[Response]:
        pool = apns_pool(Endpoint("apns.invalid"), proxy=Proxy.parse("http://127.0.0.1:1"), timing=Timing(backoff=0.01))
        try:
            return await send(pool)
        finally:
            await pool.close(drain=0)

    assert run(main()) == [NoAnswer("not_sent", "proxy: refused")]


@pytest.mark.parametrize(
    "url", ["https://p:1", "p:3128", "http://", "http://h:0", "http://h:x", "http://[::1", "http://h/p"]
)
def test_a_proxy_url_of_another_kind_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="http://user:password@") as refusal:
        Proxy.parse(url)
    assert refusal.value.__cause__ is refusal.value.__context__ is None


class OpenSslServer:
    """Shakes hands on plain sockets, because asyncio's servers do not send the alert that OpenSSL has written."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with suppress(OSError), sock, self._context.wrap_socket(sock, server_side=True) as secured:
                    while secured.recv(4096):
                        pass


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("client", "alert"),
    [
        pytest.param("expired", "certificate_expired", id="expired"),
        pytest.param("stranger", "unknown_ca", id="of another CA"),
        pytest.param("none", {"TLSv1_2": "handshake_failure", "TLSv1_3": "certificate_required"}, id="none"),
    ],
)
def test_the_alert_of_a_server_that_refuses_our_certificate_is_named(
    run: Run, tmp_path: Path, version: ssl.TLSVersion, client: str, alert: str | dict[str, str]
) -> None:
    expired = push_certificate(days=1 - 400 + 300)
    strange = push_certificate(days=36_500, uid="io.other")
    identity = make_identity(tmp_path, ["127.0.0.1"])
    context = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cadata=expired[0].public_bytes(ser.Encoding.PEM).decode()
    )
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(identity.certificate, identity.key)
    context.set_alpn_protocols(["h2"])
    shown = {"expired": expired, "stranger": strange, "none": None}[client]
    ours = certificates.tls_context(ca=identity.ca.read_text())
    if shown is not None:
        pem = shown[0].public_bytes(ser.Encoding.PEM)
        pem += shown[1].private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
        (tmp_path / "client.pem").write_bytes(pem)
        ours.load_cert_chain(tmp_path / "client.pem")

    async def main(port: int) -> list[Response]:
        pool = apns_pool(Endpoint("127.0.0.1", port), ssl_context=ours, timing=Timing(backoff=0.01))
        try:
            return await send(pool)
        finally:
            await pool.close(drain=0)

    name = alert if isinstance(alert, str) else alert[version.name]
    with OpenSslServer(context) as server:
        assert run(main(server.port)) == [NoAnswer("not_sent", f"tls alert: {name}")]
