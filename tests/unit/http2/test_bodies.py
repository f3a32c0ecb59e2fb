"""An acceptance with a small body costs no reading, and it makes no difference how it is cut, padded, mixed or followed."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.http2.forms import Message, SameForm
from tests.unit.http2.wire import block, parse
from worker.core.model import ACCEPTED, Answer, NoAnswer, Response
from worker.core.responses import Responses
from worker.http2 import frames
from worker.http2.client.batch import Batch
from worker.http2.client.core import ClientCore
from worker.http2.client.handlers import CONNECTION_WINDOW
from worker.providers.apns import answers

BODY = b'{\n  "name": "projects/p/messages/0:16127880109%7606eb247606eb24"\n}\n'
FIELDS = (
    (":status", "200"),
    ("content-type", "application/json; charset=UTF-8"),
    ("vary", "Origin,Accept-Encoding"),
    ("date", "Sun, 29 Nov 2026 08:00:00 GMT"),
    ("server", "scaffolding on HTTPServer2"),
    ("x-xss-protection", "0"),
    ("alt-svc", 'h3=":443"; ma=2592000'),
)
HEAD = block(*FIELDS)
LATER = block(*[(name, value.replace("08:00:00", "08:00:01")) for name, value in FIELDS])
END, END_HEADERS, PADDED = frames.FLAG_END_STREAM, frames.FLAG_END_HEADERS, frames.FLAG_PADDED


def head(stream_id: int, octets: bytes = HEAD, flags: int = END_HEADERS) -> bytes:
    return frames.pack_frame(frames.HEADERS, flags, stream_id, octets)


def body(stream_id: int, octets: bytes = BODY, flags: int = END) -> bytes:
    return frames.pack_frame(frames.DATA, flags, stream_id, octets)


def padded(octets: bytes) -> bytes:
    return b"\x05" + octets + bytes(5)


def answer(stream_id: int) -> bytes:
    return head(stream_id) + body(stream_id)


class Talk:
    """A core with requests in flight, the first of which was answered, so that the header block is known."""

    def __init__(self, count: int) -> None:
        self.core = ClientCore("h", answers, SameForm())
        self.core.receive(frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 10_000}), 0.0)
        self.batch = Batch([Message(b"{}", str(number)) for number in range(count + 1)], "token")
        self.core.write(self.batch, range(count + 1))
        self.core.receive(answer(1), 0.0)
        self.core.take()

    @property
    def responses(self) -> list[Response | None]:
        return self.batch.responses[1:]


#: Kinds of answers to a stream, and what they mean.
ANSWERS = {
    "plain": (answer, ACCEPTED),
    "padding": (lambda s: head(s) + body(s, padded(BODY), END | PADDED), ACCEPTED),
    "padded head": (lambda s: head(s, padded(HEAD), END_HEADERS | PADDED) + body(s), ACCEPTED),
    "trailers": (
        lambda s: head(s) + body(s, flags=0) + head(s, block(("grpc-status", "0")), END_HEADERS | END),
        ACCEPTED,
    ),
    "an unknown field": (lambda s: head(s, block(*FIELDS, ("x-new", str(s)))) + body(s), ACCEPTED),
    "another second": (lambda s: head(s, LATER) + body(s), ACCEPTED),
    "a field less": (lambda s: head(s, block(*FIELDS[:-1])) + body(s), ACCEPTED),
    "frames of a body": (lambda s: head(s) + body(s, BODY[:7], 0) + body(s, BODY[7:]), ACCEPTED),
    "an empty end": (lambda s: head(s) + body(s, flags=0) + body(s, b""), ACCEPTED),
    "an empty body": (lambda s: head(s) + body(s, b""), ACCEPTED),
    "no body": (lambda s: head(s, flags=END_HEADERS | END), ACCEPTED),
    "continuation": (
        lambda s: head(s, HEAD[:9], 0) + frames.pack_frame(frames.CONTINUATION, END_HEADERS, s, HEAD[9:]) + body(s),
        ACCEPTED,
    ),
    "a whole frame": (lambda s: head(s) + body(s, b"x" * frames.DEFAULT_MAX_FRAME_SIZE), ACCEPTED),
    "over a frame": (
        lambda s: head(s) + body(s, b"x" * frames.DEFAULT_MAX_FRAME_SIZE, 0) + body(s, b"x" * 100),
        ACCEPTED,
    ),
    "refusal": (
        lambda s: head(s, block((":status", "404"))) + body(s, b'{"reason":"Gone"}'),
        Answer(404, "Gone"),
    ),
    "reset": (
        lambda s: head(s) + frames.pack_rst_stream(s, frames.ErrorCode.INTERNAL_ERROR),
        NoAnswer("unknown", "stream reset: INTERNAL_ERROR"),
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_cut_at_every_octet_means_the_same(name: str) -> None:
    make, expected = ANSWERS[name]
    octets = answer(3) + make(5) + answer(7)
    whole = [*range(len(octets) + 1)] if len(octets) < 1_000 else [0, 40, *range(250, 300), 16_500, len(octets) - 3]
    for cut in whole:
        talk = Talk(3)
        talk.core.receive(octets[:cut], 0.0)
        talk.core.receive(octets[cut:], 0.0)
        assert talk.responses == [ACCEPTED, expected, ACCEPTED], cut
        assert talk.core.closed is None
        assert not len(talk.core.streams)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(sorted(ANSWERS)), min_size=1, max_size=8), st.lists(st.integers(0, 4_000), max_size=6))
def test_answers_of_all_kinds_in_any_cut_each_find_their_own(names: list[str], cuts: list[int]) -> None:
    talk = Talk(len(names))
    octets = b"".join(ANSWERS[name][0](2 * place + 3) for place, name in enumerate(names))
    places = sorted({0, *(cut % len(octets) for cut in cuts), len(octets)})
    for start, stop in pairwise(places):
        talk.core.receive(octets[start:stop], 0.0)
    assert talk.responses == [ANSWERS[name][1] for name in names]
    assert talk.core.closed is None


def test_heads_of_several_streams_before_their_bodies_are_acceptances_too() -> None:
    talk = Talk(3)
    talk.core.receive(b"".join([head(3), head(5), head(7), body(5), body(7), body(3)]), 0.0)
    assert talk.responses == [ACCEPTED] * 3


def test_the_body_of_an_acceptance_is_not_read() -> None:
    talk = Talk(2)
    talk.core.receive(head(3) + body(3, b"<html>") + head(5) + body(5, b'{"reason":"BadDeviceToken"}'), 0.0)
    assert talk.responses == [ACCEPTED] * 2


@pytest.mark.parametrize("piece", [1, 700, 5_000])
def test_every_octet_of_a_body_comes_back_as_window_in_time(piece: int) -> None:
    """The server may never be out of window: what is open is at least half of what we granted."""
    count = 4_000
    talk, size = Talk(count), 700
    returned = sent = 0
    wire = b"".join(head(2 * n + 3) + body(2 * n + 3, b"x" * size) for n in range(count))
    per = len(wire) // count * piece if piece > 1 else len(wire) // count + 5
    for start in range(0, len(wire), per):
        talk.core.receive(wire[start : start + per], 0.0)
        sent = min(count * size, (start + per) // (len(wire) // count) * size)
        for kind, _, stream_id, payload in parse(talk.core.take()):
            assert (kind, stream_id) == (frames.WINDOW_UPDATE, 0)
            returned += frames.unpack_word(payload)
        assert sent - returned <= CONNECTION_WINDOW // 2 + size + len(BODY)
    assert talk.responses == [ACCEPTED] * count
    assert returned > count * size - CONNECTION_WINDOW // 2 - size


def test_a_body_on_another_stream_is_no_part_of_an_acceptance() -> None:
    talk = Talk(2)
    talk.core.receive(head(3) + body(5), 0.0)
    assert talk.responses == [None, NoAnswer("unknown", "body before the status")]
    talk.core.receive(body(3), 0.0)
    assert talk.responses[0] is ACCEPTED


def test_a_second_answer_on_a_stream_is_a_fault_of_the_server() -> None:
    talk = Talk(2)
    talk.core.receive(answer(3) + answer(3), 0.0)
    assert talk.responses[0] is ACCEPTED
    assert talk.core.closed == "frame on a stream that is over"


def test_a_body_over_the_frame_size_is_a_fault_of_the_server() -> None:
    talk = Talk(1)
    talk.core.receive(head(3) + body(3, b"x" * (frames.DEFAULT_MAX_FRAME_SIZE + 1)), 0.0)
    assert talk.core.closed == "frame over the size we announced"
    assert talk.responses == [NoAnswer("unknown", "frame over the size we announced")]


def test_a_follower_is_free_once_the_one_before_it_was_accepted() -> None:
    core = ClientCore("h", answers, SameForm())
    core.receive(frames.pack_settings({}), 0.0)
    batch = Batch([Message(b"", "0"), Message(b"", "1"), Message(b"", "2")], "token", following={1: 2})
    core.write(batch, [0])
    core.receive(answer(1), 0.0)
    core.write(batch, [1])
    core.receive(answer(3), 0.0)
    assert batch.freed == [2]


@pytest.mark.parametrize(
    ("debug", "code", "calm"),
    [
        pytest.param(b"session_timed_out", frames.ErrorCode.NO_ERROR, False, id="idle"),
        pytest.param(b"exceeded_max_concurrent_streams", frames.ErrorCode.PROTOCOL_ERROR, False, id="streams"),
        pytest.param(b"too_many_pings", frames.ErrorCode.ENHANCE_YOUR_CALM, True, id="pings"),
    ],
)
def test_a_goaway_says_whether_the_server_wants_calm(debug: bytes, code: frames.ErrorCode, *, calm: bool) -> None:
    talk = Talk(1)
    payload = frames.pack_goaway(1, code)[frames.FRAME_HEADER_SIZE :] + debug
    talk.core.receive(frames.pack_frame(frames.GOAWAY, 0, 0, payload), 0.0)
    assert talk.core.asked_for_calm is calm
    assert [(index, cause) for _, index, cause in talk.core.streams.refused] == [
        (1, f"goaway: {code.name}" if code else "goaway")
    ]


def test_each_answer_has_its_time_and_what_has_none_has_no_time() -> None:
    core = ClientCore("h", answers, SameForm())
    core.receive(frames.pack_settings({}), 0.0)
    responses = Responses(4)
    core.write(Batch([Message(b"{}", str(number)) for number in range(4)], "token", responses), range(4))
    core.receive(answer(1), 5.0)
    core.receive(answer(3) + head(5, block((":status", "410")), END_HEADERS | END), 7.0)
    core.lost("connection lost")
    assert responses.answered == [5.0, 7.0, 7.0, 0.0]
    assert [type(response) for response in responses] == [Answer, Answer, Answer, NoAnswer]


@pytest.mark.parametrize("indices", [range(1, 3), [1, 2], range(2, 0, -1)])
def test_a_request_that_is_written_again_has_the_later_time(indices: Sequence[int]) -> None:
    batch = Batch([Message(b"{}", str(number)) for number in range(4)], "token")
    batch.note_written(range(4), 1.0)
    batch.note_written(indices, 2.0)
    assert batch.written == [1.0, 2.0, 2.0, 1.0]
