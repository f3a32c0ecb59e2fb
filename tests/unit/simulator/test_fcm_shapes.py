"""A message in a request that is known by its bytes is judged, answered and recorded as in one that is decoded field by field."""

import asyncio
import json
import re
from typing import Any

import hpack
import pytest

from tests.unit.simulator.wire import Plain, Wire, answers, request
from worker.http2 import frames
from worker.simulator import Answer, Rule, Script, Share
from worker.simulator.fcm.service import FcmService
from worker.simulator.fcm.settings import FcmSettings

TOKEN = "abc:APA91b" + "x" * 130
DOCUMENTS = [
    {"message": {"token": TOKEN, "data": {"id": "1"}}},
    {"message": {"token": TOKEN, "data": {"id": "2"}}},
    {"message": {"token": "gone:" + TOKEN, "data": {"id": "3"}}},
    {"message": {"token": "gone:" + TOKEN, "data": {"id": "4"}}},
    {"message": {"token": TOKEN, "data": {"id": 5}}},
    {"message": {"token": "short"}},
    {"message": {"token": TOKEN, "android": {"collapseKey": "a", "priority": "high"}}},
    {"message": {"token": TOKEN}, "validate_only": True},
    {"message": {"token": TOKEN, "data": {"k": "v" * 4506}}},
    {"message": {"token": TOKEN, "android": {"priority": "HIGH", "ttl": "3600s", "collapse_key": "k"}}},
]
SCRIPTS = {
    "nothing": Script(),
    "tokens": Script(tokens={"gone:" + TOKEN: Answer("UNREGISTERED")}),
    "shares": Script(shares=(Share(0.5, Answer("UNAVAILABLE"), by="token"),)),
    "rules": Script(rules=(Rule(pattern="^gone:", answer=Answer("THIRD_PARTY_AUTH_ERROR")),)),
}


def _serve(encoder, script, mode):
    async def main():
        service = FcmService(FcmSettings(bearers=("secret",), script=script, record=mode, idle=None))
        connection, wire = service.connection({}), Wire()
        connection.connection_made(wire)
        connection.data_received(frames.PREFACE + frames.pack_settings({}))
        written = []
        for number, document in enumerate(DOCUMENTS):
            body = json.dumps(document).encode()
            headers = [(":method", "POST"), (":scheme", "https"), (":path", "/v1/projects/p/messages:send")]
            headers += [("authorization", "Bearer secret"), ("content-length", str(len(body)))]
            written.append(request(encoder, 2 * number + 1, headers, body))
        for piece in [written[0], b"".join(written[1:4]), b"".join(written[4:])]:
            connection.data_received(piece)
        core: Any = connection.core
        known = len([1 for shapes in core._reader.shapes.values() for shape, _ in shapes if shape.note])
        return service, answers(bytes(wire.written)), known

    return asyncio.run(main())


def _seen(found):
    """What differs is the id of a message and the second."""
    return {
        stream_id: (
            {name: value for name, value in fields.items() if name != "date"},
            re.sub(rb"0:\d+%\w+", b"ID", body),
        )
        for stream_id, (fields, body) in found.items()
        if stream_id
    }


@pytest.mark.parametrize("mode", ["full", "compact", "counters"])
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_both_ways_come_to_the_same(script, mode):
    service, known, shapes = _serve(Plain(), script, mode)
    other, decoded, none = _serve(hpack.Encoder(), script, mode)
    assert (shapes > 0, none) == (True, 0)
    assert len(known) == len(DOCUMENTS)
    assert _seen(known) == _seen(decoded)
    assert service.counts() == other.counts()
    rows = [sorted(repr((row[1], *row[3:5], *row[7:])) for row in one.record.entries) for one in (service, other)]
    assert rows[0] == rows[1]
    assert len(rows[0]) == (0 if mode == "counters" else len(DOCUMENTS))


def test_a_length_that_is_not_the_bodys_resets_the_stream_on_both_ways():
    async def main():
        service = FcmService(FcmSettings(bearers=("secret",), idle=None))
        connection, wire = service.connection({}), Wire()
        connection.connection_made(wire)
        connection.data_received(frames.PREFACE + frames.pack_settings({}))
        body = json.dumps(DOCUMENTS[0]).encode()
        headers = [(":method", "POST"), (":scheme", "https"), (":path", "/v1/projects/p/messages:send")]
        headers += [("authorization", "Bearer secret")]
        for stream_id, length in ((1, len(body)), (3, len(body)), (5, len(body) + 1), (7, len(body))):
            headers_now = [*headers, ("content-length", str(length))]
            connection.data_received(request(Plain(), stream_id, headers_now, body))
        return service.record.accepted_total, sorted(answers(bytes(wire.written)))

    accepted, answered = asyncio.run(main())
    assert accepted == 3
    assert [stream_id for stream_id in answered if stream_id] == [1, 3, 7]


def test_only_some_documents_are_judged_where_that_is_asked_for():
    async def main():
        service = FcmService(FcmSettings(bearers=("secret",), check_every=3, idle=None))
        connection, wire = service.connection({}), Wire()
        connection.connection_made(wire)
        connection.data_received(frames.PREFACE + frames.pack_settings({}))
        body = json.dumps({"message": {"token": TOKEN, "data": {"k": "v"}}}).encode()
        wrong = json.dumps({"message": {"token": TOKEN, "data": {"k": 12}}}).encode()
        headers = [(":method", "POST"), (":scheme", "https"), (":path", "/v1/projects/p/messages:send")]
        headers += [("authorization", "Bearer secret")]
        for number, document in enumerate([body, body, body, wrong, wrong, wrong, wrong]):
            connection.data_received(request(Plain(), 2 * number + 1, headers, document))
        return [fields[":status"] for _, (fields, _) in sorted(answers(bytes(wire.written)).items())]

    assert asyncio.run(main()) == ["200", "200", "200", "400", "200", "200", "400"]
