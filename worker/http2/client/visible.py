"""Tells whether octets are the Huffman code of visible ASCII, without decoding them (RFC 7541 §5.2, Appendix B).

The code is walked an octet at a time by a table of states that fills itself as it is used; a state is how far into a symbol's
code the last octet ended. Decoding proper is the business of the `hpack` library.
"""

from array import array
from typing import Final

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

_UNKNOWN: Final = 0xFFFF
#: The smallest of these two: all else is a node.
_BAD: Final = 0xFFFE
_FIRST_VISIBLE, _LAST_VISIBLE = 0x21, 0x7E


def literal(value: bytes) -> bytes:
    """A string literal, Huffman-coded; 1 to 126 octets."""
    bits = "".join(f"{REQUEST_CODES[octet]:0{REQUEST_CODES_LENGTH[octet]}b}" for octet in value)
    bits += "1" * (-len(bits) % 8)
    return bytes((0x80 | len(bits) // 8,)) + int(bits, 2).to_bytes(len(bits) // 8, "big")


class _Tree:
    """The visible symbols' codes as a binary tree; everything else is `_BAD`."""

    def __init__(self) -> None:
        #: For each inner node, where a 0 and a 1 lead: another node, 0 after a whole symbol, or `_BAD`.
        self.nodes: list[list[int]] = [[_BAD, _BAD]]
        #: Rows that padding may end in: up to seven ones (§5.2).
        self.ends: set[int] = set()
        for octet in range(_FIRST_VISIBLE, _LAST_VISIBLE + 1):
            self._add(f"{REQUEST_CODES[octet]:0{REQUEST_CODES_LENGTH[octet]}b}")
        node = 0
        for _ in range(8):
            self.ends.add(node * 256)
            node = self.nodes[node][1]
            if node in (0, _BAD):
                break
        #: A row of 256 for each node, by the octet: the row to which that leads.
        self.steps = array("H", [_UNKNOWN]) * (len(self.nodes) * 256)

    def _add(self, code: str) -> None:
        node = 0
        for bit in code[:-1]:
            if self.nodes[node][int(bit)] == _BAD:
                self.nodes[node][int(bit)] = len(self.nodes)
                self.nodes.append([_BAD, _BAD])
            node = self.nodes[node][int(bit)]
        self.nodes[node][int(code[-1])] = 0

    def step(self, row: int, octet: int) -> int:
        """The row to which `octet` leads from `row`, or `_BAD`; remembers it."""
        node = row // 256
        for shift in range(7, -1, -1):
            node = self.nodes[node][octet >> shift & 1]
            if node == _BAD:
                break
        after = self.steps[row + octet] = node if node == _BAD else node * 256
        return after


_TREE: Final = _Tree()


def is_visible(coded: bytes) -> bool:
    """Whether this decodes to visible ASCII without blanks, with correct padding."""
    steps, row = _TREE.steps, 0
    for octet in coded:
        after = steps[row + octet]
        if after >= _BAD:
            after = _TREE.step(row, octet)
            if after == _BAD:
                return False
        row = after
    return row in _TREE.ends
