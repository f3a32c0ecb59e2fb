"""Every fault of a script, as a client of another make sees it, and how the notifications are accounted for."""

import asyncio
from contextlib import asynccontextmanager

import h2.events
import msgspec
import pytest

from tests.integration.simulator.client import PATIENCE, Peer
from worker.http2.frames import ErrorCode
from worker.simulator import Rule, Script, Simulator, faults


@asynccontextmanager
async def simulated(settings, *rules, latency=None):
    script = Script(rules=rules, latency=latency)
    async with (
        Simulator(msgspec.structs.replace(settings, script=script)) as simulator,
        await Peer.open(simulator) as peer,
    ):
        yield simulator, peer


def _on(number: int, fault: faults.Fault) -> Rule:
    """The fault on the occasion of the n-th request; the first warms the connection up."""
    return Rule(skip=number, count=1, fault=fault)


@pytest.mark.parametrize("limit", [1, 0])
def test_settings_lower_the_streams_while_more_are_in_flight(limit, settings, run):
    async def main():
        rule = _on(10, faults.Settings(max_concurrent_streams=limit))
        async with simulated(settings, rule, latency=0.05) as (simulator, peer):
            await peer.warm()
            ids = [peer.post(f"{n:04x}") for n in range(10)]
            await peer.until(lambda: peer.h2.remote_settings.max_concurrent_streams == limit)
            assert not any(peer.responses[stream_id].ended for stream_id in ids)
            assert [(await peer.answer(stream_id)).status for stream_id in ids] == [200] * 10
            assert simulator.counts["unanswered"] == 0

    run(main())


@pytest.mark.parametrize(
    ("last", "answered"),
    [
        pytest.param("zero", 0, id="zero"),
        pytest.param("middle", 5, id="middle"),
        pytest.param("last", 10, id="last"),
        pytest.param("max", 10, id="max"),
        pytest.param(7, 3, id="a number"),
    ],
)
def test_goaway_amid_answers_the_streams_up_to_its_last_and_no_other(last, answered, settings, run):
    async def main():
        rule = _on(10, faults.GoAway(last_stream_id=last, reason="Shutdown"))
        async with simulated(settings, rule, latency=0.05) as (simulator, peer):
            await peer.warm()
            ids = [peer.post(f"{n:04x}") for n in range(10)]
            await peer.until(lambda: peer.eof)
            (goaway,) = peer.goaways
            assert goaway.additional_data == b'{"reason":"Shutdown"}'
            expected = {"zero": 0, "middle": ids[4], "last": ids[9], "max": 2**31 - 1, 7: 7}[last]
            assert goaway.last_stream_id == expected
            assert sum(peer.responses[stream_id].ended for stream_id in ids) == answered
            assert simulator.counts["unprocessed"] == 10 - answered
            assert len(simulator.accepted) == answered + 1

    run(main())


def test_goaway_after_comes_when_everything_is_answered_and_without_a_reason(settings, run):
    async def main():
        async with simulated(settings) as (simulator, peer):
            await peer.warm()
            simulator.inflict(faults.GoAway(code="ENHANCE_YOUR_CALM"))
            await peer.until(lambda: peer.eof)
            assert [(goaway.error_code, goaway.additional_data) for goaway in peer.goaways] == [
                (ErrorCode.ENHANCE_YOUR_CALM, None)
            ]

    run(main())


def test_goaway_before_meets_the_connection(settings, run):
    async def main():
        rule = Rule(on="connect", fault=faults.GoAway(last_stream_id="zero", reason="BadCertificateEnvironment"))
        async with simulated(settings, rule) as (_, peer):
            await peer.until(lambda: peer.eof)
            assert peer.goaways[0].last_stream_id == 0
            assert b"BadCertificateEnvironment" in peer.goaways[0].additional_data

    run(main())


def test_goaway_that_closes_leaves_the_others_unanswered_but_accepted(settings, run):
    async def main():
        rule = _on(5, faults.GoAway(then="close"))
        async with simulated(settings, rule, latency=0.05) as (simulator, peer):
            await peer.warm()
            for n in range(5):
                peer.post(f"{n:04x}")
            await peer.until(lambda: peer.eof)
            await simulator.wait_accepted(6)
            assert (simulator.counts["unanswered"], simulator.counts["unprocessed"]) == (5, 0)

    run(main())


@pytest.mark.parametrize("abort", [False, True], ids=["FIN", "RST"])
def test_a_connection_closes_without_a_word(abort, settings, run):
    async def main():
        async with simulated(settings, _on(1, faults.Close(abort=abort)), latency=0.05) as (simulator, peer):
            await peer.warm()
            stream_id = peer.post()
            await peer.until(lambda: peer.eof)
            assert not peer.goaways
            assert not peer.responses[stream_id].ended
            await simulator.wait_accepted(2)
            assert simulator.counts["unanswered"] == 1

    run(main())


def test_a_half_open_connection_stays_and_is_silent(settings, run):
    async def main():
        async with simulated(settings, _on(1, faults.HalfOpen())) as (simulator, peer):
            await peer.warm()
            peer.post()
            await simulator.wait_accepted(2)
            peer.h2.ping(b"12345678")
            peer.flush()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(peer.read(), 0.2)
            counts = simulator.counts
            assert (counts["connected"], counts["accepted"], counts["unanswered"]) == (1, 2, 1)

    run(main())


@pytest.mark.parametrize("code", ErrorCode, ids=lambda code: code.name)
def test_a_stream_is_reset_with_any_code(code, settings, run):
    async def main():
        async with simulated(settings, _on(1, faults.Reset(code.name))) as (simulator, peer):
            await peer.warm()
            assert (await peer.ask()).reset == code
            assert (await peer.ask()).status == 200
            assert simulator.counts["unprocessed"] == (code is ErrorCode.REFUSED_STREAM)
            assert simulator.counts["unanswered"] == 1

    run(main())


def test_a_stream_is_never_answered_while_others_are(settings, run):
    async def main():
        async with simulated(settings, _on(1, faults.Never())) as (simulator, peer):
            await peer.warm()
            silent, others = peer.post("bb"), [peer.post("cc") for _ in range(5)]
            assert [(await peer.answer(stream_id)).status for stream_id in others] == [200] * 5
            assert not peer.responses[silent].headers
            assert [entry.token for entry in simulator.accepted if not entry.answered] == ["bb"]

    run(main())


def test_the_window_closes_and_opens_again(settings, run):
    async def main():
        small = msgspec.structs.replace(settings, connection_window=65_535)
        rule = _on(1, faults.ClosedWindow(seconds=0.2))
        async with simulated(small, rule) as (_, peer):
            await peer.warm()
            room = lambda: peer.h2.outbound_flow_control_window  # noqa: E731
            while room() >= 4000:
                await peer.ask(payload=b"x" * 4000)
            closed = room()
            await peer.until(lambda: room() > closed)
            assert room() > 60_000
            assert (await peer.ask(payload=b"x" * 4000)).status == 200

    run(main())


def test_reading_pauses_and_goes_on(settings, run):
    async def main():
        async with simulated(settings, _on(1, faults.PauseReading(seconds=0.1))) as (_, peer):
            await peer.warm()
            await peer.ask()
            assert (await peer.ask()).status == 200

    run(main())


def test_answers_trickle_octet_by_octet(settings, run):
    async def main():
        async with simulated(settings, _on(1, faults.Trickle(octets=1, interval=0.001))) as (_, peer):
            await peer.warm()
            peer.chunks.clear()
            assert (await peer.ask("bb")).status == 200
            assert len(peer.chunks) > 30

    run(main())


@pytest.mark.parametrize(
    "variant",
    ["huge", "endless", "truncated", "bad_index", "bad_huffman", "upper_case", "no_status", "late_pseudo"],
)
def test_a_bad_header_block_is_bad_to_another_client(variant, settings, run):
    async def main():
        async with simulated(settings, _on(1, faults.BadHeaders(variant))) as (simulator, peer):
            await peer.warm()
            stream_id = peer.post()
            await peer.until(lambda: peer.broken)
            assert peer.broken is not None
            assert not peer.responses[stream_id].ended
            assert simulator.counts["unanswered"] == 1

    run(main())


def test_a_status_may_be_no_number(settings, run):
    async def main():
        async with simulated(settings, _on(1, faults.BadHeaders("bad_status"))) as (_, peer):
            await peer.warm()
            assert (await peer.ask()).headers[":status"] == "abc"

    run(main())


def test_any_bytes_can_be_written(settings, run):
    async def main():
        answer = "0000010105" + "SSSSSSSS" + "88"
        async with simulated(settings, _on(1, faults.Raw(answer))) as (simulator, peer):
            await peer.warm()
            response = await peer.ask()
            assert response.headers == {":status": "200"}
            simulator.inflict(faults.Raw("0000080600000000003132333435363738"))
            await peer.until(lambda: any(isinstance(event, h2.events.PingReceived) for event in peer.events))

    run(main())


def test_a_ping_is_sent(settings, run):
    async def main():
        async with simulated(settings) as (simulator, peer):
            await peer.warm()
            assert simulator.inflict(faults.Ping(), connection=1) == 1
            await peer.until(lambda: any(isinstance(event, h2.events.PingReceived) for event in peer.events))

    run(main())


def test_connections_are_refused_for_a_while_and_the_open_ones_stay(settings, run):
    async def main():
        async with simulated(settings) as (simulator, peer):
            await peer.warm()
            simulator.inflict(faults.Refuse(0.2))
            with pytest.raises(ConnectionRefusedError):
                await Peer.open(simulator)
            assert (await peer.ask()).status == 200
            async with asyncio.timeout(PATIENCE):
                await simulator.wait_listening()
            async with await Peer.open(simulator) as other:
                assert (await other.ask()).status == 200

    run(main())


def test_an_initial_window_of_nothing_holds_bodies_back(settings, run):
    async def main():
        async with simulated(settings, _on(1, faults.Settings(initial_window_size=0))) as (simulator, peer):
            await peer.warm()
            await peer.ask()
            await peer.until(lambda: peer.h2.remote_settings.initial_window_size == 0)
            stream_id = peer.h2.get_next_available_stream_id()
            peer.h2.send_headers(stream_id, peer.headers())
            assert peer.h2.local_flow_control_window(stream_id) == 0
            simulator.inflict(faults.Settings(initial_window_size=1000))
            await peer.until(lambda: peer.h2.local_flow_control_window(stream_id) == 1000)

    run(main())
