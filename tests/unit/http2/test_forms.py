"""What a form says is what a server reads, whichever way it is written: judged by the decoder of `hpack`."""

from typing import Any

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.http2.forms import SEND, Message, OwnForm, SameForm
from tests.unit.http2.wire import data, head, parse
from worker.core.model import ACCEPTED, Answer, NoAnswer
from worker.http2 import frames
from worker.http2.client.batch import Batch
from worker.http2.client.core import ClientCore
from worker.http2.client.form import Form
from worker.providers.apns import answers

COMMON = [(":method", "POST"), (":scheme", "https"), (":authority", "h")]


def core_of(form: Form, **settings: int) -> ClientCore:
    core = ClientCore("h", answers, form)
    greeting = {frames.SETTINGS_MAX_CONCURRENT_STREAMS: 1_000}
    core.receive(frames.pack_settings(greeting | {getattr(frames, name): size for name, size in settings.items()}), 0.0)
    core.take()
    return core


class Reader:
    """The server's end: the fields and the body of each request."""

    def __init__(self, table: int = 4_096) -> None:
        self.decoder = hpack.Decoder()
        self.decoder.max_allowed_table_size = table
        self.requests: dict[int, tuple[list[tuple[str, str]], bytes]] = {}

    def read(self, written: bytes) -> None:
        for kind, flags, stream_id, payload in parse(written):
            if kind == frames.HEADERS:
                assert flags == frames.FLAG_END_HEADERS
                fields = [(str(name), str(value)) for name, value in self.decoder.decode(payload)]
                self.requests[stream_id] = (fields, b"")
            elif kind == frames.DATA:
                self.requests[stream_id] = (self.requests[stream_id][0], self.requests[stream_id][1] + payload)


def fields_of(form: Form, message: Message, authorization: str) -> list[tuple[str, str]]:
    if isinstance(form, SameForm):
        return [
            *COMMON,
            (":path", SEND.decode()),
            ("authorization", f"Bearer {authorization}"),
            ("content-type", "application/json"),
        ]
    vapid = ("authorization", f"vapid {authorization}")
    return [*COMMON, (":path", message.path), vapid, ("urgency", "high"), ("topic", message.topic)]


BATCHES = st.lists(
    st.tuples(
        st.sampled_from(["one", "two", "long" * 300, "longest" * 900]),
        st.lists(
            st.builds(
                Message,
                st.binary(max_size=40),
                st.just(""),
                st.sampled_from(["/a", "/b?t=%2F"]),
                st.text("ab", max_size=3),
            ),
            min_size=1,
            max_size=4,
        ),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("form", [SameForm(), OwnForm()], ids=["the same", "their own"])
@settings(max_examples=60, deadline=None)
@given(BATCHES, st.sampled_from([0, 100, 300, 4_096]))
def test_requests_of_changing_tokens_are_read_as_they_were_meant(
    form: Form, batches: list[tuple[str, list[Message]]], table: int
) -> None:
    core, reader = core_of(form, SETTINGS_HEADER_TABLE_SIZE=table), Reader(table)
    expected = []
    for authorization, messages in batches:
        assert core.write(Batch(messages, authorization), range(len(messages))) == len(messages)
        expected += [(fields_of(form, each, authorization), each.payload) for each in messages]
    reader.read(core.take())
    assert [reader.requests[2 * number + 1] for number in range(len(expected))] == expected
    assert core.closed is None


def test_a_block_without_own_fields_is_written_once() -> None:
    core = core_of(SameForm())
    core.write(Batch([Message(b"{}", str(n)) for n in range(50)], "token"), range(50))
    blocks = [payload for kind, _, _, payload in parse(core.take()) if kind == frames.HEADERS]
    assert len(set(blocks[2:])) == 1
    assert len(blocks[-1]) == 6, "method, scheme and four indices"


def test_a_window_that_is_used_up_splits_a_batch_and_no_octet_is_lost() -> None:
    core, reader = core_of(SameForm()), Reader()
    messages = [Message(bytes((65 + n,)) * 30_000, str(n)) for n in range(4)]
    batch = Batch(messages, "token")
    written = core.write(batch, range(4))
    reader.read(core.take())
    assert written == 3
    core.receive(frames.pack_window_update(0, 200_000), 0.0)
    written += core.write(batch, range(written, 4))
    reader.read(core.take())
    assert written == 4
    assert [body for _, body in reader.requests.values()] == [each.payload for each in messages]


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        pytest.param(Message(b"", "x", "no slash", "t"), "endpoint not allowed in a path", id="no slash"),
        pytest.param(Message(b"", "x", "/a b", "t"), "endpoint not allowed in a path", id="a blank"),
        pytest.param(Message(b"", "x", "/ä", "t"), "endpoint not allowed in a path", id="no ASCII"),
        pytest.param(Message(b"", "x", "/a\r\nx: y", "t"), "endpoint not allowed in a path", id="a line break"),
        pytest.param(Message(b"", "x", "/a", "t\n"), "topic not allowed in a header", id="a bad value"),
    ],
)
def test_a_value_that_http_forbids_stops_its_own_request_alone(message: Message, cause: str) -> None:
    core, reader = core_of(OwnForm()), Reader()
    good = Message(b"{}", "good", "/good", "t")
    batch = Batch([good, good, good, message, good], "token")
    assert core.write(batch, range(5)) == 5
    reader.read(core.take())
    assert batch.responses[3] == NoAnswer("unwritable", cause)
    assert [fields[3] for fields, _ in reader.requests.values()] == [(":path", "/good")] * 4


def test_headers_over_the_servers_limit_are_not_sent_to_it() -> None:
    core = core_of(OwnForm(), SETTINGS_MAX_HEADER_LIST_SIZE=400)
    batch = Batch(
        [Message(b"", "a", "/a", "t"), Message(b"", "b", "/b", "t"), Message(b"", "c", "/" + "c" * 400, "t")], "x"
    )
    assert core.write(batch, range(3)) == 3
    assert batch.responses == [None, None, NoAnswer("not_sent", "headers over the server's limit")]


class Created:
    """A service whose acceptance is 201, and which reads a field of it."""

    accepted = frozenset((201,))
    fields = frozenset(("x-dropped",))
    read_answer: Any = staticmethod(lambda status, fields, _body: Answer(status, fields.get("x-dropped")))
    read_reason = staticmethod(answers.read_reason)
    is_passing = staticmethod(answers.is_passing)
    is_parting = staticmethod(answers.is_parting)


def test_the_service_says_which_statuses_accept() -> None:
    core = ClientCore("h", Created(), OwnForm())
    core.receive(frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 10}), 0.0)
    batch = Batch([Message(b"", str(n), "/a", "t") for n in range(5)], "token")
    assert core.write(batch, range(5)) == 5
    core.receive(head(1, 201) + head(3, 201, ends=False) + data(3, b"x"), 0.0)
    core.receive(head(5, 202) + head(7, 201, ("x-dropped", "full")) + head(9, 201), 0.0)
    assert batch.responses == [ACCEPTED, ACCEPTED, Answer(202), Answer(201, "full"), ACCEPTED]
