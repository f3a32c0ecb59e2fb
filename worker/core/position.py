"""A stream entry's id as one number that sorts as the stream does."""

from typing import Final

#: Bits for the sequence number within a millisecond: a million entries.
_SEQUENCE: Final = 20


def position(entry: str) -> int:
    """`<ms>-<sequence>` as a 63-bit number."""
    ms, _, sequence = entry.partition("-")
    return int(ms) << _SEQUENCE | min(int(sequence), (1 << _SEQUENCE) - 1)


def entry(position: int) -> str:
    """The id that `position` was made of."""
    return f"{position >> _SEQUENCE}-{position & ((1 << _SEQUENCE) - 1)}"
