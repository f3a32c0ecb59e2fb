"""Servers that we did not write answer a mix of statuses, and every answer reaches the notification it belongs to.

`--notifications 100000` sends that many to each; without it each gets as many as an ordinary run has time for.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.integration.apns.pools import apns_pool
from tests.system.foreign_servers import servers
from tests.system.foreign_servers.mix import expected, notification
from worker.core.model import Response
from worker.providers.apns.certificate import tls_context
from worker.providers.apns.httpx_transport import HttpxTransport
from worker.sender.route import Endpoint
from worker.sender.transport import Transport
from worker.simulator.certificates import Identity

pytestmark = pytest.mark.timeout(900)

BATCH = 500
IN_FLIGHT = 8
#: Seconds; nothing here is to reach it.
DEADLINE = 300.0

NGHTTPD = {
    "plain": (),
    "padding and trailers": ("--padding=200", "--trailer=apns-trace: 1"),
    "early answers": ("--early-response",),
    "small windows": ("--window-bits=10", "--connection-window-bits=16", "--max-concurrent-streams=30"),
}


def httpx_transport(endpoint: Endpoint) -> Transport:
    return HttpxTransport(endpoint, tls_context(ca=endpoint.ca), lanes=2)


def pool(endpoint: Endpoint) -> Transport:
    return apns_pool(endpoint, max_connections=2)


async def send_all(transport: Transport, total: int) -> dict[int, Response]:
    """The response to each number; several batches are in flight at any time."""
    responses: dict[int, Response] = {}
    starts = count(0, BATCH)

    async def keep_sending() -> None:
        for start in starts:
            if start >= total:
                return
            numbers = range(start, min(start + BATCH, total))
            batch = [notification(number) for number in numbers]
            answered = await transport.send(batch, authorization="jwt", deadline=DEADLINE)
            responses.update(zip(numbers, answered, strict=True))

    try:
        await asyncio.gather(*(keep_sending() for _ in range(IN_FLIGHT)))
    finally:
        await transport.close()
    return responses


def mismatches(responses: dict[int, Response], rule: Callable[[int], Response]) -> dict[int, Response]:
    return {number: response for number, response in responses.items() if response != rule(number)}


@pytest.mark.parametrize(
    ("start", "make", "ordinary", "most"),
    [
        pytest.param(servers.h2, pool, 1_500, None, id="h2"),
        pytest.param(servers.node, pool, 5_000, None, id="node"),
        pytest.param(servers.granian, pool, 4_000, None, id="granian"),
        pytest.param(servers.node, httpx_transport, 300, 10_000, id="node over httpx"),
        pytest.param(servers.granian, httpx_transport, 300, 10_000, id="granian over httpx"),
    ],
)
def test_every_answer_of_a_foreign_server_is_matched_to_its_request(
    start: servers.Start,
    make: Callable[[Endpoint], Transport],
    ordinary: int,
    most: int | None,
    asked: int | None,
    identity: Identity,
    tmp_path: Path,
) -> None:
    total = min(asked or ordinary, most or 10**9)
    with start(identity, tmp_path, total) as server:
        responses = asyncio.run(send_all(make(server.endpoint), total))
    assert len(responses) == total
    assert mismatches(responses, expected) == {}
    assert server.account["requests"] == total, "each was sent once"
    assert server.account["mixed"] == 0


@pytest.mark.parametrize("options", NGHTTPD.values(), ids=NGHTTPD)
def test_every_answer_of_nghttpd_is_matched_to_its_request(
    options: tuple[str, ...], asked: int | None, identity: Identity, tmp_path: Path
) -> None:
    total = asked or 4_000
    with partial(servers.nghttpd, options=options)(identity, tmp_path, total) as server:
        responses = asyncio.run(send_all(pool(server.endpoint), total))
    assert len(responses) == total
    assert mismatches(responses, servers.of_files) == {}
