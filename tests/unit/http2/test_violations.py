"""What a server must not do: the connection, or only the stream, ends cleanly, and everything in flight is accounted for."""

import pytest

from tests.unit.http2.wire import GREETING, Client, batch, block, data, head
from worker.core.model import ACCEPTED, NoAnswer
from worker.http2 import frames
from worker.http2.client.core import ClientCore
from worker.http2.client.guard import BUDGET
from worker.http2.frames import ErrorCode
from worker.providers.apns import answers
from worker.providers.apns.form import FORM

E = frames.FLAG_END_HEADERS
ES = E | frames.FLAG_END_STREAM
frame = frames.pack_frame


def settings(key: int, value: int) -> bytes:
    return frames.pack_settings({key: value})


CONNECTION_FAULTS = [
    pytest.param(frame(0, 0, 0, b"x"), "PROTOCOL_ERROR", id="DATA on stream 0"),
    pytest.param(data(9, b"x"), "PROTOCOL_ERROR", id="DATA on an idle stream"),
    pytest.param(frame(0, 8, 1, b"\x05abc"), "PROTOCOL_ERROR", id="DATA padded beyond its end"),
    pytest.param(frame(0, 8, 1, b""), "PROTOCOL_ERROR", id="DATA padded and empty"),
    pytest.param(frame(1, ES, 0, b"\x88"), "PROTOCOL_ERROR", id="HEADERS on stream 0"),
    pytest.param(frame(1, ES, 2, b"\x88"), "PROTOCOL_ERROR", id="HEADERS on a stream of the server's"),
    pytest.param(frame(1, ES, 9, b"\x88"), "PROTOCOL_ERROR", id="HEADERS on an idle stream"),
    pytest.param(frame(1, ES | 8, 1, b"\x09\x88"), "PROTOCOL_ERROR", id="HEADERS padded beyond their end"),
    pytest.param(frame(1, ES | 0x20, 1, b"\x00\x00"), "PROTOCOL_ERROR", id="HEADERS too short for their priority"),
    pytest.param(frame(1, ES, 1, b"\xff\xff\xff\xff\xff\xff"), "COMPRESSION_ERROR", id="an integer without end"),
    pytest.param(frame(1, ES, 1, b"\x88\x80"), "COMPRESSION_ERROR", id="header index 0"),
    pytest.param(frame(1, ES, 1, b"\x88\xbe"), "COMPRESSION_ERROR", id="an index into the table we refused"),
    pytest.param(frame(1, ES, 1, b"\x3f\xe1\x1f\x88"), "COMPRESSION_ERROR", id="a header table larger than allowed"),
    pytest.param(frame(1, ES, 1, b"\x88\x00\x7f"), "COMPRESSION_ERROR", id="a name cut off"),
    pytest.param(frame(1, ES, 1, b"\x88\x00\x07apns-id\x82\xff\xff"), "COMPRESSION_ERROR", id="bad Huffman padding"),
    pytest.param(frame(1, 0, 1, b"\x88") + data(1, b""), "PROTOCOL_ERROR", id="a block interrupted by DATA"),
    pytest.param(
        frame(1, 0, 1, b"\x88") + frame(9, E, 3, b""), "PROTOCOL_ERROR", id="a block continued on another stream"
    ),
    pytest.param(
        frame(1, 0, 1, b"\x88") + frame(0x42, 0, 0), "PROTOCOL_ERROR", id="a block interrupted by the unknown"
    ),
    pytest.param(frame(1, 0, 1, b"\x88") + frame(1, ES, 3, b"\x88"), "PROTOCOL_ERROR", id="a block within a block"),
    pytest.param(frame(9, E, 1, b"\x88"), "PROTOCOL_ERROR", id="CONTINUATION of nothing"),
    pytest.param(frame(2, 0, 0, bytes(5)), "PROTOCOL_ERROR", id="PRIORITY on stream 0"),
    pytest.param(frame(2, 0, 1, bytes(4)), "FRAME_SIZE_ERROR", id="PRIORITY of a wrong size"),
    pytest.param(frame(3, 0, 0, bytes(4)), "PROTOCOL_ERROR", id="RST_STREAM on stream 0"),
    pytest.param(frame(3, 0, 9, bytes(4)), "PROTOCOL_ERROR", id="RST_STREAM on an idle stream"),
    pytest.param(frame(3, 0, 1, bytes(5)), "FRAME_SIZE_ERROR", id="RST_STREAM of a wrong size"),
    pytest.param(frame(4, 0, 1), "PROTOCOL_ERROR", id="SETTINGS on a stream"),
    pytest.param(frame(4, 0, 0, bytes(5)), "FRAME_SIZE_ERROR", id="SETTINGS of a wrong size"),
    pytest.param(frame(4, 1, 0, bytes(6)), "FRAME_SIZE_ERROR", id="an acknowledgement with settings"),
    pytest.param(settings(2, 1), "PROTOCOL_ERROR", id="push switched on by a server"),
    pytest.param(settings(4, 2**31), "FLOW_CONTROL_ERROR", id="an initial window over its maximum"),
    pytest.param(settings(5, 16_383), "PROTOCOL_ERROR", id="a max frame size too small"),
    pytest.param(settings(5, 2**24), "PROTOCOL_ERROR", id="a max frame size too large"),
    pytest.param(frame(5, E, 1, bytes(4)), "PROTOCOL_ERROR", id="PUSH_PROMISE"),
    pytest.param(frame(6, 0, 1, bytes(8)), "PROTOCOL_ERROR", id="PING on a stream"),
    pytest.param(frame(6, 0, 0, bytes(7)), "FRAME_SIZE_ERROR", id="PING of a wrong size"),
    pytest.param(frame(7, 0, 1, bytes(8)), "PROTOCOL_ERROR", id="GOAWAY on a stream"),
    pytest.param(frame(7, 0, 0, bytes(7)), "FRAME_SIZE_ERROR", id="GOAWAY of a wrong size"),
    pytest.param(frames.pack_goaway(3, 0) + frames.pack_goaway(5, 0), "PROTOCOL_ERROR", id="GOAWAY raised"),
    pytest.param(frame(8, 0, 0, bytes(4)), "PROTOCOL_ERROR", id="WINDOW_UPDATE of nothing"),
    pytest.param(frame(8, 0, 0, bytes(3)), "FRAME_SIZE_ERROR", id="WINDOW_UPDATE of a wrong size"),
    pytest.param(frame(8, 0, 9, b"\0\0\0\1"), "PROTOCOL_ERROR", id="WINDOW_UPDATE on an idle stream"),
    pytest.param(frames.pack_window_update(0, 2**31 - 1), "FLOW_CONTROL_ERROR", id="a connection window too wide"),
    pytest.param(frame(0, 0, 1, bytes(16_385)), "FRAME_SIZE_ERROR", id="a frame over the size we announced"),
    pytest.param(head(1, 200) + head(1, 200), "STREAM_CLOSED", id="HEADERS on a stream that is over"),
    pytest.param(head(1, 200) + data(1, b"x"), "STREAM_CLOSED", id="DATA on a stream that is over"),
]


@pytest.mark.parametrize(("wire", "code"), CONNECTION_FAULTS)
def test_a_fault_of_the_server_closes_the_connection_with_its_code(wire: bytes, code: str) -> None:
    client = Client(batch(3))
    client.feed(wire)
    assert client.goaway is ErrorCode[code]
    assert client.core.closed
    assert client.batches[0].left == len(client.core.streams.refused)
    assert all(answer in (None, ACCEPTED) or isinstance(answer, NoAnswer) for answer in client.answers)
    assert client.core.room() == 0


STREAM_FAULTS = [
    pytest.param(data(1, b"x"), "PROTOCOL_ERROR", id="a body before the status"),
    pytest.param(frame(1, ES, 1, block(("apns-id", "x"))), "PROTOCOL_ERROR", id="no status"),
    pytest.param(frame(1, ES, 1, block((":status", "200"), (":status", "200"))), "PROTOCOL_ERROR", id="two statuses"),
    pytest.param(frame(1, ES, 1, block((":status", "2x0"))), "PROTOCOL_ERROR", id="a status that is no number"),
    pytest.param(frame(1, ES, 1, block((":status", "101"))), "PROTOCOL_ERROR", id="switching protocols"),
    pytest.param(frame(1, ES, 1, block((":status", "100"))), "PROTOCOL_ERROR", id="an interim answer that is the last"),
    pytest.param(frame(1, ES, 1, block((":path", "/"), (":status", "200"))), "PROTOCOL_ERROR", id="a request's field"),
    pytest.param(frame(1, ES, 1, block(("a", "b"), (":status", "200"))), "PROTOCOL_ERROR", id="the status too late"),
    pytest.param(frame(1, ES, 1, block((":status", "200"), ("Upper", "x"))), "PROTOCOL_ERROR", id="a name in capitals"),
    pytest.param(
        frame(1, ES, 1, block((":status", "200"), ("connection", "close"))), "PROTOCOL_ERROR", id="connection"
    ),
    pytest.param(frame(1, ES, 1, block((":status", "200"), ("x", "a\r\nb"))), "PROTOCOL_ERROR", id="a line break"),
    pytest.param(head(1, 410, ends=False) + head(1, 200), "PROTOCOL_ERROR", id="a second status"),
    pytest.param(
        head(1, 410, ends=False) + frame(1, E, 1, block(("x", "y"))), "PROTOCOL_ERROR", id="trailers that end nothing"
    ),
    pytest.param(frame(8, 0, 1, bytes(4)), "PROTOCOL_ERROR", id="a window update of nothing"),
    pytest.param(frames.pack_window_update(1, 2**31 - 1), "FLOW_CONTROL_ERROR", id="a stream window too wide"),
]


@pytest.mark.parametrize(("wire", "code"), STREAM_FAULTS)
def test_a_malformed_answer_costs_only_its_own_stream(wire: bytes, code: str) -> None:
    client = Client(batch(2))
    client.feed(wire)
    assert client.resets() == {1: ErrorCode[code]}
    client.feed(data(1, b"late"), head(3, 200))
    assert client.core.closed is None
    first, second = client.answers
    assert isinstance(first, NoAnswer)
    assert first.sent == "unknown"
    assert second == ACCEPTED


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(frames.pack_ping(bytes(8)), id="PING"),
        pytest.param(frames.SETTINGS_ACK, id="an acknowledgement"),
        pytest.param(frame(0x42, 0, 0), id="an unknown frame"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="HTTP/1.1"),
    ],
)
def test_a_server_that_does_not_begin_with_settings_is_left(wire: bytes) -> None:
    client = Client(batch(1), greeting=None)
    client.feed(wire)
    assert client.goaway in {ErrorCode.PROTOCOL_ERROR, ErrorCode.FRAME_SIZE_ERROR}
    assert client.core.room() == 0
    assert client.batches[0].left == 1, "nothing is sent before the server's settings are known"


FLOODS = [
    pytest.param(frames.pack_ping(bytes(8)), id="PING"),
    pytest.param(GREETING, id="SETTINGS"),
    pytest.param(frame(0x42, 0, 0), id="unknown frames"),
    pytest.param(frame(2, 0, 1, bytes(5)), id="PRIORITY"),
    pytest.param(head(1, 100, ends=False), id="interim answers"),
    pytest.param(data(3, b"", ends=False), id="empty DATA"),
    pytest.param(frames.pack_window_update(0, 1), id="WINDOW_UPDATE"),
    pytest.param(frames.pack_window_update(5, 1), id="WINDOW_UPDATE on a stream that is over"),
    pytest.param(frames.pack_rst_stream(5, 0), id="RST_STREAM on a stream that is over"),
    pytest.param(data(7, b"", ends=False), id="empty DATA on a stream that we reset"),
    pytest.param(head(7, 200, ends=False), id="headers on a stream that we reset"),
]
LARGE = [
    pytest.param(frame(0x42, 0, 0, bytes(16_000)), id="unknown frames"),
    pytest.param(head(7, 500, ("x", "y" * 4_000), ends=False), id="headers on a stream that we reset"),
    pytest.param(head(1, 103, ("link", "a" * 4_000), ends=False), id="interim answers"),
    pytest.param(frame(4, 0, 0, (b"\x00\x04\x00\x00\xff\xff") * 2_700), id="SETTINGS"),
]


def flooded() -> Client:
    """With one answer begun on stream 3, one had on 5, and 7 reset by us."""
    client = Client(batch(4))
    client.feed(head(3, 410, ends=False), head(5, 200), frame(8, 0, 7, bytes(4)))
    return client


@pytest.mark.parametrize("wire", FLOODS)
def test_a_flood_of_frames_without_use_ends_the_connection(wire: bytes) -> None:
    client = flooded()
    client.feed(wire * 5_000, wire * 5_100)
    assert client.goaway is ErrorCode.ENHANCE_YOUR_CALM
    assert client.batches[0].left == 0


@pytest.mark.parametrize("wire", LARGE)
def test_large_frames_count_for_more(wire: bytes) -> None:
    client = flooded()
    client.feed(*[wire] * 300)
    assert client.goaway is ErrorCode.ENHANCE_YOUR_CALM


def test_what_comes_with_answers_is_no_flood_however_many_they_are() -> None:
    client = Client(batch(3_000), greeting=frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 100}))
    for stream_id in range(1, 6_000, 2):
        client.feed(frames.pack_window_update(0, 100), frames.pack_window_update(stream_id, 100))
        client.feed(head(stream_id, 410, ("x", "y" * 500), ends=False))
        client.feed(*[data(stream_id, b"{", ends=False)] * 4, data(stream_id, b"}"))
        client.send()
    assert client.core._guard._spent > BUDGET, "which grows with the requests"
    assert client.core.closed is None
    assert client.batches[0].left == 0


def test_the_same_frames_spread_over_hours_are_no_flood() -> None:
    client = Client(batch(1))
    for hour in range(10):
        client.feed(frames.pack_ping(bytes(8)) * 5_000, now=hour * 3_600.0)
    assert client.core.closed is None


def test_a_header_block_that_never_ends_is_cut_off() -> None:
    client = Client(batch(1))
    client.feed(frame(1, 0, 1, b"\x88"), frame(9, 0, 1, bytes(16_000)) * 3)
    assert client.goaway is ErrorCode.ENHANCE_YOUR_CALM


def test_a_small_block_that_unfolds_into_a_huge_list_is_refused() -> None:
    client = Client(batch(1))
    # Each octet is a whole static field, so 16 KiB of them would be half a million octets of headers.
    client.feed(frame(1, ES, 1, b"\x88" + b"\x90" * 16_000))
    assert client.goaway is ErrorCode.COMPRESSION_ERROR


def test_a_body_without_end_is_cut_off_and_its_status_still_counts() -> None:
    client = Client(batch(2))
    client.feed(head(1, 410, ends=False), data(1, bytes(16_000), ends=False), data(1, bytes(16_000), ends=False))
    assert client.resets() == {1: ErrorCode.CANCEL}
    client.feed(head(3, 200))
    assert client.answers == [(410, None, None, None), ACCEPTED]


def test_bodies_of_many_streams_together_are_bounded() -> None:
    client = Client(batch(900))
    for stream_id in range(1, 1_800, 2):
        client.feed(head(stream_id, 500, ends=False), data(stream_id, bytes(16_000), ends=False))
    held = sum(len(stream.received) for stream in client.core.streams.busy.values())
    assert held <= 4 << 20
    assert client.core.closed is None


def test_padding_counts_as_body() -> None:
    client = Client(batch(1))
    padded = frame(0, frames.FLAG_PADDED, 1, b"\xff" + bytes(255))
    client.feed(head(1, 500, ends=False), padded * 100)
    assert client.resets() == {1: ErrorCode.CANCEL}


def test_after_its_end_a_connection_ignores_everything() -> None:
    core = ClientCore("h", answers, FORM)
    core.receive(b"garbage in place of settings", 0.0)
    assert core.closed
    core.take()
    core.receive(GREETING, 0.0)
    assert core.take() == b""
