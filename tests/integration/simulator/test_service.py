"""The simulator over TLS, seen by a client of another make."""

import asyncio
import ssl
import time
import uuid

import aioapns
import h2.events
import httpx
import msgspec
import pytest

from tests.integration.simulator.client import PAYLOAD, TOKEN, Peer
from tests.unit.simulator.credentials import PEM, TOPIC, provider_token
from worker.simulator import Answer, Latency, Script, Settings, Share, Simulator
from worker.simulator.reasons import APNS


def _with(settings: Settings, **changes) -> Settings:
    return msgspec.structs.replace(settings, **changes)


def test_an_accepted_notification_is_answered_and_recorded(settings, run):
    apns_id = str(uuid.uuid4())

    async def main():
        async with Simulator(settings) as simulator, await Peer.open(simulator) as peer:
            before = time.time() * 1000
            response = await peer.ask(
                apns_id=apns_id.upper(), apns_expiration="1763700000", apns_priority="5", apns_collapse_id="c"
            )
            assert (response.status, response.body, response.headers["apns-id"]) == (200, b"", apns_id)
            assert "apns-unique-id" not in response.headers
            (entry,) = simulator.accepted
            assert before - 1 <= entry.at <= time.time() * 1000 + 1
            assert entry._replace(at=0.0)._asdict() == {
                "number": 1, "token": TOKEN, "apns_id": apns_id, "status": 200, "reason": None, "at": 0.0,
                "connection": 1, "answered": True, "processed": True, "topic": TOPIC, "push_type": "alert",
                "priority": 5, "expiration": 1763700000, "collapse_id": "c", "payload": PAYLOAD.decode(),
            }  # fmt: skip

    run(main())


def test_what_one_client_sends_does_not_keep_another_waiting(settings, run):
    async def main():
        async with (
            Simulator(settings) as simulator,
            await Peer.open(simulator) as crowd,
            await Peer.open(simulator) as single,
        ):
            await crowd.warm()
            await single.warm()
            many = [crowd.form(crowd.headers("cc"), PAYLOAD + b" " * 300) for _ in range(900)]
            one = single.form(single.headers("dd"))
            served = [simulator.connections[number] for number in (1, 2)]
            for connection, peer in zip(served, (crowd, single), strict=True):
                connection.data_received(peer.h2.data_to_send())
            await crowd.until(lambda: all(crowd.responses[stream].ended for stream in many))
            await single.answer(one)
            tokens = [entry.token for entry in simulator.accepted[2:]]
            assert tokens.count("cc") == 900
            assert tokens.index("dd") < 200

    run(main())


def test_an_absent_id_is_made_in_upper_case(settings, run):
    async def main():
        async with Simulator(settings) as simulator, await Peer.open(simulator) as peer:
            found = (await peer.ask()).headers["apns-id"]
            assert found == str(uuid.UUID(found)).upper() == simulator.accepted[0].apns_id

    run(main())


def test_the_sandbox_adds_a_unique_id(settings, run):
    async def main():
        async with Simulator(_with(settings, environment="sandbox")) as simulator, await Peer.open(simulator) as peer:
            response = await peer.ask()
            assert str(uuid.UUID(response.headers["apns-unique-id"])) == response.headers["apns-unique-id"]
            assert response.status == 200

    run(main())


@pytest.mark.parametrize("reason", APNS)
def test_every_documented_reason_is_answered_on_demand(reason, settings, run):
    async def main():
        script = Script(tokens={"AA": Answer(reason, timestamp=123)})
        async with Simulator(_with(settings, script=script)) as simulator, await Peer.open(simulator) as peer:
            response = await peer.ask("aa")
            assert response.status == APNS[reason]
            assert msgspec.json.decode(response.body) == {"reason": reason, "timestamp": 123}
            assert response.headers["content-type"] == "application/json"
            assert (await peer.ask("ab")).status == 200
            assert [entry.reason for entry in simulator.record.refused] == [reason]
            assert simulator.counts["answers"] == {"200": 1, reason: 1}

    run(main())


def test_a_410_says_when_and_other_reasons_do_not(settings, run):
    async def main():
        script = Script(tokens={"aa": Answer("Unregistered"), "bb": Answer("TooManyRequests", retry_after=7)})
        async with Simulator(_with(settings, script=script)) as simulator, await Peer.open(simulator) as peer:
            gone, busy = await peer.ask("aa"), await peer.ask("bb")
            assert abs(msgspec.json.decode(gone.body)["timestamp"] - time.time() * 1000) < 10_000
            assert (msgspec.json.decode(busy.body), busy.headers["retry-after"]) == ({"reason": "TooManyRequests"}, "7")

    run(main())


def test_interim_responses_trailers_and_unreadable_bodies_can_be_answered(settings, run):
    async def main():
        answer = Answer("InternalServerError", body="<html>", interim=(103, 103), trailers=True)
        ours = _with(settings, script=Script(tokens={"aa": answer}))
        async with Simulator(ours) as simulator, await Peer.open(simulator) as peer:
            response = await peer.ask("aa")
            assert (response.status, response.body, response.interim) == (500, b"<html>", ["103", "103"])
            assert response.trailers == {"x-trace": "1"}

    run(main())


@pytest.mark.parametrize(
    ("changes", "payload", "reason"),
    [
        pytest.param({":method": "GET"}, PAYLOAD, "MethodNotAllowed", id="method"),
        pytest.param({":path": "/4/device/aa"}, PAYLOAD, "BadPath", id="path"),
        pytest.param({"authorization": None}, PAYLOAD, "MissingProviderToken", id="no token"),
        pytest.param({"apns-topic": "org.example.other"}, PAYLOAD, "TopicDisallowed", id="topic"),
        pytest.param({}, b"", "PayloadEmpty", id="empty payload"),
        pytest.param({}, b"x" * 4097, "PayloadTooLarge", id="large payload"),
        pytest.param({}, b"x" * 16_000, "PayloadTooLarge", id="huge payload"),
        pytest.param({":path": "/3/device/a"}, PAYLOAD, "BadDeviceToken", id="device token"),
    ],
)
def test_the_rules_hold_on_the_wire(changes, payload, reason, settings, run):
    async def main():
        async with Simulator(settings) as simulator, await Peer.open(simulator) as peer:
            response = await peer.ask(payload=payload, **changes)
            assert msgspec.json.decode(response.body)["reason"] == reason
            assert simulator.accepted == []

    run(main())


def test_a_key_for_some_topics_is_not_for_others(settings, run):
    async def main():
        key = msgspec.structs.replace(settings.keys[0], topics=frozenset({f"{TOPIC}.voip"}))
        async with Simulator(_with(settings, keys=(key,))) as simulator, await Peer.open(simulator) as peer:
            assert msgspec.json.decode((await peer.ask()).body) == {"reason": "TopicDisallowed"}
            call = await peer.ask(apns_topic=f"{TOPIC}.voip", apns_push_type="voip")
            assert call.status == 200

    run(main())


def test_a_client_that_reads_no_answers_is_read_no_more(settings, run):
    async def main():
        async with Simulator(settings) as simulator, await Peer.open(simulator) as peer:
            await peer.warm()
            (connection,) = simulator.connections.values()
            connection.pause_writing()
            stream_id = peer.post()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(peer.read(), 0.1)
            connection.resume_writing()
            assert (await peer.answer(stream_id)).status == 200

    run(main())


def test_a_repeated_header_is_refused_on_the_wire(settings, run):
    async def main():
        async with Simulator(settings) as simulator, await Peer.open(simulator) as peer:
            response = await peer.answer(peer.send([*peer.headers(), ("apns-topic", TOPIC)]))
            assert msgspec.json.decode(response.body) == {"reason": "DuplicateHeaders"}

    run(main())


def test_one_stream_until_the_first_valid_token_then_many(settings, run):
    async def main():
        async with Simulator(_with(settings, max_streams=50)) as simulator, await Peer.open(simulator) as peer:
            await peer.until(lambda: peer.h2.remote_settings.max_concurrent_streams == 1)
            assert (await peer.ask(authorization="bearer x.y.z")).status == 403
            assert peer.h2.remote_settings.max_concurrent_streams == 1
            assert (await peer.ask()).status == 200
            await peer.until(lambda: peer.h2.remote_settings.max_concurrent_streams > 1)
            assert peer.h2.remote_settings.max_concurrent_streams == 50

    run(main())


def test_streams_beyond_the_first_are_refused_before_a_valid_token(settings, run):
    async def main():
        script = Script(latency=0.02)
        async with Simulator(_with(settings, script=script)) as simulator, await Peer.open(simulator) as peer:
            ids = [peer.post(f"{n:04x}") for n in range(3)]
            answers = [await peer.answer(stream_id) for stream_id in ids]
            assert [(answer.status, answer.reset) for answer in answers] == [(200, None), (0, 7), (0, 7)]
            assert len(simulator.accepted) == 1

    run(main())


def test_a_second_token_too_early_blocks_the_connection_but_not_the_next(settings, run):
    async def main():
        async with Simulator(settings) as simulator, await Peer.open(simulator) as peer:
            assert (await peer.ask()).status == 200
            second = f"bearer {provider_token(age=20)}"
            assert (await peer.ask(authorization=second)).status == 429
            assert msgspec.json.decode((await peer.ask()).body) == {"reason": "TooManyProviderTokenUpdates"}
            async with await Peer.open(simulator) as other:
                assert (await other.ask(authorization=second)).status == 200

    run(main())


@pytest.mark.parametrize(("reason", "closes"), [("BadDeviceToken", True), ("Unregistered", False)])
def test_many_bad_device_tokens_close_the_connection_and_410_does_not(reason, closes, settings, run):
    async def main():
        script = Script(shares=(Share(1.0, Answer(reason)),))
        ours = _with(settings, script=script, bad_tokens=5)
        async with Simulator(ours) as simulator, await Peer.open(simulator) as peer:
            for _number in range(5):
                assert (await peer.ask()).status in (400, 410)
            if closes:
                await peer.until(lambda: peer.eof)
                assert peer.goaways
            else:
                assert (await peer.ask()).status == 410

    run(main())


def test_latency_holds_answers_back_and_lets_them_pass_each_other(settings, run):
    async def main():
        script = Script(latency=Latency(low=0.0, high=0.1))
        async with Simulator(_with(settings, script=script)) as simulator, await Peer.open(simulator) as peer:
            await peer.warm()
            ids = [peer.post(f"{n:04x}") for n in range(50)]
            await peer.until(lambda: all(peer.responses[stream_id].ended for stream_id in ids))
            ended = [event.stream_id for event in peer.events if isinstance(event, h2.events.StreamEnded)]
            assert sorted(ended) != ended
            assert {peer.responses[stream_id].status for stream_id in ids} == {200}

    run(main())


def test_what_the_client_resets_before_its_answer_counts_as_unanswered(settings, run):
    async def main():
        script = Script(latency=0.05)
        async with Simulator(_with(settings, script=script)) as simulator, await Peer.open(simulator) as peer:
            stream_id = peer.post()
            peer.h2.reset_stream(stream_id)
            peer.flush()
            await simulator.wait_accepted(1)
            assert [(entry.answered, entry.accepted) for entry in simulator.accepted] == [(False, True)]

    run(main())


@pytest.mark.parametrize("mode", ["full", "compact", "counters"])
def test_the_record_keeps_what_its_mode_says(mode, settings, run):
    async def main():
        async with Simulator(_with(settings, record=mode, record_limit=3)) as simulator:
            async with await Peer.open(simulator) as peer:
                for n in range(5):
                    await peer.ask(f"{n:04x}", apns_id=str(uuid.uuid4()))
            kept = simulator.accepted
            assert simulator.counts["accepted"] == 5
            assert [entry.token for entry in kept] == ([] if mode == "counters" else ["0002", "0003", "0004"])
            assert all((entry.payload is not None) is (mode == "full") for entry in kept)

    run(main())


def test_tls_before_1_2_and_other_protocols_than_h2_are_turned_away(settings, run):
    async def main():
        async with Simulator(_with(settings, require_alpn=True)) as simulator:
            context = ssl.create_default_context(cadata=simulator.ca_pem)
            reader, writer = await asyncio.open_connection(
                simulator.host, simulator.port, ssl=context, server_hostname="localhost"
            )
            assert await reader.read() == b""
            writer.close()
            assert simulator._tls is not None
            assert simulator._tls.minimum_version is ssl.TLSVersion.TLSv1_2

    run(main())


def test_httpx_sends_through_it(settings, run):
    async def main():
        script = Script(tokens={"0007": Answer("Unregistered", timestamp=5)})
        async with Simulator(_with(settings, script=script)) as simulator:
            context = ssl.create_default_context(cadata=simulator.ca_pem)
            base = f"https://localhost:{simulator.port}"
            headers = {"authorization": f"bearer {provider_token()}", "apns-topic": TOPIC, "apns-push-type": "alert"}
            async with httpx.AsyncClient(http2=True, verify=context, base_url=base, headers=headers) as client:
                paths = [f"/3/device/{n:04x}" for n in range(100)]
                answers = await asyncio.gather(*(client.post(path, content=PAYLOAD) for path in paths))
            assert [answer.status_code for answer in answers] == [410 if n == 7 else 200 for n in range(100)]
            assert answers[7].json() == {"reason": "Unregistered", "timestamp": 5}
            assert {entry.token for entry in simulator.accepted} == {f"{n:04x}" for n in range(100)} - {"0007"}

    run(main())


def test_aioapns_sends_through_it(settings, run):
    async def main():
        script = Script(tokens={"bb": Answer("Unregistered")})
        # This sender offers no protocol by ALPN.
        async with Simulator(_with(settings, script=script, require_alpn=False)) as simulator:
            client = aioapns.APNs(
                key=PEM, key_id=settings.keys[0].key_id, team_id=settings.keys[0].team_id,
                topic=TOPIC, ssl_context=ssl.create_default_context(cadata=simulator.ca_pem), max_connections=1,
            )  # fmt: skip
            pool = client.pool
            pool.protocol_class = type(
                "Protocol", (pool.protocol_class,), {"APNS_SERVER": "localhost", "APNS_PORT": simulator.port}
            )
            sent = [
                await client.send_notification(
                    aioapns.NotificationRequest(device_token=token, message={"aps": {"alert": "hello"}})
                )
                for token in ("aa", "bb", "cc")
            ]
            assert [(result.status, result.description) for result in sent] == [
                ("200", None), ("410", "Unregistered"), ("200", None),
            ]  # fmt: skip
            pool.close()

    run(main())
