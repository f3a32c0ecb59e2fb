"""What a route asks of its connections: when to PING, which addresses, and what a server may say to an idle one."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.apns.h2_server import H2Server
from tests.integration.apns.pools import apns_pool
from tests.integration.apns.raw_server import Peer, RawServer, accepted, answer_all
from tests.integration.apns.test_dial import ConnectProxy, resolving
from tests.integration.apns.test_pool import PATIENT, send, until
from worker.core.model import ACCEPTED, NoAnswer, Response
from worker.http2 import frames
from worker.http2.frames import ErrorCode
from worker.sender.causes import NO_HTTP2, ConnectError
from worker.sender.pool import Pool
from worker.sender.proxy import Proxy
from worker.sender.route import Address, Endpoint


async def through(server: RawServer, talk: Callable[[Pool], Awaitable[Any]], **options: Any) -> Any:
    async with server:
        pool = apns_pool(server.endpoint, jitter=lambda: 0.0, **options)
        try:
            return await talk(pool)
        finally:
            await pool.close(drain=0)


def goaway(code: ErrorCode, debug: bytes) -> bytes:
    payload = frames.pack_goaway(1, code)[frames.FRAME_HEADER_SIZE :] + debug
    return frames.pack_frame(frames.GOAWAY, 0, 0, payload)


def pings(peer: Peer) -> int:
    return [kind for kind, *_ in peer.frames].count(frames.PING)


@pytest.mark.parametrize(
    ("code", "debug", "pauses"),
    [
        pytest.param(ErrorCode.NO_ERROR, b"session_timed_out", 0, id="an idle close is none"),
        pytest.param(ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings", 1, id="a wish for calm is one"),
    ],
)
def test_a_close_opens_no_connection_before_there_is_work_and_whether_it_is_a_failure(
    code: ErrorCode, debug: bytes, pauses: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(peer: Peer) -> None:
        peer.send(accepted(await peer.request()))
        if peer.number == 0:
            peer.send(goaway(code, debug))
            await peer.end()
        await answer_all(peer)

    server = RawServer(script)

    async def talk(pool: Pool) -> list[Response]:
        first = await send(pool)
        await until(lambda: pool.connections == 0)
        assert (pool._opener.failures, pool._opener.busy) == (pauses, False)
        assert len(server.peers) == 1
        return first + await send(pool, start=1)

    timing = replace(PATIENT, short_life=0)
    assert asyncio.run(through(server, talk, timing=timing)) == [ACCEPTED] * 2
    assert len(server.peers) == 2
    assert not caplog.records, "no alarm"


def test_a_connection_that_may_not_be_asked_again_so_soon_is_left_for_another() -> None:
    async def script(peer: Peer) -> None:
        peer.send(accepted(await peer.request()))
        if peer.number == 0:
            _, _, _, opaque = await peer.until(frames.PING)
            peer.send(frames.pack_ping(opaque, ack=True))
        await answer_all(peer)

    server = RawServer(script)

    async def talk(pool: Pool) -> list[Response]:
        responses = await send(pool)
        for start in (1, 2):
            [connection] = pool._connections
            await until(connection.is_stale)
            responses += await send(pool, start=start)
        return responses

    timing = replace(PATIENT, check_after=0.05, check_timeout=20, ping_gap=300)
    assert asyncio.run(through(server, talk, timing=timing)) == [ACCEPTED] * 3
    assert [len(peer.requests) for peer in server.peers] == [2, 1]
    assert pings(server.peers[0]) == 1


def test_a_silent_connection_that_may_not_be_asked_again_so_soon_takes_nothing_new() -> None:
    async def script(peer: Peer) -> None:
        if peer.number == 0:
            _, _, _, opaque = await peer.until(frames.PING)
            peer.send(frames.pack_ping(opaque, ack=True))
            await peer.end()
        await answer_all(peer)

    server = RawServer(script)

    async def talk(pool: Pool) -> list[Response]:
        responses = await send(pool, deadline=0.3)
        [connection] = pool._connections
        await until(lambda: connection.core.pongs == 1)
        return responses + await send(pool, start=1, deadline=0.3) + await send(pool, start=2)

    timing = replace(PATIENT, ping_timeout=0.1, probe_after=math.inf, idle_ping=math.inf, ping_gap=300)
    lost = NoAnswer("unknown", "deadline")
    assert asyncio.run(through(server, talk, timing=timing)) == [lost, lost, ACCEPTED]
    assert [(pings(peer), len(peer.requests)) for peer in server.peers] == [(1, 2), (0, 1)]


def test_a_server_of_http_1_alone_is_named_so() -> None:
    async def main(endpoint: Endpoint) -> list[Response]:
        pool = apns_pool(endpoint, timing=PATIENT)
        try:
            return await send(pool, 2)
        finally:
            await pool.close(drain=0)

    with H2Server(alpn="http/1.1") as server:
        assert asyncio.run(main(server.endpoint)) == [NoAnswer("not_sent", NO_HTTP2)] * 2


def test_behind_a_proxy_the_address_that_was_looked_up_is_asked_for_and_the_certificate_is_the_hosts() -> None:
    asked: list[bytes] = []

    async def main() -> list[Response]:
        async with ConnectProxy() as proxy, RawServer(answer_all) as server:
            port = server.endpoint.port
            pool = apns_pool(
                replace(server.endpoint, host="localhost"),
                proxy=Proxy.parse(f"http://127.0.0.1:{proxy.port}"),
                resolve=resolving(Address(2, ("127.0.0.1", port))),
            )
            try:
                return await send(pool)
            finally:
                await pool.close(drain=0)
                asked.extend(line.replace(str(port).encode(), b"PORT") for line in proxy.asked)

    assert asyncio.run(main()) == [ACCEPTED]
    assert asked == [b"CONNECT 127.0.0.1:PORT HTTP/1.1"]


@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:1"], ids=["directly", "behind a proxy"])
def test_a_look_up_that_forbids_the_host_says_why(proxy: str | None) -> None:
    async def forbid(_host: str, _port: int) -> list[Address]:
        raise ConnectError("forbidden_address", lasting=True)

    async def main() -> list[Response]:
        tunnel = None if proxy is None else Proxy.parse(proxy)
        pool = apns_pool(Endpoint("push.example"), resolve=forbid, proxy=tunnel, timing=PATIENT)
        try:
            return await send(pool, 3)
        finally:
            await pool.close(drain=0)

    assert asyncio.run(main()) == [NoAnswer("not_sent", "forbidden_address")] * 3
