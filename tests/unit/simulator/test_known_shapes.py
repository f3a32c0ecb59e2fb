"""A request that is known by its bytes is judged, answered and recorded as the same request decoded field by field."""

import asyncio
import time

import hpack
import hypothesis
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.simulator.credentials import KEY, TOPIC, provider_token
from tests.unit.simulator.wire import Plain, Wire
from worker.http2 import frames
from worker.simulator import Answer, Rule, Script, Settings, Share
from worker.simulator.apns.service import ApnsService

HEX = st.text("0123456789abcdef", min_size=4, max_size=4)
TOKENS = HEX | st.sampled_from(["dead", "abc", "ABCD", "zz11", ""])
IDS = st.uuids().map(str) | st.sampled_from(["no-id", "123E4567-E89B-12D3-A456-4266554400A0"])
EXPIRATIONS = st.sampled_from([None, "0", "1763700000", "1763700001", "later"])
COLLAPSE_IDS = st.sampled_from([None, "a", "b", "c" * 64, "c" * 65])
BODIES = st.sampled_from([b"{}", b"x" * 300, b"x" * 4096, b"x" * 4097])
REQUESTS = st.lists(st.tuples(TOKENS, IDS, EXPIRATIONS, COLLAPSE_IDS, BODIES), max_size=12)
SCRIPTS = {
    "nothing": Script(),
    "tokens": Script(tokens={"dead": Answer("Unregistered", timestamp=1)}),
    "shares": Script(shares=(Share(0.5, Answer("Unregistered", timestamp=1), by="token"),)),
    "rules": Script(rules=(Rule(every=3, answer=Answer("Shutdown")),)),
}


def _frames(encoder, requests, authorization: str) -> list[bytes]:
    written = []
    for number, (token, apns_id, expiration, collapse_id, body) in enumerate(requests):
        headers = [(":method", "POST"), (":scheme", "https"), (":path", f"/3/device/{token}")]
        headers += [("authorization", authorization), ("apns-topic", TOPIC), ("apns-id", apns_id)]
        headers += [("apns-expiration", expiration)] if expiration is not None else []
        headers += [("apns-collapse-id", collapse_id)] if collapse_id is not None else []
        block = encoder.encode([(name.encode(), value.encode()) for name, value in headers])
        head = frames.pack_headers(2 * number + 1, block, end_stream=False, max_frame_size=16384)
        written.append(head + frames.pack_frame(frames.DATA, frames.FLAG_END_STREAM, 2 * number + 1, body))
    return written


def _serve(settings: Settings, encoder, requests, authorization: str):
    """The entries, and the statuses and bodies by stream."""

    async def main():
        service = ApnsService(settings)
        connection, wire = service.connection({}), Wire()
        connection.connection_made(wire)
        connection.data_received(frames.PREFACE + frames.pack_settings({}))
        # The first ones alone, so that their shapes are known when the others come together.
        first, rest = requests[:4], requests[4:]
        written = _frames(encoder, first + rest, authorization)
        for piece in [*written[:4], b"".join(written[4:])]:
            connection.data_received(piece)
        entries = [entry._replace(at=0.0, apns_id=_masked(entry.apns_id)) for entry in service.record.entries]
        return entries, _answers(bytes(wire.written))

    return asyncio.run(main())


def _masked(value: str) -> str:
    """An id that the simulator made is another each time, and in upper case."""
    return "made" if value != value.lower() else value


def _answers(data: bytes) -> dict[int, list[object]]:
    decoder, position = hpack.Decoder(), 0
    found: dict[int, list[object]] = {}
    while position < len(data):
        length, kind, _, stream_id = frames.unpack_header(data, position)
        payload = data[position + 9 : position + 9 + length]
        position += 9 + length
        if kind == frames.HEADERS:
            found.setdefault(stream_id, []).append(
                sorted((name, _masked(str(value))) for name, value in decoder.decode(payload))
            )
        elif kind == frames.DATA:
            found.setdefault(stream_id, []).append(payload)
    return found


@pytest.mark.parametrize("mode", ["full", "compact"])
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@hypothesis.settings(max_examples=15, deadline=None)
@given(requests=REQUESTS)
def test_both_ways_come_to_the_same(script, mode, requests):
    settings = Settings(
        keys=(KEY,), topics=(TOPIC,), control_port=None, first_streams=1000, script=script, record=mode, bad_tokens=None
    )
    authorization = f"bearer {provider_token(now=time.time())}"
    known = _serve(settings, Plain(), requests, authorization)
    decoded = _serve(settings, hpack.Encoder(), requests, authorization)
    assert known[1] == decoded[1]
    # Of what arrives at once, what is known is entered first.
    kept = slice(1, 7) if mode == "compact" else slice(1, None)
    assert sorted(map(repr, (entry[kept] for entry in known[0]))) == sorted(
        map(repr, (entry[kept] for entry in decoded[0]))
    )


def test_the_third_request_is_known_and_needs_no_judgement():
    requests = [("ab12", "123e4567-e89b-12d3-a456-4266554400a0", None, None, b"{}")]
    settings = Settings(keys=(KEY,), topics=(TOPIC,), first_streams=1000)

    async def main():
        connection = ApnsService(settings).connection({})
        connection.connection_made(Wire())
        written = _frames(Plain(), requests * 3, f"bearer {provider_token()}")
        connection.data_received(frames.PREFACE + frames.pack_settings({}) + written[0] + written[1])
        (known,) = connection.core.receive(written[2])
        assert known.shape.known
        assert known.shape.note is not None
        assert msgspec.json.encode([value.decode() for value in known.values]) == (
            b'["ab12","123e4567-e89b-12d3-a456-4266554400a0"]'
        )

    asyncio.run(main())
