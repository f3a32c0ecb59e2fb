"""Where a field ends in a header block, as it is encoded (RFC 7541 §6). Decodes nothing."""

from typing import Final

#: How a field begins: with an index alone, a name that goes into the table, a size of the table; else a literal.
_INDEXED, _KEPT, _SIZE = 0x80, 0x40, 0x20
_KEPT_NAME: Final = 0x3F
_NAME: Final = 0x0F
_LENGTH: Final = 0x7F
_MORE: Final = 0x80


class UnclearError(ValueError):
    """Only a decoder can tell."""


def field_end(block: bytes, position: int) -> int | None:
    """Where the field ends that begins at `position`; None where only a decoder can tell, as of one that is cut off."""
    try:
        first = block[position]
        after = position + 1
        if not first & _INDEXED:
            after = _string_end(block, name_end(block, position))
        elif first & _LENGTH == _LENGTH:
            return None
    except (IndexError, UnclearError):
        return None
    return after if after <= len(block) else None


def name_end(block: bytes, position: int) -> int:
    """Where the value begins of the literal at `position`. Raises `UnclearError`, or `IndexError` where it is cut off."""
    first, after = block[position], position + 1
    if first & _KEPT and not first & _INDEXED:
        name = first & _KEPT_NAME
    elif first & (_INDEXED | _SIZE):
        raise UnclearError
    else:
        name = first & _NAME
        if name == _NAME:  # the rest of the index
            if block[after] & _MORE:
                raise UnclearError
            after += 1
    return after if name else _string_end(block, after)


def _string_end(block: bytes, position: int) -> int:
    length = block[position] & _LENGTH
    if length < _LENGTH:
        return position + 1 + length
    if block[position + 1] & _MORE:
        raise UnclearError
    return position + 2 + length + block[position + 1]
