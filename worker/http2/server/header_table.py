"""The table of fields that a decoder of header blocks keeps: the static part, then what the peer added, newest first.

RFC 7541 §2.3 and §4.
"""

from collections import deque
from typing import Final

from hpack.table import HeaderTable as _Hpack

Field = tuple[bytes, bytes]

STATIC: Final[tuple[Field, ...]] = _Hpack.STATIC_TABLE
#: What an entry weighs in a table or a header list beyond its octets (RFC 7541 §4.1).
ENTRY_OVERHEAD: Final = 32
_STATIC_LENGTH: Final = len(STATIC)


class HeaderTable:
    """Fields by index, from 1. Raises IndexError for an index that has none."""

    def __init__(self, size: int) -> None:
        #: Octets that it may weigh.
        self.size = size
        self._weight = 0
        self._added: deque[Field] = deque()

    def get(self, index: int) -> Field:
        """The field of an index."""
        if index > _STATIC_LENGTH:
            return self._added[index - _STATIC_LENGTH - 1]
        if index:
            return STATIC[index - 1]
        raise IndexError("index 0")

    def add(self, field: Field) -> None:
        """Add a field; the oldest make room. One that is too large for the whole table empties it."""
        self._added.appendleft(field)
        self._weight += len(field[0]) + len(field[1]) + ENTRY_OVERHEAD
        if self._weight > self.size:
            self._evict()

    def resize(self, size: int) -> None:
        """Change what it may weigh."""
        self.size = size
        self._evict()

    def _evict(self) -> None:
        while self._weight > self.size:
            name, value = self._added.pop()
            self._weight -= len(name) + len(value) + ENTRY_OVERHEAD
