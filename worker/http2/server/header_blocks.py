"""Request header blocks (RFC 7541) as fields, and the shapes by which a repeated block is known without decoding it.

A sender of notifications repeats one header block and changes a few values in it. The first block of a kind is decoded field by
field; where the changing values are plain literals, the block becomes a `Shape`: a pattern over the bytes of a whole request
(HEADERS, then DATA with END_STREAM) with holes for those values. Indices in a shape point into the dynamic table, so that every
change of the table forgets all shapes.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from worker.http2.server import huffman
from worker.http2.server.header_table import ENTRY_OVERHEAD, Field, HeaderTable


class Hole(NamedTuple):
    """A place in a block that differs between requests."""

    #: The constant start of the value.
    prefix: bytes
    #: A pattern of the well-formed rest; `%d` is its length.
    pattern: bytes


#: By field name. A value that its pattern does not know is decoded the long way.
Holes = Mapping[bytes, Hole]
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_REQUIRED: Final = _PSEUDO - {b":authority"}
_FORBIDDEN: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
#: A sender that needs more shapes than this gains nothing from them.
MOST_SHAPES: Final = 256

#: Most strings come again and again, and a sender's own names and topics are few.
_huffman = lru_cache(maxsize=2048)(huffman.decode)


class BlockError(Exception):
    """A header block cannot be decoded; the connection's compression state is lost."""


class Shape:
    """A kind of request."""

    __slots__ = ("fields", "holes", "known", "length", "length_at", "malformed", "note", "prefixes")

    def __init__(self, fields: tuple[Field, ...]) -> None:
        #: The fields of the first request of this kind, in their order.
        self.fields = fields
        #: The indices in `fields` of the values that differ; empty for a request that was decoded the long way.
        self.holes: tuple[int, ...] = ()
        #: The constant starts of those values.
        self.prefixes: tuple[bytes, ...] = ()
        #: Whether other requests of this kind are known by their bytes.
        self.known = False
        #: `content-length`, where the request has it; and the hole that it fills, where it differs.
        self.length, self.malformed = _examine(fields)
        self.length_at: int | None = None
        #: The application's own.
        self.note: Any = None

    def headers(self, values: tuple[bytes, ...]) -> list[Field]:
        """The fields of a request of this shape whose holes hold `values`."""
        fields = list(self.fields)
        for index, prefix, value in zip(self.holes, self.prefixes, values, strict=True):
            fields[index] = (fields[index][0], prefix + value)
        return fields


def _examine(fields: tuple[Field, ...]) -> tuple[int | None, bool]:
    """(content-length, whether the fields break the rules of RFC 9113 §8.2 and §8.3)."""
    names = tuple([name for name, _ in fields])
    if not _well_named(names):
        return None, True
    if b"te" in names and (b"te", b"trailers") not in fields:
        return None, True
    if b"content-length" not in names:
        return None, False
    length = fields[names.index(b"content-length")][1]
    return (int(length), False) if length.isdigit() and len(length) < 19 else (None, True)


@lru_cache(maxsize=1024)
def _well_named(names: tuple[bytes, ...]) -> bool:
    """Whether a request may have fields of these names in this order."""
    pseudo = [name for name in names if name.startswith(b":")]
    regular = names[len(pseudo) :]
    return (
        pseudo == list(names[: len(pseudo)])
        and len(set(pseudo)) == len(pseudo)
        and _REQUIRED <= set(pseudo) <= _PSEUDO
        and all(_NAME.fullmatch(name) and name not in _FORBIDDEN for name in regular)
    )


Match = Callable[[bytes, int], re.Match[bytes] | None]
Found = tuple[Shape, Match, re.Match[bytes]]


class BlockReader:
    """Decodes the header blocks of one connection, in their order. `holes` are the fields that differ between requests."""

    def __init__(self, holes: Holes, table_size: int = 4096, max_list_size: int = 8000) -> None:
        self._holes = holes
        self._table = HeaderTable(table_size)
        self.max_table_size = table_size
        self.max_list_size = max_list_size
        #: By the first five octets of the HEADERS frame: length, type, flags.
        self.shapes: dict[bytes, list[tuple[Shape, Match]]] = {}
        self._sources: set[bytes] = set()
        self._learnt = 0
        #: The largest size with which the next block has to begin; None: it need not change the table.
        self._owed: int | None = None

    def limit_table(self, size: int) -> None:
        """The sender has acknowledged this size. A smaller table than it uses has to be confirmed by its next block."""
        self.max_table_size = size
        if size < self._table.size:
            self._owed = size if self._owed is None else min(size, self._owed)
            self._forget_shapes()

    def read(self, block: bytes) -> Shape:
        """The block's fields as a shape without holes. Raises BlockError."""
        try:
            return self._read(block)
        except (huffman.HuffmanError, IndexError) as error:
            raise BlockError("header block cannot be decoded") from error

    def match(self, data: bytes, position: int) -> Found | None:
        """The known shape of the request at a position, and where it matched: stream id, holes, length of the body."""
        for shape, match in self.shapes.get(data[position : position + 5], ()):
            if (found := match(data, position)) is not None:
                return shape, match, found
        return None

    def _read(self, block: bytes) -> Shape:
        if self._owed is not None:
            self._check_owed(block)
        fields: list[Field] = []
        cuts: list[tuple[int, int, int]] = []
        position, size, end, steady, learnable = 0, 0, len(block), True, True
        while position < end:
            octet = block[position]
            if octet & 0x80:
                index, position = _integer(block, position, 7)
                name, value = self._table.get(index)
            elif octet & 0xE0 == 0x20:
                position = self._resize(block, position, bool(fields))
                steady = False
                continue
            else:
                indexed = octet & 0x40
                name, start, stop, plain = self._literal(block, position, 6 if indexed else 4)
                value = block[start:stop] if plain else _huffman(block[start:stop])
                if indexed:
                    self._table.add((name, value))
                    steady = False
                elif name in self._holes:
                    prefix = self._holes[name].prefix
                    learnable = learnable and plain and value.startswith(prefix)
                    cuts.append((len(fields), start + len(prefix), stop))
                position = stop
            size += len(name) + len(value) + ENTRY_OVERHEAD
            if size > self.max_list_size:
                raise BlockError("header list is larger than announced")
            fields.append((name, value))
        if not steady:
            self._forget_shapes()
            return Shape(tuple(fields))
        shape = Shape(tuple(fields))
        if learnable and not shape.malformed:
            self._learn(block, shape.fields, cuts)
        return shape

    def _check_owed(self, block: bytes) -> None:
        """Raises BlockError unless the block begins with a size update as small as was asked for (RFC 9113 §4.3.1)."""
        if not block or block[0] & 0xE0 != 0x20 or _integer(block, 0, 5)[0] > (self._owed or 0):
            raise BlockError("the smaller header table is not confirmed")
        self._owed = None

    def _forget_shapes(self) -> None:
        self.shapes.clear()
        self._sources.clear()

    def _literal(self, block: bytes, position: int, prefix: int) -> tuple[bytes, int, int, bool]:
        """(name, start and stop of the value, whether the value is plain octets)."""
        index, position = _integer(block, position, prefix)
        if index:
            name = self._table.get(index)[0]
        else:
            start, position, plain = _string(block, position)
            name = block[start:position] if plain else _huffman(block[start:position])
        start, stop, plain = _string(block, position)
        return name, start, stop, plain

    def _resize(self, block: bytes, position: int, late: bool) -> int:
        size, position = _integer(block, position, 5)
        if late or size > self.max_table_size:
            raise BlockError("table size update is out of place or too large")
        self._table.resize(size)
        return position

    def _learn(self, block: bytes, fields: tuple[Field, ...], cuts: list[tuple[int, int, int]]) -> None:
        if self._learnt >= MOST_SHAPES or len(block) > 0xFFFF:
            return
        head = len(block).to_bytes(3, "big") + b"\x01\x04"
        parts, position = [re.escape(head), rb"([\x00-\x7f]...)"], 0
        for index, start, stop in cuts:
            pattern = self._holes[fields[index][0]].pattern
            parts += [re.escape(block[position:start]), pattern.replace(b"%d", b"%d" % (stop - start))]
            position = stop
        parts += [re.escape(block[position:]), rb"\x00(..)\x00\x01\1"]
        source = b"".join(parts)
        if source in self._sources:
            return
        self._sources.add(source)
        self._learnt += 1
        shape = Shape(fields)
        shape.holes = tuple(index for index, _, _ in cuts)
        names = [fields[index][0] for index in shape.holes]
        shape.prefixes = tuple(self._holes[name].prefix for name in names)
        if b"content-length" in names:
            shape.length, shape.length_at = None, names.index(b"content-length")
        shape.known = True
        self.shapes.setdefault(head, []).append((shape, re.compile(source, re.DOTALL).match))


def _integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    """A prefixed integer (RFC 7541 §5.1) and the position after it."""
    mask = (1 << prefix) - 1
    value = block[position] & mask
    position += 1
    if value < mask:
        return value, position
    shift = 0
    while True:
        octet = block[position]
        position += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
        shift += 7
        if shift > 28:
            raise BlockError("integer is too long")


def _string(block: bytes, position: int) -> tuple[int, int, bool]:
    """(start, stop, plain) of a string literal (RFC 7541 §5.2)."""
    plain = block[position] < 0x80
    length, start = _integer(block, position, 7)
    stop = start + length
    if stop > len(block):
        raise BlockError("string ends beyond the block")
    return start, stop, plain
