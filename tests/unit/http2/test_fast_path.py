"""The short cut past a full decoding: it may say yes only to what the `hpack` library reads as a plain acceptance."""

from typing import Any

import pytest
from hpack import Decoder, HPACKError
from hpack.hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.core.model import Heading, Notification
from worker.core.responses import Responses
from worker.http2 import frames
from worker.http2.client import fast_path, visible
from worker.http2.client.answers import HeaderReader
from worker.http2.client.batch import Batch
from worker.http2.client.core import ClientCore
from worker.http2.client.errors import Http2Error
from worker.http2.client.fast_path import PlainSuccess
from worker.providers.apns import answers
from worker.providers.apns.form import FORM

APPLE = [(":status", "200"), ("apns-id", "A56D44BE-8A2D-4F2F-B5B3-7A4B1C0D0E0F"), ("apns-unique-id", "x-1")]


def encoded(*, huffman: bool) -> bytes:
    return block_of(APPLE, huffman=huffman)


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
@given(st.lists(st.uuids().map(str), min_size=2, max_size=6), st.binary(max_size=2), st.integers(0, 60))
def test_coded_ids_of_other_lengths_are_recognised_by_what_is_before_them(
    ids: list[str], patch: bytes, place: int
) -> None:
    plain = PlainSuccess()
    blocks = [coded_block([(":status", "200"), ("apns-id", id)]) for id in ids]
    assert all(plain.matches(block, 0, len(block)) for block in blocks)
    broken = bytearray(blocks[-1])
    place %= len(broken)
    broken[place : place + len(patch)] = patch
    assert plain.matches(bytes(broken), 0, len(broken)) is PlainSuccess().matches(bytes(broken), 0, len(broken))


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


def notification(number: int) -> Notification:
    return Notification(f"{number:064x}", f"6ba7b810-9dad-51d1-80b4-{number:012x}", b"{}", Heading("io.team.App"))


def answered(frames_of: list[bytes], cuts: list[int], enough: int) -> tuple[Any, ...]:
    """What becomes of 12 requests whose server sends these frames, in pieces."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fast_path, "_ENOUGH", enough)
        core = ClientCore("api.push.apple.com", answers, FORM)
        core.receive(frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: 100}), 0.0)
        batch = Batch([notification(number) for number in range(12)], "jwt", Responses(12), {2: 11})
        core.write(batch, range(11))
        core.take()
        data, places = b"".join(frames_of), sorted({0, *cuts})
        for number, (start, end) in enumerate(zip(places, [*places[1:], len(data)], strict=True)):
            core.receive(data[start:end], 1.0 + number)
    streams = core.streams
    left = (batch.left, batch.freed, batch.answered, sorted(streams.waiting), sorted(streams.busy), core.answered)
    return [*batch.responses], left, len(streams.completed), core.closed, core.retiring, core.take()


def answer(stream: int, kind: str) -> bytes:
    apple = APPLE[:2] if kind != "long" else APPLE
    if kind == "gone":
        apple = [(":status", "410")]
    block = plain_block(apple)
    if kind == "blank":
        block = block[:-1] + b" "
    if kind == "body":
        head = frames.pack_headers(stream, block, end_stream=False, max_frame_size=16_384)
        return head + frames.pack_frame(frames.DATA, frames.FLAG_END_STREAM, stream, b"{}")
    return frames.pack_headers(stream, block, end_stream=True, max_frame_size=16_384)


def block_of(fields: list[tuple[str, str]], *, huffman: bool) -> bytes:
    encoder = Encoder()
    encoder.header_table_size = 0
    encoder.encode([(":status", "200")])
    return encoder.encode(fields, huffman=huffman)


def plain_block(fields: list[tuple[str, str]]) -> bytes:
    return block_of(fields, huffman=False)


def coded_block(fields: list[tuple[str, str]]) -> bytes:
    return block_of(fields, huffman=True)


KINDS = st.sampled_from(["usual"] * 12 + ["gone", "long", "blank", "body"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 13), KINDS), max_size=20), st.lists(st.integers(0, 1_500), max_size=4))
def test_acceptances_that_are_read_in_one_step_are_those_that_are_read_one_by_one(
    said: list[tuple[int, str]], cuts: list[int]
) -> None:
    """Also with other answers between them, with a stream twice or of none, and in pieces of any size."""
    sent = [answer(2 * number + 1, kind) for number, kind in said]
    assert answered(sent, cuts, 0) == answered(sent, cuts, 1_000)


def test_acceptances_alike_are_read_in_one_step() -> None:
    plain, first = PlainSuccess(), answer(1, "usual")
    alike = b"".join(answer(stream, "usual") for stream in (3, 5, 7))
    for _ in range(fast_path._ENOUGH + 1):
        assert plain.matches(first, 9, len(first))
    assert [*plain.following(first + alike, len(first))] == [(3,), (5,), (7,)]
    assert [*plain.following(alike + answer(9, "blank") + alike, 0)] == [(3,), (5,), (7,)]
    assert [*plain.following(answer(9, "long") + alike, 0)] == []
    other = answer(1, "long")
    assert plain.matches(other, 9, len(other))
    assert [*plain.following(alike, 0)] == [], "the last one was another"
