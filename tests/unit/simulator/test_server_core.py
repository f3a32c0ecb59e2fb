"""The HTTP/2 core of the simulator against the `h2` library as its client, without a socket."""

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.simulator.test_header_blocks import block, frame
from worker.http2 import frames
from worker.http2.frames import ErrorCode
from worker.http2.server.connection import ServerConnection
from worker.http2.server.limits import Announced
from worker.simulator.apns.judge import HOLES

HEADERS = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/3/device/ab")]
OK = b"\x88"
ID = b"123e4567-e89b-12d3-a456-4266554400a0"


class Pair:
    """A client of `h2` and the core, and the bytes between them."""

    def __init__(self, **announced):
        self.core = ServerConnection(Announced(**announced), HOLES)
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.core.start()
        self.client.initiate_connection()
        self.requests = []
        self.events = []

    def exchange(self):
        while (sent := self.client.data_to_send()) or (answered := self.core.take()):
            if sent:
                self.requests += self.core.receive(sent)
            else:
                self.events += self.client.receive_data(answered)
        return self

    def post(self, body=b"{}", *, end=True, headers=()):
        stream_id = self.client.get_next_available_stream_id()
        self.client.send_headers(stream_id, [*HEADERS, *headers], end_stream=not body and end)
        if body:
            self.client.send_data(stream_id, body, end_stream=end)
        return stream_id

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def goaway_code(self):
        return [event.error_code for event in self.of(h2.events.ConnectionTerminated)]


def raw(**announced) -> ServerConnection:
    """A core that has been greeted, for frames no library would write."""
    core = ServerConnection(Announced(**announced), HOLES)
    core.start()
    core.receive(frames.PREFACE + frames.pack_settings({}) + frames.SETTINGS_ACK)
    core.take()
    return core


def test_requests_come_out_whole_and_answers_go_back():
    pair = Pair().exchange()
    ids = [pair.post(b"body %d" % n) for n in range(5)]
    pair.exchange()
    assert [(request.stream_id, request.body) for request in pair.requests] == [
        (stream_id, b"body %d" % n) for n, stream_id in enumerate(ids)
    ]
    for request in pair.requests:
        pair.core.respond(request.stream_id, b"\x8c", b"no")
    pair.exchange()
    assert [event.stream_id for event in pair.of(h2.events.StreamEnded)] == ids
    assert not pair.core.open


@hypothesis.settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=30), st.integers(1, 12))
def test_the_bytes_may_arrive_in_any_pieces(cuts, count):
    data = b"".join(frame(2 * n + 1, block(b"%08x" % n, ID), b"x" * (n * 37)) for n in range(count))
    core, requests = raw(), []
    for cut in cuts:
        requests += core.receive(data[:cut])
        data = data[cut:]
    requests += core.receive(data)
    assert core.error is None
    assert [(request.stream_id, request.body) for request in requests] == [
        (2 * n + 1, b"x" * (n * 37)) for n in range(count)
    ]
    paths = [dict(request.shape.headers(request.values))[b":path"] for request in requests]
    assert paths == [b"/3/device/%08x" % n for n in range(count)]


def test_streams_beyond_the_limit_are_refused():
    core = raw(max_streams=2)
    data = b"".join(frame(stream_id, block(b"ab", ID)) for stream_id in (1, 3, 5))
    assert [request.stream_id for request in core.receive(data)] == [1, 3]
    assert core.take() == frames.pack_rst_stream(5, ErrorCode.REFUSED_STREAM)


def test_a_lowered_limit_holds_from_its_acknowledgement_on():
    core = raw(max_streams=5)
    core.change_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 1})
    before = core.receive(frame(1, block(b"ab", ID)) + frame(3, block(b"ab", ID)))
    core.take()
    after = core.receive(frames.SETTINGS_ACK + frame(5, block(b"ab", ID)))
    assert ([request.stream_id for request in before], after) == ([1, 3], [])
    assert core.take() == frames.pack_rst_stream(5, ErrorCode.REFUSED_STREAM)


def test_a_stream_that_the_client_resets_is_not_answered():
    pair = Pair().exchange()
    stream_id = pair.post()
    pair.exchange().client.reset_stream(stream_id)
    pair.exchange().core.respond(stream_id, OK)
    assert pair.core.take() == b""


def test_a_body_longer_than_is_kept_is_handed_on_cut_and_refused():
    pair = Pair(max_body=100).exchange()
    stream_id = pair.post(b"x" * 16_000, end=False)
    pair.exchange()
    assert [len(request.body) > 100 for request in pair.requests] == [True]
    pair.core.respond(stream_id, b"\x8c", b"too large")
    pair.exchange()
    assert [event.error_code for event in pair.of(h2.events.StreamReset)] == [h2.errors.ErrorCodes.NO_ERROR]


def test_the_windows_are_given_back_as_bodies_arrive():
    pair = Pair(max_body=1 << 20).exchange()
    total = 300_000
    stream_id = pair.post(b"", end=False)
    while total:
        room = min(total, pair.client.local_flow_control_window(stream_id), 16_384)
        assert room
        total -= room
        pair.client.send_data(stream_id, b"x" * room, end_stream=not total)
        pair.exchange()
    assert [len(request.body) for request in pair.requests] == [300_000]


def test_an_answer_waits_for_the_clients_window():
    pair = Pair()
    pair.client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 3})
    stream_id = pair.exchange().post()
    pair.exchange().core.respond(stream_id, b"\x8c", b"0123456789")
    pair.exchange()
    assert b"".join(event.data for event in pair.of(h2.events.DataReceived)) == b"012"
    pair.client.increment_flow_control_window(100, stream_id)
    pair.exchange()
    assert b"".join(event.data for event in pair.of(h2.events.DataReceived)) == b"0123456789"
    assert pair.of(h2.events.StreamEnded)


@pytest.mark.parametrize("sizes", [[0], [100, 4096], [0, 4096, 0]], ids=str)
def test_a_client_may_shrink_the_header_table(sizes):
    pair = Pair().exchange()
    for size in sizes:
        pair.client.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: size})
        stream_id = pair.exchange().post()
        pair.exchange().core.respond(stream_id, OK)
        pair.exchange()
    assert len(pair.of(h2.events.ResponseReceived)) == len(sizes)


def test_a_content_length_that_does_not_hold_resets_the_stream():
    pair = Pair().exchange()
    pair.client.config.validate_outbound_headers = False
    stream_id = pair.client.get_next_available_stream_id()
    core = pair.core
    header_block = block(b"ab", ID, b"\x0f\x0d\x013")
    assert core.receive(frame(stream_id, header_block, b"{}")) == []
    assert core.take() == frames.pack_rst_stream(stream_id, ErrorCode.PROTOCOL_ERROR)


def test_a_malformed_request_resets_its_stream_alone():
    core = raw()
    assert core.receive(frame(1, b"\x83\x87") + frame(3, block(b"ab", ID)))[0].stream_id == 3
    assert core.take() == frames.pack_rst_stream(1, ErrorCode.PROTOCOL_ERROR)


def test_continuation_padding_priority_trailers_and_unknown_frames_are_understood():
    core, header_block = raw(), block(b"ab", ID)
    pieces = [
        frames.pack_frame(frames.HEADERS, 0x28, 1, b"\x03" + b"\0" * 5 + header_block[:9] + b"pad"),
        frames.pack_frame(frames.CONTINUATION, 0, 1, header_block[9:20]),
        frames.pack_frame(frames.CONTINUATION, 4, 1, header_block[20:]),
        frames.pack_frame(frames.PRIORITY, 0, 1, b"\0" * 5),
        frames.pack_frame(0xBB, 0, 0, b"whatever"),
        frames.pack_frame(frames.DATA, 8, 1, b"\x02{}\0\0"),
        frames.pack_headers(1, b"\x00\x01x\x01y", end_stream=True, max_frame_size=16384),
        frames.pack_ping(b"12345678"),
    ]
    requests = core.receive(b"".join(pieces))
    assert [(request.stream_id, request.body) for request in requests] == [(1, b"{}")]
    assert frames.pack_ping(b"12345678", ack=True) in core.take()


BIG = frames.pack_frame(frames.DATA, 0, 1, b"x" * 16_000)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(frames.pack_header(16_385, 0, 0, 1), ErrorCode.FRAME_SIZE_ERROR, id="too large a frame"),
        pytest.param(frames.pack_frame(0, 1, 1, b"x"), ErrorCode.PROTOCOL_ERROR, id="DATA on an idle stream"),
        pytest.param(frames.pack_frame(0, 1, 0, b"x"), ErrorCode.PROTOCOL_ERROR, id="DATA on stream 0"),
        pytest.param(frame(2, block(b"ab", ID)), ErrorCode.PROTOCOL_ERROR, id="an even stream"),
        pytest.param(
            frame(3, block(b"ab", ID)) + frame(1, block(b"ab", ID)), ErrorCode.PROTOCOL_ERROR, id="going back"
        ),
        pytest.param(frames.pack_frame(1, 4, 1, b"\xff\xff\xff"), ErrorCode.COMPRESSION_ERROR, id="a bad index"),
        pytest.param(
            frames.pack_frame(1, 0x28, 1, b"\x09abc"), ErrorCode.PROTOCOL_ERROR, id="padding beyond the frame"
        ),
        pytest.param(frames.pack_frame(9, 4, 1, b""), ErrorCode.PROTOCOL_ERROR, id="CONTINUATION of nothing"),
        pytest.param(
            frames.pack_frame(1, 0, 1, b"\x83") + frames.pack_ping(b"12345678"),
            ErrorCode.PROTOCOL_ERROR,
            id="interrupted",
        ),
        pytest.param(
            frames.pack_frame(1, 0, 1, b"\x83") + frames.pack_frame(9, 0, 1, b"\x83" * 16_000) * 5,
            ErrorCode.ENHANCE_YOUR_CALM,
            id="a block without end",
        ),
        pytest.param(frames.pack_frame(2, 0, 1, b""), ErrorCode.FRAME_SIZE_ERROR, id="a short PRIORITY"),
        pytest.param(frames.pack_frame(3, 0, 1, b""), ErrorCode.FRAME_SIZE_ERROR, id="a short RST_STREAM"),
        pytest.param(frames.pack_rst_stream(9, 8), ErrorCode.PROTOCOL_ERROR, id="RST_STREAM on an idle stream"),
        pytest.param(frames.pack_frame(4, 0, 0, b"abc"), ErrorCode.FRAME_SIZE_ERROR, id="a short SETTINGS"),
        pytest.param(frames.SETTINGS_ACK, ErrorCode.PROTOCOL_ERROR, id="an acknowledgement of nothing"),
        pytest.param(frames.pack_settings({4: 2**31}), ErrorCode.FLOW_CONTROL_ERROR, id="too large a window"),
        pytest.param(frames.pack_settings({2: 2}), ErrorCode.PROTOCOL_ERROR, id="ENABLE_PUSH of 2"),
        pytest.param(frames.pack_settings({5: 1}), ErrorCode.PROTOCOL_ERROR, id="MAX_FRAME_SIZE of 1"),
        pytest.param(frames.pack_frame(5, 4, 1, b""), ErrorCode.PROTOCOL_ERROR, id="a push promise"),
        pytest.param(frames.pack_frame(6, 0, 0, b"1"), ErrorCode.FRAME_SIZE_ERROR, id="a short PING"),
        pytest.param(frames.pack_frame(7, 0, 0, b"1"), ErrorCode.FRAME_SIZE_ERROR, id="a short GOAWAY"),
        pytest.param(frames.pack_frame(8, 0, 0, b"1"), ErrorCode.FRAME_SIZE_ERROR, id="a short WINDOW_UPDATE"),
        pytest.param(frames.pack_window_update(0, 0), ErrorCode.FLOW_CONTROL_ERROR, id="a window update of 0"),
        pytest.param(frames.pack_window_update(0, 2**31 - 1), ErrorCode.FLOW_CONTROL_ERROR, id="a window overflow"),
        pytest.param(frame(1, block(b"ab", ID))[:-11] + BIG * 5, ErrorCode.FLOW_CONTROL_ERROR, id="window overrun"),
    ],
)
def test_a_violation_ends_the_connection_with_its_code(data, code):
    core = raw(connection_window=65_535)
    core.window.replenish = False
    core.receive(data)
    assert core.error is not None
    goaway = core.take()[-(17 + len(core.error)) :]
    assert frames.unpack_goaway(goaway[9:])[1:] == (code, core.error.encode())
    assert core.receive(frame(1, block(b"ab", ID))) == []


def test_something_else_than_http2_is_recognised():
    core = ServerConnection(Announced(), HOLES)
    core.receive(b"GET / HTTP/1.1\r\n\r\n")
    assert core.error == "not the preface of HTTP/2"


@hypothesis.settings(max_examples=60, deadline=None)
@given(st.binary(max_size=2000))
def test_no_bytes_raise(data):
    core = raw()
    core.receive(data)
    core.take()


def test_after_goaway_new_streams_are_ignored_and_old_ones_served():
    core = raw()
    core.receive(frame(1, block(b"ab", ID)))
    core.go_away(1, ErrorCode.NO_ERROR)
    assert core.receive(frame(3, block(b"ab", ID))) == []
    core.take()
    core.respond(1, OK)
    assert core.take() == frames.pack_headers(1, OK, end_stream=True, max_frame_size=16384)
