"""Checks beyond types: the characters of strings, and the shape of free data.

Kept apart from the types because a pattern on every id would double the cost of decoding. Here one scan of the raw document
tells whether any of its strings can be at fault. Only then each string is checked.
"""

import re
from math import isfinite
from typing import Any, Final

from producers.errors import EventError

#: Levels of lists and objects inside `data` and `attributes`.
MAX_DEPTH: Final = 16
#: Whole numbers in free data have to fit into 64 bits with a sign, as most JSON libraries require.
INTEGERS: Final = range(-(2**63), 2**63)

# A JSON string has control characters only as escapes; those from U+007F on may also be raw.
# For an octet as a number Python looks at once; octets in quotes it first tries to read as a number.
_BACKSLASH: Final = 0x5C
_DELETE: Final = 0x7F
_ESCAPED: Final = re.compile(rb"\\(?:u00(?:[01]|7[fF]|[89])|[bfnrt])")
_RAW: Final = re.compile(rb"\xc2[\x80-\x9f]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NUL: Final = re.compile(r"[\x00\ud800-\udfff]")
#: Fields written by people or by the app, and the one of which whatever is not valid is ignored: line breaks are allowed;
#: NUL, which no database stores, is not.
_PROSE: Final = frozenset(
    {
        "traceparent",
        "message.text",
        "channel.name",
        "sender.name",
        "alert",
        "alert.title",
        "alert.subtitle",
        "alert.body",
        "caller.name",
        "speaker.name",
    }
)
_FREE: Final = frozenset(
    {"message.data", "device.attributes", "data", "where.attributes", "call.data", "state", "attributes"}
)


def suspicious(document: bytes) -> bool:
    """Whether a string in the document may hold a control character. May err towards True, never towards False."""
    if _BACKSLASH in document and _ESCAPED.search(document):
        return True
    return _DELETE in document or (not document.isascii() and _RAW.search(document) is not None)


def may_have_nul(document: bytes) -> bool:
    """Whether a string in the document may hold a NUL. May err towards True, never towards False."""
    return b"\\u0000" in document


def has_control(text: str) -> bool:
    """Whether there is a control character in the text."""
    return not text.isprintable() and _CONTROL.search(text) is not None


def check_characters(value: Any, field: str = "") -> None:
    """Raises `EventError` for a NUL in any string, and for a control character in any string except prose and free data.

    PostgreSQL stores no NUL, and an id with a line break forges log lines.
    """
    if isinstance(value, str):
        _check_string(value, field)
    elif isinstance(value, dict):
        for key, item in value.items():
            inside = field if field in _FREE else f"{field}.{key}" if field else key
            _check_string(key, field or "document")  # a key with a control character names nothing
            check_characters(item, inside)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check_characters(item, field if field in _FREE else f"{field}[{index}]")


def _check_string(text: str, field: str) -> None:
    loose = field in _PROSE or field in _FREE
    found = (_NUL if loose else _CONTROL).search(text)
    if found is None:
        return
    code = ord(found[0])
    if code >= 0xD800:
        raise EventError(f"{field}: half of a surrogate pair (U+{code:04X}) is no character; send whole ones")
    if code == 0:
        raise EventError(f"{field}: must not have a NUL (U+0000), which PostgreSQL cannot store")
    raise EventError(f"{field}: must not have control characters; there is a U+{code:04X}")


def check_free(value: dict[Any, Any] | list[Any] | tuple[Any, ...], field: str, depth: int = 1) -> None:
    """Raises `EventError` if free data is nested deeper than `MAX_DEPTH`, or has a number that other libraries cannot read."""
    if depth > MAX_DEPTH:
        raise EventError(f"{field}: nested too deeply; at most {MAX_DEPTH} levels are taken")
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, str):
            continue
        if isinstance(item, (dict, list, tuple)):  # twice as fast as a union
            check_free(item, field, depth + 1)
        elif isinstance(item, int):
            if item not in INTEGERS:
                raise EventError(f"{field}: a whole number must fit into 64 bits; send it as a string")
        elif isinstance(item, float) and not isfinite(item):
            raise EventError(f"{field}: NaN and Infinity are not JSON")
