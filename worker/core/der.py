"""Reads the strings out of a DER document. Apple's topic extensions need no more of ASN.1 than that."""

from collections.abc import Iterator
from typing import Final

_STRINGS: Final = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii", 0x1A: "ascii", 0x14: "latin-1", 0x1E: "utf-16-be"}
_CONSTRUCTED: Final = 0x20
_DEEPEST: Final = 16


class DerError(ValueError):
    """The bytes are not DER, or not of a kind that this reads."""


def strings(document: bytes, depth: int = 0) -> Iterator[tuple[int, str]]:
    """Every character string in the document, in order, with the number of sequences or sets around it."""
    if depth > _DEEPEST:
        raise DerError("nested too deep")
    at = 0
    while at < len(document):
        tag, start, end = _header(document, at)
        content = document[start:end]
        if tag & _CONSTRUCTED:
            yield from strings(content, depth + 1)
        elif encoding := _STRINGS.get(tag):
            try:
                yield depth, content.decode(encoding)
            except UnicodeDecodeError:
                raise DerError(f"a string that is not {encoding}") from None
        at = end


def _header(document: bytes, at: int) -> tuple[int, int, int]:
    """Tag, and where the content begins and ends, of the element that begins at `at`."""
    if at + 2 > len(document):
        raise DerError("cut off in a header")
    tag, length, start = document[at], document[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise DerError("a tag of several bytes")
    if length == 0x80:
        raise DerError("a length that is not definite")
    if length > 0x80:
        size = length & 0x7F
        if size > 4 or start + size > len(document):
            raise DerError("cut off in a length")
        length = int.from_bytes(document[start : start + size], "big")
        start += size
    if start + length > len(document):
        raise DerError("cut off in its content")
    return tag, start, start + length
