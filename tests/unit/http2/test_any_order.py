"""However the octets are cut and the frames of different streams are mixed: the same answers. Whatever arrives: an end."""

from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.http2.wire import GREETING, Client, batch, block, data, head, rejection
from worker.core.model import ACCEPTED, Answer, NoAnswer, Response
from worker.http2 import frames

E = frames.FLAG_END_HEADERS


def padded_rejection(stream_id: int) -> list[bytes]:
    """A 410 in six frames: an interim answer, a block in three pieces with priority and padding, a body in two, trailers."""
    whole = block((":status", "410"), ("apns-id", "x"))
    first = b"\x03" + bytes(5) + whole[:2] + bytes(3)
    return [
        head(stream_id, 103, ends=False),
        frames.pack_frame(frames.HEADERS, frames.FLAG_PADDED | frames.FLAG_PRIORITY, stream_id, first)
        + frames.pack_frame(frames.CONTINUATION, 0, stream_id, whole[2:5])
        + frames.pack_frame(frames.CONTINUATION, E, stream_id, whole[5:]),
        frames.pack_frame(frames.DATA, frames.FLAG_PADDED, stream_id, b"\x02" + b'{"reason":"Unreg' + bytes(2)),
        data(stream_id, b'istered","timestamp":1700000000000}', ends=False),
        frames.pack_frame(frames.HEADERS, E | frames.FLAG_END_STREAM, stream_id, block(("x-trailer", "1"))),
    ]


#: How a stream may be answered: frames in their order, and what that means.
ANSWERS: list[tuple[Callable[[int], list[bytes]], Response | None]] = [
    (lambda stream_id: [head(stream_id, 200)], ACCEPTED),
    (lambda stream_id: [head(stream_id, 200, ("apns-id", "00000000-0000-4000-8000-00000000000F"))], ACCEPTED),
    (lambda stream_id: [head(stream_id, 200, ends=False), data(stream_id, b"")], ACCEPTED),
    (lambda stream_id: [rejection(stream_id, 400, "BadDeviceToken")], Answer(400, "BadDeviceToken")),
    (padded_rejection, Answer(410, "Unregistered", 1_700_000_000_000)),
    (lambda stream_id: [head(stream_id, 429, ("retry-after", "7"))], Answer(429, None, None, 7.0)),
    (lambda stream_id: [head(stream_id, 503, ends=False), data(stream_id, b"<html>")], Answer(503)),
    (lambda stream_id: [frames.pack_rst_stream(stream_id, 2)], NoAnswer("unknown", "stream reset: INTERNAL_ERROR")),
    (lambda stream_id: [frames.pack_rst_stream(stream_id, 7)], None),
]
NOISE = [
    frames.pack_ping(b"01234567"),
    frames.pack_settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 1}),
    frames.pack_settings({frames.SETTINGS_HEADER_TABLE_SIZE: 0, 0x99: 7}),
    frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 0}),
    frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 500}),
    frames.pack_window_update(0, 1_000),
    frames.pack_frame(0x42, 0xFF, 0, b"anything"),
]


def mixed(choices: list[int], seed: int) -> tuple[bytes, list[Response | None]]:
    """The answers of the chosen kinds to streams 1, 3, 5…, their frames mixed at random with frames that change nothing."""
    random = Random(seed)
    scripts = [ANSWERS[kind][0](1 + 2 * place) for place, kind in enumerate(choices)]
    wire = b""
    while any(scripts):
        if random.random() < 0.3:
            wire += random.choice(NOISE)
        wire += random.choice([script for script in scripts if script]).pop(0)
    return wire, [ANSWERS[kind][1] for kind in choices]


kinds = st.lists(st.integers(0, len(ANSWERS) - 1), min_size=1, max_size=20)


@settings(max_examples=150, deadline=None)
@given(kinds, st.integers(0, 2**32), st.lists(st.integers(0, 3_000), max_size=20))
def test_any_cut_and_any_mixture_gives_the_same_answers(choices: list[int], seed: int, cuts: list[int]) -> None:
    wire, expected = mixed(choices, seed)
    client = Client(batch(len(choices)))
    ends = sorted(cut for cut in cuts if cut < len(wire))
    client.feed(*(wire[start:end] for start, end in zip([0, *ends], [*ends, len(wire)], strict=True)))
    assert client.core.closed is None
    assert client.answers == expected
    refused = {index for _, index, _ in client.core.streams.refused}
    assert refused == {number for number, each in enumerate(expected) if each is None}
    assert len(client.core.streams) == 0


@settings(max_examples=20, deadline=None)
@given(kinds, st.integers(0, 2**32))
def test_octet_by_octet_gives_the_same_answers(choices: list[int], seed: int) -> None:
    wire, expected = mixed(choices, seed)
    client = Client(batch(len(choices)), greeting=None)
    client.feed(*(bytes((octet,)) for octet in GREETING))
    client.send()
    client.feed(*(bytes((octet,)) for octet in wire))
    assert client.answers == expected


frame_like = st.builds(
    lambda kind, flags, stream_id, payload: frames.pack_frame(kind, flags, stream_id, payload),
    st.integers(0, 11),
    st.sampled_from([0, 1, 4, 5, 8, 12, 13, 0x20, 0x25, 0x2D, 0xFF]),
    st.sampled_from([0, 1, 2, 3, 5, 7, 99, 2**31 + 1]),
    st.binary(max_size=40) | st.sampled_from([b"\x88", block((":status", "410")), b"\x20\x88", bytes(4), bytes(8)]),
)


@settings(max_examples=300, deadline=None)
@given(st.booleans(), st.lists(frame_like | st.binary(max_size=60), max_size=25))
def test_whatever_a_server_sends_no_exception_escapes_and_every_notification_is_accounted_for(
    greets: bool, chunks: list[bytes]
) -> None:
    client = Client(batch(4), greeting=GREETING if greets else None)
    client.feed(*chunks)
    client.send()
    core, owner = client.core, client.batches[0]
    assert len(core._buffer) <= frames.DEFAULT_MAX_FRAME_SIZE + frames.FRAME_HEADER_SIZE
    sent = 4 if greets else sum(client._next)
    assert len(core.streams) + len(core.streams.refused) == owner.left - (4 - sent)
    core.lost("connection closed")
    assert owner.left - (4 - sent) == len(core.streams.refused)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_a_flipped_octet_never_gives_an_answer_to_another_notification(seed: int, draw: st.DataObject) -> None:
    random = Random(seed)
    # Each stream gets its own status, so that a mix-up shows.
    wire = bytearray(b"".join(head(1 + 2 * n, 400 + n, ends=False) + data(1 + 2 * n, b"{}") for n in range(6)))
    place = draw.draw(st.integers(0, len(wire) - 1))
    wire[place] ^= 1 << random.randrange(8)
    client = Client(batch(6))
    client.feed(bytes(wire))
    client.core.lost("connection closed")
    right = [each == (400 + n, None, None, None) for n, each in enumerate(client.answers) if isinstance(each, Answer)]
    # One flip may change one status or move one frame; everything else is untouched.
    assert right.count(False) <= 2
