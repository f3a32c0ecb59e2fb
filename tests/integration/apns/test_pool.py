"""The pool over real TLS: which connection, how many, how long, and what becomes of a notification when one dies."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.apns.conftest import Run
from tests.integration.apns.pools import apns_pool
from tests.integration.apns.raw_server import Peer, RawServer, accepted, answer_all
from tests.unit.http2.wire import GREETING, JWT, notification, rejection
from worker.core.model import ACCEPTED, Answer, NoAnswer, Notification, Response
from worker.http2 import frames
from worker.sender.call import Call
from worker.sender.pool import Pool
from worker.sender.route import Endpoint
from worker.sender.timing import Timing
from worker.sender.transport import TransportClosed
from worker.simulator import Settings, SimulatorThread

QUICK = Timing(
    connect=5,
    greeting=0.1,
    probe_after=0.1,
    ping_timeout=0.1,
    grow_after=0.01,
    backoff=0.01,
    backoff_cap=0.05,
    goodbye=0.2,
)
PATIENT = replace(QUICK, greeting=30, probe_after=30, ping_timeout=30)


def notifications(count: int, start: int = 0, **changes: Any) -> list[Notification]:
    return [notification(number, **changes) for number in range(start, start + count)]


async def through(
    server: RawServer, talk: Callable[[Pool], Awaitable[Any]], *, timing: Timing = PATIENT, **options: Any
) -> Any:
    async with server:
        pool = apns_pool(server.endpoint, timing=timing, jitter=lambda: 0.0, **options)
        try:
            return await talk(pool)
        finally:
            await pool.close(drain=0)


async def send(
    pool: Pool, count: int = 1, *, deadline: float = 10, jwt: str | None = JWT, **more: Any
) -> list[Response]:
    return await pool.send(notifications(count, **more), authorization=jwt, deadline=deadline)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


def test_thousands_of_notifications_of_many_calls_share_one_connection(run: Run) -> None:
    server = RawServer(answer_all, greeting=GREETING + frames.pack_window_update(0, 2**30))

    async def talk(pool: Pool) -> list[list[Response]]:
        await send(pool)
        return await asyncio.gather(*(send(pool, 700, start=number * 700) for number in range(5)))

    assert run(through(server, talk, max_connections=1)) == [[ACCEPTED] * 700] * 5
    assert len(server.peers) == 1


@pytest.mark.parametrize("max_waiting", [10_000, 100], ids=["in the queue", "at the door"])
def test_a_call_of_few_requests_does_not_wait_behind_large_ones(run: Run, max_waiting: int) -> None:
    """Of two at a time the large calls have hundreds in line."""
    ended: list[str] = []

    async def named(name: str, sending: Awaitable[Any]) -> None:
        await sending
        ended.append(name)

    async def talk(pool: Pool) -> None:
        await send(pool)
        large = [named("large", send(pool, 200, start=number * 200)) for number in (1, 2, 3)]
        few = [named(name, send(pool, 2, start=start)) for name, start in (("first", 1000), ("second", 1010))]
        await asyncio.gather(*large, *few)

    server = RawServer(answer_all, greeting=frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 2}))
    run(through(server, talk, max_connections=1, max_waiting=max_waiting))
    assert ended == ["first", "second", "large", "large", "large"]


def test_a_large_call_that_has_waited_for_long_is_passed_no_more(run: Run) -> None:
    async def talk() -> list[list[bool]]:
        loop = asyncio.get_running_loop()

        def call(requests: int, came: float) -> Call:
            made = Call(notifications(requests), JWT, ends=loop.time() + 30)
            made.came = came
            return made

        old, new, few = call(500, 0.0), call(500, 8.0), call(50, 10.0)
        return [[one.goes_before(other) for other in (old, new, few)] for one in (few, new)]

    assert run(talk()) == [[False, True, False], [False, False, False]]


def test_what_goaway_leaves_out_is_sent_again_on_another_connection(run: Run) -> None:
    async def script(peer: Peer) -> None:
        if peer.number == 0:
            for _ in range(5):
                await peer.request()
            peer.send(frames.pack_goaway(3, 0) + accepted(1) + accepted(3))
            await peer.end()
        await answer_all(peer)

    server = RawServer(script)
    assert run(through(server, lambda pool: send(pool, 5))) == [ACCEPTED] * 5
    assert [len(peer.requests) for peer in server.peers] == [5, 3]


def test_a_refused_stream_is_sent_again_a_few_times_only(run: Run) -> None:
    async def script(peer: Peer) -> None:
        while True:
            peer.send(frames.pack_rst_stream(await peer.request(), frames.ErrorCode.REFUSED_STREAM))

    server = RawServer(script)
    assert run(through(server, lambda pool: send(pool))) == [NoAnswer("not_sent", "refused_stream")]
    assert len(server.peers[0].requests) == 4


def test_a_reason_about_the_credential_is_given_back_at_once(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.send(frames.pack_goaway(0, 0, b'{"reason":"BadCertificateEnvironment"}'))
        await peer.end()

    server = RawServer(script)
    assert run(through(server, lambda pool: send(pool))) == [NoAnswer("not_sent", "BadCertificateEnvironment")]
    assert len(server.peers) == 1


def test_a_connection_that_dies_leaves_unknown_what_it_was_given_and_the_rest_is_sent_by_another(run: Run) -> None:
    async def script(peer: Peer) -> None:
        if peer.number == 0:
            for _ in range(3):
                await peer.request()
            peer.writer.transport.abort()
            return
        await answer_all(peer)

    server = RawServer(script, greeting=frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 3}))
    responses = run(through(server, lambda pool: send(pool, 5)))
    assert [each.sent for each in responses if isinstance(each, NoAnswer)] == ["unknown"] * 3
    assert responses[3:] == [ACCEPTED] * 2


def test_an_expired_provider_token_closes_the_connection_after_its_other_answers(run: Run) -> None:
    async def script(peer: Peer) -> None:
        if peer.number == 0:
            first, second = await peer.request(), await peer.request()
            peer.send(rejection(first, 403, "ExpiredProviderToken") + accepted(second))
            await peer.until(frames.GOAWAY)
            return
        await answer_all(peer)

    async def talk(pool: Pool) -> list[Response]:
        return await send(pool, 2) + await send(pool, 1)

    server = RawServer(script)
    assert run(through(server, talk)) == [Answer(403, "ExpiredProviderToken"), ACCEPTED, ACCEPTED]
    assert len(server.peers) == 2


def test_a_provider_token_that_every_connection_calls_expired_is_not_carried_from_one_to_the_next(run: Run) -> None:
    async def script(peer: Peer) -> None:
        peer.send(rejection(await peer.request(), 403, "ExpiredProviderToken"))
        await peer.end()

    server = RawServer(script, greeting=frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 1}))
    responses = run(through(server, lambda pool: send(pool, 50)))
    assert responses[:2] == [Answer(403, "ExpiredProviderToken")] * 2
    assert responses[2:] == [NoAnswer("not_sent", "ExpiredProviderToken")] * 48
    assert len(server.peers) <= 3


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (503, "Shutdown"),
        (400, "IdleTimeout"),
        (403, "UnrelatedKeyIdInToken"),
        (429, "TooManyProviderTokenUpdates"),
        (403, "ExpiredProviderToken"),
    ],
)
def test_an_answer_about_the_connection_ends_it_and_the_next_try_comes_over_another(
    run: Run, status: int, reason: str
) -> None:
    async def script(peer: Peer) -> None:
        if peer.number == 0:
            peer.send(accepted(await peer.request()))
            peer.send(rejection(await peer.request(), status, reason))
            await peer.end()
        await answer_all(peer)

    async def talk(pool: Pool) -> list[Response]:
        return await send(pool) + await send(pool, start=1) + await send(pool, start=1)

    server = RawServer(script)
    assert run(through(server, talk)) == [ACCEPTED, Answer(status, reason), ACCEPTED]
    assert [len(peer.requests) for peer in server.peers] == [2, 1]


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("ends", ["deadline", "reset", "refused"])
def test_what_a_living_connection_left_without_an_answer_is_tried_on_another(
    run: Run, ends: str, connections: int
) -> None:
    async def script(peer: Peer) -> None:
        while True:
            stream_id = await peer.request()
            # The first notification fares ill on the first connection, and only there. A refused one is sent four times at once.
            if peer.number or len(peer.requests) > (4 if ends == "refused" else 1):
                peer.send(accepted(stream_id))
            elif ends != "deadline":
                code = frames.ErrorCode.INTERNAL_ERROR if ends == "reset" else frames.ErrorCode.REFUSED_STREAM
                peer.send(frames.pack_rst_stream(stream_id, code))

    async def talk(pool: Pool) -> list[Response]:
        first = await send(pool, deadline=0.3 if ends == "deadline" else 10)
        return first + await send(pool, 1) + await send(pool, 3)

    server = RawServer(script)
    first, *rest = run(through(server, talk, max_connections=connections))
    assert isinstance(first, NoAnswer)
    assert rest == [ACCEPTED] * 4
    assert len(server.peers[1].requests) >= 1, "the second try came over another connection"
    assert len(server.peers) == 2


def test_where_no_other_connection_can_be_had_the_next_try_takes_the_one_there_is(run: Run) -> None:
    async def script(peer: Peer) -> None:
        peer.send(frames.pack_rst_stream(await peer.request(), frames.ErrorCode.INTERNAL_ERROR))
        server.close()
        await answer_all(peer)

    async def talk(pool: Pool) -> list[Response]:
        return await send(pool) + await send(pool)

    server = RawServer(script)
    assert run(through(server, talk)) == [NoAnswer("unknown", "stream reset: INTERNAL_ERROR"), ACCEPTED]


def test_at_the_deadline_what_is_in_flight_is_unknown_what_waits_was_not_sent_and_the_slots_are_free(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.request()
        await peer.until(frames.RST_STREAM)
        await answer_all(peer)

    async def talk(pool: Pool) -> list[Response]:
        return await send(pool, 4, deadline=0.2) + await send(pool, 2, start=4)

    server = RawServer(script, greeting=frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 2}))
    responses = run(through(server, talk))
    assert responses[:2] == [NoAnswer("unknown", "deadline")] * 2
    assert responses[2:4] == [NoAnswer("not_sent", "deadline")] * 2
    assert responses[4:] == [ACCEPTED] * 2


@pytest.mark.parametrize("low", [0, 1])
def test_a_stream_limit_lowered_to_almost_nothing_ends_at_the_deadline(run: Run, low: int) -> None:
    async def script(peer: Peer) -> None:
        stream_id = await peer.request()
        peer.send(frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: low}) + accepted(stream_id))
        await peer.end()

    async def talk(pool: Pool) -> list[Response]:
        await send(pool)
        return await send(pool, 3, deadline=0.2)

    responses = run(through(RawServer(script), talk, max_connections=1))
    assert [each.sent for each in responses] == ["unknown"] * low + ["not_sent"] * (3 - low)


def test_a_cancelled_call_frees_its_streams(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.until(frames.RST_STREAM)
        await answer_all(peer)

    async def talk(pool: Pool) -> list[Response]:
        call = asyncio.ensure_future(send(pool))
        await until(lambda: bool(server.peers and server.peers[0].requests))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return await send(pool, start=1)

    server = RawServer(script, greeting=frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 1}))
    assert run(through(server, talk)) == [ACCEPTED]


def test_a_closed_window_is_cured_by_more_connections_up_to_the_bound(run: Run) -> None:
    async def script(peer: Peer) -> None:
        """Answers, but never opens its window of 65,535 octets again."""
        await answer_all(peer)

    server = RawServer(script)

    async def talk(pool: Pool) -> list[Response]:
        await send(pool)
        return await send(pool, 120, deadline=1, payload=bytes(2_000))

    responses = run(through(server, talk, max_connections=3))
    assert len(server.peers) == 3
    # 32 whole payloads fit through each window, one of them less the first notification's few octets.
    assert responses.count(ACCEPTED) == 96
    assert {each.sent for each in responses if isinstance(each, NoAnswer)} == {"not_sent"}


def test_full_streams_are_cured_by_more_connections(run: Run) -> None:
    async def script(peer: Peer) -> None:
        first = await peer.request()
        peer.send(accepted(first))
        streams = [await peer.request() for _ in range(2)]
        await until(lambda: len(server.peers) == 3)
        peer.send(b"".join(accepted(stream_id) for stream_id in streams))
        await answer_all(peer)

    async def talk(pool: Pool) -> list[Response]:
        await send(pool)
        return await send(pool, 20)

    server = RawServer(script, greeting=frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 2}))
    assert run(through(server, talk, max_connections=3)) == [ACCEPTED] * 20


def test_no_second_connection_is_opened_before_the_first_has_answered(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.2)
        peer.send(frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 100}) + accepted(1))
        await answer_all(peer)

    server = RawServer(script, greeting=frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 1}))
    assert run(through(server, lambda pool: send(pool, 30))) == [ACCEPTED] * 30
    assert len(server.peers) == 1


def test_a_server_that_hangs_up_at_once_is_not_stormed(run: Run) -> None:
    async def script(peer: Peer) -> None:
        peer.writer.transport.abort()

    server = RawServer(script, greeting=b"")
    timing = replace(PATIENT, backoff=0.1, backoff_cap=10)
    responses = run(through(server, lambda pool: send(pool, 100, deadline=0.8), timing=timing, max_connections=8))
    assert {each.sent for each in responses} == {"not_sent"}
    # At 0, 0.05, 0.15, 0.35 and 0.75 s with half of each pause.
    assert 2 <= len(server.peers) <= 6


@pytest.mark.parametrize("answers", [1, 5])
def test_a_server_that_answers_a_little_and_hangs_up_is_not_stormed_either(run: Run, answers: int) -> None:
    async def script(peer: Peer) -> None:
        for _ in range(answers):
            peer.send(accepted(await peer.request()))
        peer.send(frames.pack_goaway(2 * answers - 1, 0))

    server = RawServer(script, greeting=frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 1}))
    timing = replace(PATIENT, backoff=0.1, backoff_cap=10)
    responses = run(through(server, lambda pool: send(pool, 100, deadline=1.5), timing=timing, max_connections=8))
    # One at once in place of the first that says goodbye; then with pauses of 0.05, 0.1, 0.2, 0.4 and 0.8 s.
    assert 2 <= len(server.peers) <= 8
    assert responses.count(ACCEPTED) >= 2 * answers


def test_connections_that_are_short_and_full_of_answers_follow_each_other_quickly(run: Run) -> None:
    async def script(peer: Peer) -> None:
        for _ in range(100):
            peer.send(accepted(await peer.request()))
        peer.send(frames.pack_goaway(199, 0))

    server = RawServer(script, greeting=frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 100}))
    timing = replace(PATIENT, backoff=0.01, backoff_cap=30)
    assert run(through(server, lambda pool: send(pool, 1_000, deadline=30), timing=timing)) == [ACCEPTED] * 1_000
    assert len(server.peers) >= 10


def test_nobody_there_is_known_after_a_few_attempts_not_at_the_deadline(run: Run) -> None:
    async def main() -> list[Response]:
        server = RawServer(answer_all)
        async with server:
            endpoint = server.endpoint
        pool = apns_pool(endpoint, timing=PATIENT)
        try:
            return await send(pool, 2, deadline=30)
        finally:
            await pool.close()

    assert run(main()) == [NoAnswer("not_sent", "connect: refused")] * 2


def test_a_host_without_an_address_is_not_sent_to(run: Run) -> None:
    async def main() -> list[Response]:
        server = RawServer(answer_all)
        async with server:
            pool = apns_pool(replace(server.endpoint, host="no-such-host.invalid"), timing=PATIENT)
            try:
                return await send(pool)
            finally:
                await pool.close()

    assert run(main()) == [NoAnswer("not_sent", "connect: host not found")]


def test_after_a_quiet_while_a_forgotten_connection_costs_one_look_and_nothing_is_lost_or_doubled(run: Run) -> None:
    async def script(peer: Peer) -> None:
        peer.send(accepted(await peer.request()))
        if peer.number == 0:
            await peer.end()
        await answer_all(peer)

    async def talk(pool: Pool) -> list[Response]:
        first = await send(pool)
        await asyncio.sleep(0.1)
        return first + await send(pool, 3, start=1)

    server = RawServer(script)
    timing = replace(PATIENT, check_after=0.05, check_timeout=0.2)
    assert run(through(server, talk, timing=timing)) == [ACCEPTED] * 4
    # The forgotten connection was asked and given nothing.
    assert [len(peer.requests) for peer in server.peers] == [1, 3]
    assert [kind for kind, *_ in server.peers[0].frames].count(frames.PING) == 1


def test_after_a_quiet_while_a_living_connection_answers_a_ping_and_goes_on(run: Run) -> None:
    async def script(peer: Peer) -> None:
        peer.send(accepted(await peer.request()))
        _, _, _, opaque = await peer.until(frames.PING)
        assert len(peer.requests) == 1, "asked before it is given anything"
        await asyncio.sleep(0.3)
        peer.send(frames.pack_ping(opaque, ack=True))
        await answer_all(peer)

    async def talk(pool: Pool) -> list[Response]:
        first = await send(pool)
        await asyncio.sleep(0.1)
        return first + await send(pool, 3, start=1)

    server = RawServer(script)
    timing = replace(PATIENT, check_after=0.05, check_timeout=20)
    assert run(through(server, talk, timing=timing)) == [ACCEPTED] * 4
    assert len(server.peers) == 1, "none is opened meanwhile"


def test_a_silent_connection_is_asked_and_counts_as_dead_without_an_answer(run: Run) -> None:
    async def script(peer: Peer) -> None:
        if peer.number == 0:
            await peer.request()
            await peer.until(frames.PING)
            await peer.end()
        await answer_all(peer)

    async def talk(pool: Pool) -> list[Response]:
        return await send(pool, deadline=30) + await send(pool)

    server = RawServer(script)
    assert run(through(server, talk, timing=QUICK)) == [NoAnswer("unknown", "server is silent"), ACCEPTED]


def test_a_server_that_never_sends_its_settings_is_left_for_another(run: Run) -> None:
    async def script(peer: Peer) -> None:
        if peer.number == 0:
            await peer.end()
        peer.send(GREETING)
        await answer_all(peer)

    server = RawServer(script, greeting=b"")
    assert run(through(server, lambda pool: send(pool), timing=QUICK)) == [ACCEPTED]
    assert len(server.peers) == 2


def test_a_connection_that_is_never_allowed_a_stream_is_not_the_last_word(run: Run) -> None:
    async def script(peer: Peer) -> None:
        if peer.number:
            peer.send(GREETING)
        await answer_all(peer)

    async def talk(pool: Pool) -> list[Response]:
        early = await send(pool, deadline=0.15)
        assert early == [NoAnswer("not_sent", "deadline")]
        return await send(pool)

    server = RawServer(script, greeting=frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 0}))
    assert run(through(server, talk, timing=replace(QUICK, ping_timeout=5))) == [ACCEPTED]


def test_a_server_that_keeps_asking_and_reads_nothing_is_left(run: Run) -> None:
    async def script(peer: Peer) -> None:
        peer.send(accepted(await peer.request()))
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer.send(frames.pack_ping(bytes(8)) * 20_000)
        await asyncio.Event().wait()

    async def talk(pool: Pool) -> None:
        await send(pool)
        await until(lambda: pool.connections == 0)

    run(through(RawServer(script), talk))


def test_a_deadline_on_a_silent_connection_sends_the_retry_over_another(run: Run) -> None:
    async def script(peer: Peer) -> None:
        if peer.number == 0:
            await peer.request()
            await peer.until(frames.PING)
            await peer.end()
        await answer_all(peer)

    async def talk(pool: Pool) -> list[Response]:
        return await send(pool, deadline=0.3) + await send(pool)

    timing = replace(QUICK, probe_after=60)
    server = RawServer(script)
    assert run(through(server, talk, timing=timing)) == [NoAnswer("unknown", "deadline"), ACCEPTED]
    assert len(server.peers) == 2


def test_a_slow_server_that_answers_pings_is_left_alone(run: Run) -> None:
    async def script(peer: Peer) -> None:
        stream_id = await peer.request()
        for _ in range(3):
            *_, opaque = await peer.until(frames.PING)
            peer.send(frames.pack_ping(opaque, ack=True))
        peer.send(accepted(stream_id))
        await peer.end()

    assert run(through(RawServer(script), lambda pool: send(pool), timing=QUICK)) == [ACCEPTED]


def test_an_idle_connection_is_kept_alive_by_pings(run: Run) -> None:
    async def script(peer: Peer) -> None:
        peer.send(accepted(await peer.request()))
        for _ in range(3):
            *_, opaque = await peer.until(frames.PING)
            peer.send(frames.pack_ping(opaque, ack=True))
        await answer_all(peer)

    async def talk(pool: Pool) -> list[Response]:
        await send(pool)
        await until(lambda: [kind for kind, *_ in server.peers[0].frames].count(frames.PING) >= 3)
        return await send(pool)

    server = RawServer(script)
    assert run(through(server, talk, timing=replace(PATIENT, ping_timeout=5, idle_ping=0.05))) == [ACCEPTED]
    assert len(server.peers) == 1


def test_a_server_that_reads_nothing_holds_nobody_beyond_the_deadline(run: Run) -> None:
    async def script(peer: Peer) -> None:
        peer.send(accepted(await peer.request()) + frames.pack_window_update(0, 2**30))
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async def talk(pool: Pool) -> list[Response]:
        await send(pool)
        return await send(pool, 5_000, deadline=0.5, payload=bytes(4_096))

    server = RawServer(script, greeting=frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 10_000}))
    responses = run(through(server, talk, max_connections=1))
    sent = [each.sent for each in responses]
    assert sent == sorted(sent, reverse=True), "what was written comes first"
    assert "not_sent" in sent


def test_what_waits_is_bounded_and_the_rest_waits_at_the_door_in_its_order(run: Run) -> None:
    gate = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            stream_id = await peer.request()
            await gate.wait()
            peer.send(accepted(stream_id))

    async def talk(pool: Pool) -> list[list[Response]]:
        calls = [asyncio.ensure_future(send(pool, 10, start=10 * number)) for number in range(10)]
        await until(lambda: bool(server.peers and server.peers[0].requests))
        assert pool.waiting <= 25
        gate.set()
        return await asyncio.gather(*calls)

    server = RawServer(script, greeting=frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 1}))
    assert run(through(server, talk, max_connections=1, max_waiting=25)) == [[ACCEPTED] * 10] * 10


def test_a_call_larger_than_the_bound_is_let_in_alone(run: Run) -> None:
    server = RawServer(answer_all)
    assert run(through(server, lambda pool: send(pool, 50), max_waiting=10)) == [ACCEPTED] * 50


@pytest.mark.parametrize(
    "greeting",
    [pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="HTTP/1.1"), pytest.param(GREETING * 20_000, id="a flood")],
)
def test_a_server_that_breaks_the_protocol_is_not_sent_to(run: Run, greeting: bytes) -> None:
    server = RawServer(Peer.end, greeting=greeting)
    responses = run(through(server, lambda pool: send(pool, 3, deadline=0.5)))
    assert {each.sent for each in responses} <= {"not_sent", "unknown"}
    assert all(isinstance(each, NoAnswer) for each in responses)


def test_closing_says_goodbye_and_takes_nothing_new(run: Run) -> None:
    goodbye: list[int] = []

    async def script(peer: Peer) -> None:
        peer.send(accepted(await peer.request()))
        goodbye.append((await peer.until(frames.GOAWAY))[0])

    async def talk(pool: Pool) -> None:
        await send(pool)
        await pool.close()
        with pytest.raises(TransportClosed):
            await send(pool)
        await until(lambda: bool(goodbye))

    run(through(RawServer(script), talk))


def test_closing_while_a_connection_is_being_made_leaves_nothing_behind(run: Run) -> None:
    async def talk(pool: Pool) -> list[Response]:
        call = asyncio.ensure_future(send(pool))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await pool.close(drain=0)
        return await call

    assert run(through(RawServer(answer_all), talk)) == [NoAnswer("not_sent", "closed")]


def test_an_expired_certificate_and_one_of_an_unknown_authority_have_different_errors(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(port: int, ca: str | None) -> list[Response]:
        pool = apns_pool(Endpoint("localhost", port, ca), timing=QUICK)
        try:
            return await send(pool, deadline=2)
        finally:
            await pool.close()

    with SimulatorThread(Settings(topics=("io.team.App",))) as known:
        assert run(main(known.port, None)) == [NoAnswer("not_sent", "connect: certificate not trusted")]
    monkeypatch.setattr("worker.simulator.certificates.VALIDITY", timedelta(minutes=-30))
    with SimulatorThread(Settings(topics=("io.team.App",))) as expired:
        ca = Path(expired.ca_path).read_text()
        assert run(main(expired.port, ca)) == [NoAnswer("not_sent", "connect: certificate not valid now")]
