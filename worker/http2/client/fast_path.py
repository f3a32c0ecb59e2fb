"""Recognises the header block of a plain acceptance without decoding it. Returns False if it is not sure."""

from typing import Final

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


def is_plain_success(data: bytes, start: int, stop: int) -> bool:
    """Whether `data[start:stop]`, which begins with `:status 200`, goes on with well-formed literals of known headers."""
    position = start + 1
    while position < stop:
        # A literal with a literal name: without indexing, never indexed, or with indexing (our table is empty).
        if data[position] not in (0x00, 0x10, 0x40):
            return False
        name_end = position + 2 + (data[position + 1 : position + 2] or b"\x7f")[0] % _HUFFMAN
        if data[position + 1 : name_end] not in _NAMES or name_end >= stop:
            return False
        coded = data[name_end]
        position = name_end + 1 + coded % _HUFFMAN
        if position > stop or coded % _HUFFMAN > _LONGEST_VALUE:
            return False
        value = data[name_end + 1 : position]
        if value and not (visible.is_visible(value) if coded >= _HUFFMAN else not value.translate(None, _VALUE_OCTETS)):
            return False
    return True
