"""Recognises the header block of a plain acceptance without decoding it. Says no if it is not sure."""

import re
import struct
from collections.abc import Iterator
from typing import Final

from worker.http2 import frames
from worker.http2.client import visible

#: Names of fields that an acceptance may carry.
NAMES: Final = ("apns-id", "apns-unique-id", "content-length", "content-type", "date", "server")
#: The same as literals: length and octets, plain and Huffman-coded.
_NAMES: Final = frozenset(
    encoded for name in map(str.encode, NAMES) for encoded in (bytes((len(name),)) + name, visible.literal(name))
)
_LONGEST_VALUE: Final = 126
_HUFFMAN: Final = 0x80
#: Deletes what a value may hold; what is left is not ours to judge. Blanks are, though they may stand inside a value.
_VALUE_OCTETS: Final = bytes(range(0x21, 0x7F))
#: Acceptances alike after which a pattern is made for them: that costs as much as to recognise some hundred.
_ENOUGH: Final = 200


class PlainSuccess:
    """Recognises the plain acceptances of one connection.

    One mostly differs from the last in the value of its last field alone, so what is before that is remembered. A coded value has
    another length, too.
    """

    __slots__ = ("_alike", "_ids", "_lead", "_length", "_seen", "size")

    def __init__(self) -> None:
        #: Of the last one: what is before its last value, and octets of the whole.
        self._lead, self._length = b"\x88", 1
        #: How many were like it, and once they are enough, frames of such acceptances, and where their stream ids are.
        self._seen = 0
        self._alike: re.Pattern[bytes] | None = None
        self._ids = struct.Struct("")
        #: Octets of such a frame.
        self.size = 0

    def matches(self, data: bytes, start: int, stop: int) -> bool:
        """Whether `data[start:stop]`, which begins with `:status 200`, goes on with well-formed literals of known headers."""
        lead = self._lead
        if stop - start == self._length and data.startswith(lead, start):
            self._seen += 1
            return _is_value(data[start + len(lead) : stop], lead[-1])
        place = start + len(lead)
        # It has a field, and only the octet before the value, which is its length, differs.
        if place < stop and len(lead) > 1 and data.startswith(lead[:-1], start):
            coded = data[place - 1]
            if coded >= _HUFFMAN and place + coded % _HUFFMAN == stop and stop - place <= _LONGEST_VALUE:
                return visible.is_visible(data[place:stop])
        place = _last_value(data, start, stop)
        if place:
            self._lead, self._length = data[start:place], stop - start
            self._seen, self._alike = 0, None
        return place > 0

    def following(self, data: bytes, position: int) -> Iterator[tuple[int]]:
        """The streams of the frames from `position` on that have such an acceptance each, in one step for all of them."""
        if self._alike is None:
            coded = self._length > len(self._lead) and self._lead[-1] >= _HUFFMAN
            if coded or self._seen < _ENOUGH:
                return iter(())
            self._prepare()
            assert self._alike is not None
        found = self._alike.match(data, position)
        assert found is not None
        return self._ids.iter_unpack(found[0])

    def _prepare(self) -> None:
        head = frames.pack_header(self._length, frames.HEADERS, frames.FLAG_END_STREAM | frames.FLAG_END_HEADERS, 0)
        value = b"[\\x21-\\x7e]{%d}" % (self._length - len(self._lead))
        self._alike = re.compile(b"(?s:(?:%b....%b%b)*)" % (re.escape(head[:5]), re.escape(self._lead), value))
        self._ids = struct.Struct(f">5xL{self._length}x")
        self.size = self._ids.size


def _last_value(data: bytes, start: int, stop: int) -> int:
    """Where the last value begins of a plain acceptance, or the block ends that has none; 0: it is not sure to be one."""
    position = place = start + 1
    while position < stop:
        # A literal with a literal name: without indexing, never indexed, or with indexing (our table is empty).
        if data[position] not in (0x00, 0x10, 0x40):
            return 0
        name_end = position + 2 + (data[position + 1 : position + 2] or b"\x7f")[0] % _HUFFMAN
        if data[position + 1 : name_end] not in _NAMES or name_end >= stop:
            return 0
        coded, place = data[name_end], name_end + 1
        position = place + coded % _HUFFMAN
        if position > stop or coded % _HUFFMAN > _LONGEST_VALUE:
            return 0
        if not _is_value(data[place:position], coded):
            return 0
    return place


def _is_value(value: bytes, coded: int) -> bool:
    """`coded`: the octet before it, which says whether it is Huffman-coded."""
    return visible.is_visible(value) if coded >= _HUFFMAN and value else not value.translate(None, _VALUE_OCTETS)
