"""Header blocks of any encoder, judged against the `hpack` library; and the shapes learnt from them."""

import hpack
import hypothesis
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import given
from hypothesis import strategies as st

from worker.http2 import frames
from worker.http2.server import huffman
from worker.http2.server.header_blocks import MOST_SHAPES, BlockError, BlockReader
from worker.simulator.apns.judge import HOLES

PSEUDO = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"localhost")]
NAMES = st.sampled_from([b"apns-topic", b"apns-push-type", b"authorization", b"apns-collapse-id", b"x-any"])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=80), st.booleans()), max_size=6)
REQUESTS = st.lists(st.tuples(st.binary(max_size=40), FIELDS), min_size=1, max_size=8)


@hypothesis.settings(max_examples=60, deadline=None)
@given(REQUESTS, st.booleans(), st.sampled_from([0, 60, 200, 4096]))
def test_what_hpack_writes_is_read(requests, huffman, table_size):
    encoder, reader = hpack.Encoder(), BlockReader(HOLES)
    encoder.header_table_size = table_size
    for path, fields in requests:
        headers = [*PSEUDO, (b":path", b"/3/device/" + path.hex().encode())]
        headers += [(name, value) for name, value, _ in fields]
        sensitive = [hpack.HeaderTuple(*header) for header in headers[:4]]
        sensitive += [
            hpack.NeverIndexedHeaderTuple(name, value) if never else hpack.HeaderTuple(name, value)
            for name, value, never in fields
        ]
        assert reader.read(encoder.encode(sensitive, huffman=huffman)).fields == tuple(headers)


@hypothesis.settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_are_fields_or_a_block_error_as_hpack_says(blocks):
    reader, judge = BlockReader(HOLES), hpack.Decoder()
    for block in blocks:
        try:
            expected = tuple(tuple(header) for header in judge.decode(block, raw=True))
        except (hpack.HPACKError, IndexError):
            with pytest.raises(BlockError):
                reader.read(block)
            return
        assert reader.read(block).fields == expected


@hypothesis.settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_huffman_string_or_not_as_hpack_says(data):
    try:
        expected = decode_huffman(data)
    except hpack.HPACKError:
        with pytest.raises(huffman.HuffmanError):
            huffman.decode(data)
        return
    assert huffman.decode(data) == expected


@hypothesis.settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_what_hpack_codes_by_huffman_is_decoded(data):
    assert huffman.decode(HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(data)) == data


def literal(name: bytes, value: bytes) -> bytes:
    return b"\x00%c%b%c%b" % (len(name), name, len(value), value)


def block(token: bytes, apns_id: bytes, rest: bytes = b"") -> bytes:
    path = b"/3/device/" + token
    return b"\x83\x87\x04%c%b%b%b" % (len(path), path, literal(b"apns-id", apns_id), rest)


def frame(stream_id: int, header_block: bytes, body: bytes = b"{}") -> bytes:
    headers = frames.pack_frame(frames.HEADERS, frames.FLAG_END_HEADERS, stream_id, header_block)
    return headers + frames.pack_frame(frames.DATA, frames.FLAG_END_STREAM, stream_id, body)


ID, OTHER_ID = b"123e4567-e89b-12d3-a456-4266554400a0", b"00000000-0000-4000-8000-000000000001"


def _learnt(*blocks: bytes) -> BlockReader:
    reader = BlockReader(HOLES)
    for known in blocks:
        reader.read(known)
    return reader


def test_a_second_request_of_a_kind_is_known_by_its_bytes():
    reader = _learnt(block(b"ab12", ID))
    known = reader.match(b"junk" + frame(7, block(b"cd34", OTHER_ID), b"123"), 4)
    assert known is not None
    shape, _, found = known
    assert found.groups() == (b"\x00\x00\x00\x07", b"cd34", OTHER_ID, b"\x00\x03")
    expected = BlockReader(HOLES).read(block(b"cd34", OTHER_ID))
    assert tuple(shape.headers((b"cd34", OTHER_ID))) == expected.fields


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(frame(7, block(b"CD34", ID)), id="a token in upper case"),
        pytest.param(frame(7, block(b"zz34", ID)), id="a token that is not hexadecimal"),
        pytest.param(frame(7, block(b"cd", ID)), id="a shorter token"),
        pytest.param(frame(7, block(b"cd34", ID.upper())), id="an id in upper case"),
        pytest.param(frame(7, block(b"cd34", b"x" * 36)), id="an id that is none"),
        pytest.param(frame(7, block(b"cd34", ID, literal(b"a", b"b"))), id="one field more"),
        pytest.param(frame(7, block(b"cd34", ID))[:-3] + b"x", id="a DATA frame that has not arrived"),
        pytest.param(
            frames.pack_frame(frames.HEADERS, 5, 7, block(b"cd34", ID)) + frame(9, block(b"cd34", ID)), id="no body"
        ),
    ],
)
def test_another_kind_of_request_is_not_taken_for_it(other):
    found = _learnt(block(b"ab12", ID)).match(other, 0)
    assert found is None or found[2].end() + 2 > len(other)


def test_a_change_of_the_table_forgets_every_shape():
    reader = _learnt(block(b"ab12", ID))
    reader.read(b"\x83\x87\x40\x05x-new\x01v\x04\x01/")
    assert reader.match(frame(7, block(b"cd34", ID)), 0) is None


def test_a_block_is_learnt_once():
    reader = _learnt(*[block(b"%04x" % n, ID) for n in range(50)])
    assert [len(shapes) for shapes in reader.shapes.values()] == [1]


def test_shapes_are_bounded():
    reader = _learnt(*[block(b"ab", ID, literal(b"x", b"%06d" % n)) for n in range(2 * MOST_SHAPES)])
    assert sum(map(len, reader.shapes.values())) == MOST_SHAPES


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([], id="nothing"),
        pytest.param([(b":method", b"POST"), (b":scheme", b"https")], id="no path"),
        pytest.param([*PSEUDO, (b":path", b"/"), (b":path", b"/")], id="a pseudo-header twice"),
        pytest.param([*PSEUDO, (b"x", b"y"), (b":path", b"/")], id="a late pseudo-header"),
        pytest.param([*PSEUDO, (b":path", b"/"), (b"X-Upper", b"y")], id="a name in upper case"),
        pytest.param([*PSEUDO, (b":path", b"/"), (b"connection", b"close")], id="a header of HTTP/1"),
        pytest.param([*PSEUDO, (b":path", b"/"), (b"content-length", b"x")], id="a length that is none"),
        pytest.param([*PSEUDO, (b":path", b"/"), (b":status", b"200")], id="a response's pseudo-header"),
    ],
)
def test_malformed_fields_are_recognised(fields):
    assert BlockReader(HOLES).read(hpack.Encoder().encode(fields)).malformed


def test_a_header_list_beyond_the_announced_size_is_refused():
    encoder, reader = hpack.Encoder(), BlockReader(HOLES, max_list_size=200)
    with pytest.raises(BlockError):
        reader.read(encoder.encode([*PSEUDO, (b"x", b"y" * 100)]))
