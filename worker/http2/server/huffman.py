"""Huffman-coded strings (RFC 7541 §5.2), an octet at a step: `hpack` has the code, and takes a step for each symbol and more.

A state is a node of the code's tree. What an octet does to a state is worked out once, when it is first met; all that there is to
work out are some 65,000 steps of a few bytes each.
"""

from typing import Final

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

_END: Final = 256
#: By node: the next node for a 0 and for a 1. A leaf is the negative of its symbol, less one.
_tree: Final[list[list[int]]] = [[0, 0]]
#: By node and octet: the node after it, and the symbols that were completed; None until it is met.
_steps: Final[list[list[tuple[int, bytes] | None]]] = []


class HuffmanError(ValueError):
    """The string ends in the middle of a symbol, is padded wrongly, or holds the end symbol."""


def decode(data: bytes) -> bytes:
    """The decoded string. Raises HuffmanError."""
    node, parts, steps = 0, [], _steps
    for octet in data:
        step = steps[node][octet]
        if step is None:
            step = _learn(node, octet)
        node, part = step
        parts.append(part)
    if node not in _padding:
        raise HuffmanError("string ends within a symbol")
    return b"".join(parts)


def _learn(node: int, octet: int) -> tuple[int, bytes]:
    start, symbols = node, bytearray()
    for shift in range(7, -1, -1):
        node = _tree[node][octet >> shift & 1]
        if node < 0:
            if node == -_END - 1:
                raise HuffmanError("string holds the end symbol")
            symbols.append(-node - 1)
            node = 0
    step = _steps[start][octet] = (node, bytes(symbols))
    return step


def _plant() -> None:
    for symbol, (code, length) in enumerate(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)):
        node = 0
        for shift in range(length - 1, 0, -1):
            bit = code >> shift & 1
            if not _tree[node][bit]:
                _tree.append([0, 0])
                _tree[node][bit] = len(_tree) - 1
            node = _tree[node][bit]
        _tree[node][code & 1] = -symbol - 1


def _padding_nodes() -> frozenset[int]:
    """The nodes in which a string may end: up to seven ones after the last symbol."""
    nodes = [0]
    while len(nodes) < 8:
        nodes.append(_tree[nodes[-1]][1])
    return frozenset(nodes)


_plant()
_steps.extend([None] * 256 for _ in _tree)
_padding: Final = _padding_nodes()
