"""The heads of answers as header blocks of literals that use no table (RFC 7541 §6.2.2).

What an answer adds to the head of any kind is here too.
"""

from email.utils import formatdate
from functools import lru_cache
from typing import Final

from worker.simulator.script import Answer

Fields = tuple[tuple[bytes, bytes], ...]

_STATIC_STATUS: Final = {200: b"\x88", 204: b"\x89", 400: b"\x8c", 404: b"\x8d", 500: b"\x8e"}
#: A length below this is one octet.
_SHORT: Final = 127


def field(name: bytes, value: bytes) -> bytes:
    """A field without indexing, its name and value plain."""
    return b"\x00" + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    """The length of a string as an integer with a prefix of seven bits (RFC 7541 §5.1)."""
    if len(text) < _SHORT:
        return bytes([len(text)])
    octets, rest = bytearray([_SHORT]), len(text) - _SHORT
    while rest >= 128:
        octets.append(rest & 127 | 128)
        rest >>= 7
    octets.append(rest)
    return bytes(octets)


def status_field(status: int) -> bytes:
    """The `:status` field."""
    return _STATIC_STATUS.get(status) or b"\x08\x03%d" % status


@lru_cache(maxsize=256)
def block(status: int, fields: Fields = ()) -> bytes:
    """The header block of an answer."""
    return status_field(status) + b"".join([field(name, value) for name, value in fields])


def added(answer: Answer, now: float) -> Fields:
    """The fields that a script gives an answer. `now` is in seconds since the epoch."""
    fields = [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
    if answer.retry_after is not None:
        date = formatdate(now + answer.retry_after, usegmt=True)
        fields.append((b"retry-after", (date if answer.retry_at_date else str(answer.retry_after)).encode()))
    return tuple(fields)
