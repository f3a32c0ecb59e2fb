"""Whatever answers came before on a connection, a header block means what it means on a new one."""

from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.http2.client.answers import Head, HeaderReader
from worker.http2.client.errors import ConnectionFaultError, StreamFaultError
from worker.http2.client.pieces import field_end
from worker.providers.web import answers

NAMES = ("location", "date", "content-type", "retry-after", "x-wns-status", "x-new", "Bad", ":status", "connection")
VALUES = ("", "a", "https://push.example/m/1", " blank", "a\r\nb", "x" * 126, "x" * 127, "x" * 300, "ünicode")
FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=5)
BLOCKS = st.tuples(st.sampled_from(("200", "201", "410", "xyz")), FIELDS, st.booleans())


def block(status: str, fields: list[tuple[str, str]], huffman: bool) -> bytes:
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode([(":status", status), *fields], huffman=huffman)


def meaning(reader: HeaderReader, octets: bytes) -> Head | str:
    try:
        return reader.read(octets)
    except (ConnectionFaultError, StreamFaultError) as fault:
        return f"{type(fault).__name__}: {fault}"


@settings(deadline=None)
@given(st.lists(BLOCKS, min_size=2, max_size=8), st.lists(st.integers(0, 400), max_size=8))
def test_what_came_before_changes_no_meaning(
    blocks: list[tuple[str, list[tuple[str, str]], bool]], cuts: list[int]
) -> None:
    reader = HeaderReader(answers)
    for place, drawn in enumerate(blocks):
        whole = block(*drawn)
        cut = whole[: cuts[place]] if place < len(cuts) else whole
        for octets in (whole, cut):
            assert meaning(reader, octets) == meaning(HeaderReader(answers), octets)


def test_a_field_that_is_cut_off_or_a_size_of_the_table_is_left_to_a_decoder() -> None:
    octets = b"\x0f\x1f\x03abc"  # `location`, by its index
    assert field_end(octets, 0) == len(octets)
    assert all(field_end(octets[:length], 0) is None for length in range(1, len(octets)))
    assert field_end(b"\x20", 0) is None
    assert field_end(b"\xff\x80\x01", 0) is None
