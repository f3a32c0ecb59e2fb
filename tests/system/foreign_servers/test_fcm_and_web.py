"""Servers that we did not write stand for FCM and the push services: every answer reaches the message it belongs to.

The server decrypts each push with code of its own, and counts the messages that it got. `--notifications` as of
`test_foreign_servers.py`.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path

import fakeredis
import pytest

from tests.integration.apns.h2_server import H2Server, Request
from tests.system.foreign_servers import servers
from tests.system.foreign_servers.fcm_and_web import (
    BROWSERS,
    HOSTS,
    MIXED,
    fcm_expected,
    fcm_messages,
    numbers_of,
    pushes,
    reply_to,
    web_expected,
)
from tests.system.foreign_servers.servers import Running
from tests.unit.fcm.key_files import account
from tests.unit.web.browser import base64url
from worker.core.model import Answer, Provider, Response
from worker.providers.fcm.access_token import shared_name
from worker.providers.fcm.client import FcmClient
from worker.providers.fcm.settings import FcmSettings
from worker.providers.fleet_tokens import FleetTokens
from worker.providers.web.client import WebClient
from worker.providers.web.settings import WebSettings
from worker.providers.web.vapid import new_key_pair
from worker.sender.route import Endpoint
from worker.sender.sender import Sender
from worker.simulator.certificates import Identity
from worker.state.partition import Keyspace
from worker.state.provider_tokens import ProviderTokens

pytestmark = pytest.mark.timeout(900)

BATCH = 500
THREADS = 4
#: Seconds; nothing here is to reach it.
DEADLINE = 300.0

Send = Callable[[Sequence[int]], list[Response]]


@contextmanager
def h2(_identity: Identity, _directory: Path, _total: int) -> Iterator[Running]:
    """The `h2` library under a few lines of asyncio."""
    seen: set[int] = set()
    counts = {"requests": 0, "distinct": 0, "mixed": 0}

    async def script(request: Request) -> None:
        numbers = numbers_of(request.headers, request.body)
        answer = reply_to(request.headers[":path"], numbers)
        seen.add(numbers[0])
        counts.update(requests=counts["requests"] + 1, distinct=len(seen), mixed=counts["mixed"] + int(answer is MIXED))
        request.answer(answer.status, answer.document, **answer.fields)

    with H2Server(script) as server:
        yield Running(server.endpoint, counts)


def private_keys() -> str:
    """As `fcm_and_web.mjs` reads them."""
    numbers = [one.private.private_numbers().private_value.to_bytes(32, "big") for one in BROWSERS]
    return json.dumps(
        [[base64url(number), base64url(one.keys.auth)] for number, one in zip(numbers, BROWSERS, strict=True)]
    )


node = partial(servers.node, script="fcm_and_web.mjs", arguments=(private_keys(),))


@contextmanager
def fcm(endpoint: Endpoint) -> Iterator[Send]:
    """The fleet has an access token already."""
    settings = FcmSettings(account(), "app", host=endpoint.host, port=endpoint.port, ca=endpoint.ca)
    provider = Provider(7, "demo", "fcm", "production", settings)
    store, now = ProviderTokens(Keyspace(fakeredis.FakeRedis()).fleet), int(time.time())
    store.write(shared_name(settings), f"{now} {now + 3_600} ya29.token", seconds=3_600)
    with closing(FcmClient(Sender(), FleetTokens(store), connections=2, proxy=None)) as client:

        def send(numbers: Sequence[int]) -> list[Response]:
            return client.send(provider, fcm_messages(settings, numbers), now=time.time, deadline=DEADLINE).responses

        yield send


@contextmanager
def web(endpoint: Endpoint) -> Iterator[Send]:
    keys = new_key_pair()
    settings = WebSettings(
        "mailto:push@example.com", keys.public, keys.private, "", endpoint.host, endpoint.port, endpoint.ca
    )
    provider = Provider(7, "demo", "web", "production", settings)
    with closing(WebClient(unseal=lambda text: text, hosts=HOSTS)) as client:
        yield lambda numbers: client.send(provider, pushes(numbers), now=time.time, deadline=DEADLINE).responses


def send_all(send: Send, total: int) -> dict[int, Response]:
    """The response to each number; several batches are in flight at any time."""
    batches = [range(start, min(start + BATCH, total)) for start in range(0, total, BATCH)]
    with ThreadPoolExecutor(THREADS) as threads:
        answered = threads.map(send, batches)
        return {
            number: response
            for batch, responses in zip(batches, answered, strict=True)
            for number, response in zip(batch, responses, strict=True)
        }


@pytest.mark.parametrize("start", [pytest.param(h2, id="h2"), pytest.param(node, id="node")])
@pytest.mark.parametrize(
    ("kind", "expected"), [pytest.param(fcm, fcm_expected, id="fcm"), pytest.param(web, web_expected, id="web")]
)
def test_every_answer_is_matched_to_its_message_and_each_was_sent_once(
    start: servers.Start,
    kind: Callable[[Endpoint], AbstractContextManager[Send]],
    expected: Callable[[int], Answer],
    asked: int | None,
    identity: Identity,
    tmp_path: Path,
) -> None:
    total = asked or 2_000
    with start(identity, tmp_path, total) as server, kind(server.endpoint) as send:
        responses = send_all(send, total)
    assert len(responses) == total
    assert {number: one for number, one in responses.items() if one != expected(number)} == {}
    assert server.account == {"requests": total, "distinct": total, "mixed": 0}
