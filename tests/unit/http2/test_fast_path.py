"""The short cut past a full decoding: it may say yes only to what the `hpack` library reads as a plain acceptance."""

from hpack import Decoder, HPACKError
from hpack.hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.http2.client import visible
from worker.http2.client.answers import HeaderReader
from worker.http2.client.errors import Http2Error
from worker.http2.client.fast_path import PlainSuccess
from worker.providers.apns import answers

APPLE = [(":status", "200"), ("apns-id", "A56D44BE-8A2D-4F2F-B5B3-7A4B1C0D0E0F"), ("apns-unique-id", "x-1")]


def encoded(*, huffman: bool) -> bytes:
    encoder = Encoder()
    encoder.header_table_size = 0
    encoder.encode([(":status", "200")])
    return encoder.encode(APPLE, huffman=huffman)


def test_apples_acceptance_is_recognised_whether_huffman_coded_or_not() -> None:
    plain = PlainSuccess()
    assert plain.matches(b"\x88", 0, 1)
    for huffman in (True, True, False, False):
        block = encoded(huffman=huffman)
        assert plain.matches(b"before" + block + b"behind", 6, 6 + len(block))


@settings(max_examples=200, deadline=None)
@given(st.booleans(), st.integers(0, 100), st.binary(max_size=3), st.integers(0, 3))
def test_whatever_it_says_yes_to_is_an_acceptance_to_the_library_too(
    huffman: bool, place: int, patch: bytes, cut: int
) -> None:
    plain, usual = PlainSuccess(), encoded(huffman=huffman)
    assert plain.matches(usual, 0, len(usual))
    block = bytearray(usual)
    place %= len(block)
    block[place : place + cut] = patch
    # What it remembers of the one before changes no answer.
    found = plain.matches(bytes(block), 0, len(block))
    assert found is PlainSuccess().matches(bytes(block), 0, len(block))
    if block[:1] != b"\x88" or not found:
        return
    head = HeaderReader(answers).read(bytes(block))
    assert head == (200, {})


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=12) | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)).map(str.encode))
def test_huffman_code_of_visible_octets_is_recognised_as_the_library_reads_it(octets: bytes) -> None:
    block = b"\x00" + b"\x01x" + bytes((0x80 | len(octets),)) + octets
    try:
        _, value = next(iter(Decoder().decode(block, raw=True)))
        expected = all(0x21 <= octet <= 0x7E for octet in bytes(value))
    except HPACKError:
        expected = False
    assert visible.is_visible(octets) is expected


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60).map(str.encode))
def test_what_is_huffman_coded_here_the_library_reads_back(value: bytes) -> None:
    literal = visible.literal(value)
    assert list(Decoder().decode(b"\x00" + b"\x01x" + literal, raw=True)) == [(b"x", value)]
    assert visible.is_visible(literal[1:])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_no_header_block_does_worse_than_a_fault_of_the_server(block: bytes) -> None:
    reader = HeaderReader(answers)
    for _ in range(2):
        try:
            reader.read(block)
        except Http2Error:
            continue
