"""What the pipeline may rely on, whichever transport carries its notifications. The server is built on a foreign library."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from email.utils import formatdate
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as ser

from tests.integration.apns.h2_server import H2Server, Request
from tests.integration.apns.pools import apns_pool
from tests.unit.apns.push_certificates import NOW, p12, push_certificate
from worker.core.model import ACCEPTED, HELD_UP, Answer, Heading, NoAnswer, Notification, Response
from worker.providers.apns.certificate import Certificate, load, tls_context
from worker.providers.apns.httpx_transport import HttpxTransport
from worker.sender.route import Endpoint
from worker.sender.transport import Transport, TransportClosed

Make = Callable[..., Transport]


def httpx_transport(endpoint: Endpoint, certificate: Certificate | None = None) -> Transport:
    return HttpxTransport(endpoint, tls_context(ca=endpoint.ca, certificate=certificate), lanes=1)


def pool(endpoint: Endpoint, certificate: Certificate | None = None) -> Transport:
    return apns_pool(endpoint, ssl_context=tls_context(ca=endpoint.ca, certificate=certificate), max_connections=1)


@pytest.fixture(params=[pytest.param(pool, id="http2"), pytest.param(httpx_transport, id="httpx")])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


def notification(number: int, payload: bytes = b"", **fields: Any) -> Notification:
    return Notification(
        token=f"{number:064x}",
        id=f"6ba7b810-9dad-51d1-80b4-{number:012x}",
        own=payload or b'{"aps":{"alert":"%d"}}' % number,
        heading=Heading("io.team.App", **fields),
    )


def batch(size: int) -> list[Notification]:
    return [notification(number) for number in range(size)]


def through(make: Make, server: H2Server, talk: Callable[[Transport], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    """The result of talking to the server over a fresh transport."""

    async def run() -> Any:
        transport = make(server.endpoint, **options)
        try:
            return await talk(transport)
        finally:
            await transport.close(drain=1.0)

    return asyncio.run(run())


def send(
    make: Make, server: H2Server, notifications: list[Notification], deadline: float = 10.0, **options: Any
) -> Any:
    return through(make, server, lambda t: t.send(notifications, authorization="jwt", deadline=deadline), **options)


def by_number(request: Request) -> int:
    return int(request.token, 16)


STATUSES: list[tuple[int, dict[str, Any] | bytes | None, Answer]] = [
    (200, None, ACCEPTED),
    (410, {"reason": "Unregistered", "timestamp": 1_700_000_000_123}, Answer(410, "Unregistered", 1_700_000_000_123)),
    (400, {"reason": "BadDeviceToken"}, Answer(400, "BadDeviceToken")),
    (429, {"reason": "TooManyRequests"}, Answer(429, "TooManyRequests")),
    (502, b"<html>bad gateway</html>", Answer(502, None)),
    (500, None, Answer(500, None)),
]


def test_every_answer_reaches_its_own_notification(make: Make) -> None:
    async def script(request: Request) -> None:
        number = by_number(request)
        await asyncio.sleep((number * 7 % 13) / 1000)  # answers overtake each other
        status, document, _ = STATUSES[number % len(STATUSES)]
        request.answer(status, document, apns_id=request.headers["apns-id"])

    with H2Server(script) as server:
        responses = send(make, server, batch(300), 30.0)
    assert responses == [STATUSES[number % len(STATUSES)][2] for number in range(300)]
    assert sorted(map(by_number, server.requests)) == list(range(300)), "each was sent once"


def chained(make: Make, server: H2Server, size: int, following: dict[int, int], deadline: float = 10.0) -> Any:
    async def talk(transport: Transport) -> list[Response]:
        return await transport.send(batch(size), authorization="jwt", deadline=deadline, following=following)

    return through(make, server, talk)


def test_what_follows_another_one_is_sent_as_soon_as_that_is_accepted(make: Make) -> None:
    """Sixty devices with five notifications each, whose answers take the longer the earlier they are."""
    answered: set[int] = set()

    async def script(request: Request) -> None:
        number = by_number(request)
        assert number < 60 or number - 60 in answered, "the one before it was answered"
        await asyncio.sleep((300 - number) / 30_000)
        answered.add(number)
        request.answer(200)

    with H2Server(script) as server:
        assert chained(make, server, 300, {n: n + 60 for n in range(240)}, 30.0) == [ACCEPTED] * 300
    assert sorted(map(by_number, server.requests)) == list(range(300)), "each was sent once"


def test_behind_what_is_not_accepted_nothing_is_sent(make: Make) -> None:
    async def script(request: Request) -> None:
        if by_number(request) != 4:  # which is never answered
            request.answer(503 if by_number(request) == 1 else 200)

    with H2Server(script) as server:
        responses = chained(make, server, 8, {0: 1, 1: 2, 2: 3, 4: 5, 6: 7}, 2.0)
    assert responses == [
        ACCEPTED,
        Answer(503),
        HELD_UP,
        HELD_UP,
        NoAnswer("unknown", "deadline"),
        HELD_UP,
        ACCEPTED,
        ACCEPTED,
    ]
    assert sorted(map(by_number, server.requests)) == [0, 1, 4, 6, 7]


def test_an_answer_may_ask_for_patience(make: Make) -> None:
    async def script(request: Request) -> None:
        request.answer(503, {"reason": "ServiceUnavailable"}, retry_after="17")

    with H2Server(script) as server:
        assert send(make, server, batch(1)) == [Answer(503, "ServiceUnavailable", None, 17.0)]


def test_it_may_ask_for_it_with_a_date(make: Make) -> None:
    async def script(request: Request) -> None:
        request.answer(429, {"reason": "TooManyRequests"}, retry_after=formatdate(time.time() + 900, usegmt=True))

    with H2Server(script) as server:
        [answer] = send(make, server, batch(1))
    assert isinstance(answer, Answer)
    assert answer.retry_after is not None
    assert 700 < answer.retry_after < 901


def test_a_request_has_apples_headers_and_the_payload_as_it_was(make: Make) -> None:
    full = notification(
        1,
        push_type="background",
        priority=5,
        expiration=1_800_000_000,
        collapse_id="c0ffee",
        payload='{"é":1}'.encode(),
    )
    bare = notification(2)
    with H2Server() as server:
        assert send(make, server, [full, bare]) == [ACCEPTED, ACCEPTED]
        first, second = sorted(server.requests, key=by_number)
        address = f"127.0.0.1:{server.port}"
    expected = {
        ":method": "POST",
        ":scheme": "https",
        ":authority": address,
        ":path": f"/3/device/{full.token}",
        "authorization": "bearer jwt",
        "apns-id": full.id,
        "apns-topic": "io.team.App",
        "apns-push-type": "background",
        "apns-priority": "5",
        "apns-expiration": "1800000000",
        "apns-collapse-id": "c0ffee",
    }
    assert expected.items() <= first.headers.items()
    assert first.body == full.payload
    assert {"apns-expiration", "apns-collapse-id"}.isdisjoint(second.headers)


def test_no_token_text_or_credential_is_logged(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    async def script(request: Request) -> None:
        if by_number(request) % 2:
            request.answer(400, {"reason": "BadDeviceToken"})
        else:
            request.reset(2)

    secret = [notification(n, payload=b'{"aps":{"alert":"a-secret"}}') for n in range(0xABCDEF00, 0xABCDEF06)]
    with H2Server(script) as server, caplog.at_level(logging.DEBUG):
        through(make, server, lambda t: t.send(secret, authorization="the-jwt", deadline=5))
    logged = "".join(record.getMessage() for record in caplog.records if record.threadName != "h2-server")
    assert not any(word in logged for word in ("abcdef0", "a-secret", "the-jwt"))


@pytest.mark.parametrize("collapse_id", [" match-7", "match-7 ", " ", "a\nb", "\ud800"])
def test_a_header_that_cannot_be_written_is_named_and_holds_nobody(make: Make, collapse_id: str) -> None:
    with H2Server() as server:
        responses = send(make, server, [notification(0, collapse_id=collapse_id), *batch(3)[1:]])
    assert responses == [NoAnswer("unwritable", "collapse id not allowed in a header"), ACCEPTED, ACCEPTED]
    assert len(server.requests) == 2


def test_nothing_to_send_is_no_trouble(make: Make) -> None:
    with H2Server() as server:
        assert send(make, server, []) == []
    assert server.peers == []


def test_a_connection_is_kept_between_batches(make: Make) -> None:
    async def twice(transport: Transport) -> list[Response]:
        first = await transport.send(batch(5), authorization="jwt", deadline=10)
        return first + await transport.send(batch(5), authorization="jwt", deadline=10)

    with H2Server() as server:
        assert through(make, server, twice) == [ACCEPTED] * 10
        assert len(server.peers) == 1


def test_after_an_answer_about_the_connection_the_next_try_comes_over_another(make: Make) -> None:
    async def script(request: Request) -> None:
        first = request.peer is server.peers[0]
        request.answer(503 if first else 200, {"reason": "Shutdown"} if first else None)

    async def talk(transport: Transport) -> list[Response]:
        return [
            *await transport.send([notification(1)], authorization="jwt", deadline=10),
            *await transport.send([notification(1)], authorization="jwt", deadline=10),
        ]

    with H2Server(script) as server:
        assert through(make, server, talk) == [Answer(503, "Shutdown"), ACCEPTED]
    assert len(server.peers) == 2


def test_one_stream_is_used_until_the_server_allows_more(make: Make) -> None:
    async def script(request: Request) -> None:
        request.answer()
        if by_number(request) == 20:
            request.peer.allow(50)

    with H2Server(script, streams=1) as server:
        assert send(make, server, batch(20)) == [ACCEPTED] * 20
        assert [peer.most_open for peer in server.peers] == [1]


def test_a_stream_that_is_never_answered_ends_at_its_deadline_and_holds_nobody(make: Make) -> None:
    async def script(request: Request) -> None:
        if by_number(request) != 3:
            request.answer()

    async def talk(transport: Transport) -> list[Response]:
        first = await transport.send(batch(6), authorization="jwt", deadline=0.6)
        second = await transport.send([notification(9)], authorization="jwt", deadline=10)
        return first + second

    with H2Server(script) as server:
        *responses, after = through(make, server, talk)
    assert responses[3] == NoAnswer("unknown", "deadline")
    assert responses[:3] + responses[4:] == [ACCEPTED] * 5
    assert after == ACCEPTED


def test_a_stream_limit_lowered_below_what_is_in_flight_hangs_nothing(make: Make) -> None:
    async def script(request: Request) -> None:
        if len(request.peer.server.requests) == 10 and len(request.peer.server.peers) == 1:
            request.peer.allow(1)
            await asyncio.sleep(0.05)
        elif len(request.peer.server.requests) < 10:
            await asyncio.sleep(0.2)
        request.answer()

    async def talk(transport: Transport) -> tuple[list[Response], list[Response]]:
        first = await transport.send(batch(40), authorization="jwt", deadline=2.0)
        return first, await transport.send(batch(3), authorization="jwt", deadline=10)

    with H2Server(script) as server:
        first, after = through(make, server, talk)
    assert len(first) == 40
    assert {r for r in first if r != ACCEPTED} <= {NoAnswer("unknown", "deadline"), NoAnswer("not_sent", "deadline")}
    assert after == [ACCEPTED] * 3


def test_what_was_waiting_at_its_deadline_was_not_sent(make: Make) -> None:
    async def script(request: Request) -> None:
        await asyncio.sleep(30)

    with H2Server(script, streams=1) as server:
        responses = send(make, server, batch(5), 0.6)
        reached = {by_number(request) for request in server.requests}
    assert all(r.cause == "deadline" for r in responses)
    assert {number for number, r in enumerate(responses) if r.sent == "unknown"} == reached


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(7, "not_sent", id="REFUSED_STREAM was not processed"),
        pytest.param(2, "unknown", id="INTERNAL_ERROR may have been"),
        pytest.param(8, "unknown", id="CANCEL may have been"),
    ],
)
def test_a_reset_stream_concerns_only_its_own_notification(make: Make, code: int, expected: str) -> None:
    async def script(request: Request) -> None:
        if by_number(request) == 1:
            request.reset(code)
        else:
            request.answer()

    with H2Server(script) as server:
        responses = send(make, server, batch(3))
        assert len(server.peers) == 1
    assert [responses[0], responses[2]] == [ACCEPTED] * 2
    assert responses[1].sent == expected


def test_a_goaway_that_processed_nothing_says_not_sent_with_apples_reason(make: Make) -> None:
    async def script(request: Request) -> None:
        request.peer.goaway(0, {"reason": "BadCertificateEnvironment"})

    with H2Server(script) as server:
        responses = send(make, server, batch(1))
    assert responses == [NoAnswer("not_sent", "BadCertificateEnvironment")]


def test_nothing_above_the_last_stream_of_a_goaway_is_lost_or_counted_as_sent(make: Make) -> None:
    async def script(request: Request) -> None:
        server = request.peer.server
        if request.peer is not server.peers[0]:
            request.answer()
        elif request.stream == 11:
            request.peer.goaway(5)

    with H2Server(script) as server:
        responses = send(make, server, batch(10), 1.5)
        below = {by_number(r) for r in server.requests if r.peer is server.peers[0] and r.stream <= 5}
    assert len(below) == 3
    for number, response in enumerate(responses):
        if number in below:
            assert response.sent == "unknown"
        else:
            assert response == ACCEPTED or response.sent == "not_sent"


def test_a_connection_lost_amid_leaves_the_outcome_unknown_and_the_next_batch_unharmed(make: Make) -> None:
    async def script(request: Request) -> None:
        if request.peer is request.peer.server.peers[0]:
            request.peer.writer.transport.abort()
        else:
            request.answer()

    async def talk(transport: Transport) -> tuple[list[Response], list[Response]]:
        first = await transport.send(batch(1), authorization="jwt", deadline=5)
        return first, await transport.send(batch(3), authorization="jwt", deadline=5)

    with H2Server(script) as server:
        first, after = through(make, server, talk)
    assert [(type(r), r.sent) for r in first] == [(NoAnswer, "unknown")]
    assert after == [ACCEPTED] * 3


def test_a_server_that_is_not_there_was_not_sent_to(make: Make) -> None:
    with H2Server() as server:
        gone = server.endpoint

    async def run() -> list[Response]:
        transport = make(gone)
        try:
            return await transport.send(batch(3), authorization="jwt", deadline=5)
        finally:
            await transport.close()

    assert [r.sent for r in asyncio.run(run())] == ["not_sent"] * 3  # type: ignore[union-attr]


def test_a_server_that_is_not_trusted_is_not_sent_to(make: Make) -> None:
    with H2Server() as other:
        strange_ca = other.ca

    with H2Server() as server:
        server.ca = strange_ca
        assert [r.sent for r in send(make, server, batch(2), 5.0)] == ["not_sent"] * 2
        assert server.requests == []


def test_a_server_without_http2_is_not_sent_to(make: Make) -> None:
    with H2Server(alpn="http/1.1") as server:
        assert [r.sent for r in send(make, server, batch(2), 3.0)] == ["not_sent"] * 2
        assert server.requests == []


def test_a_client_certificate_stands_in_for_the_token(make: Make) -> None:
    pair = push_certificate()
    certificate = load(p12(pair), None, now=datetime(NOW.year, 1, 1, tzinfo=NOW.tzinfo))
    with H2Server(client_ca=pair[0].public_bytes(ser.Encoding.PEM).decode()) as server:
        responses = through(
            make, server, lambda t: t.send(batch(2), authorization=None, deadline=5), certificate=certificate
        )
        shown = server.peers[0].certificate
    assert responses == [ACCEPTED] * 2
    assert shown == pair[0].public_bytes(ser.Encoding.DER)
    assert all("authorization" not in request.headers for request in server.requests)


def test_closing_waits_for_what_is_in_flight_and_takes_nothing_new(make: Make) -> None:
    async def script(request: Request) -> None:
        await asyncio.sleep(0.2)
        request.answer()

    async def talk(transport: Transport) -> list[Response]:
        sending = asyncio.create_task(transport.send(batch(4), authorization="jwt", deadline=10))
        await asyncio.to_thread(server.wait_for, 4)
        await transport.close(drain=5.0)
        with pytest.raises(TransportClosed):
            await transport.send(batch(1), authorization="jwt", deadline=1)
        return await sending

    with H2Server(script) as server:
        assert through(make, server, talk) == [ACCEPTED] * 4


def test_closing_waits_no_longer_than_it_may(make: Make) -> None:
    async def script(request: Request) -> None:
        await asyncio.sleep(30)

    async def talk(transport: Transport) -> list[Response]:
        sending = asyncio.create_task(transport.send(batch(2), authorization="jwt", deadline=20))
        await asyncio.to_thread(server.wait_for, 2)
        await transport.close(drain=0.1)
        return await sending

    with H2Server(script) as server:
        assert [r.sent for r in through(make, server, talk)] == ["unknown"] * 2


def test_several_batches_at_once_get_their_own_answers(make: Make) -> None:
    async def script(request: Request) -> None:
        await asyncio.sleep(0.01)
        number = by_number(request)
        request.answer(*STATUSES[number % len(STATUSES)][:2])

    async def talk(transport: Transport) -> list[list[Response]]:
        batches = [[notification(number) for number in range(start, start + 40)] for start in range(0, 160, 40)]
        return await asyncio.gather(*(transport.send(each, authorization="jwt", deadline=20) for each in batches))

    with H2Server(script) as server:
        results = through(make, server, talk)
    assert [r for each in results for r in each] == [STATUSES[n % len(STATUSES)][2] for n in range(160)]
