"""Fields of a request: the values that HTTP allows, and which parts go into the server's dynamic table."""

import re
from enum import Enum
from typing import Final

_VALUE: Final = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_PATH: Final = re.compile(r"/[\x21-\x7e]*")


class Keep(Enum):
    """Which part of a field goes into the dynamic table."""

    VALUE = 1
    NAME = 2
    NOTHING = 3
    #: The field with its value. If it cannot go into the table, it is marked as never indexed (RFC 7541 §7.1.3).
    SECRET = 4


#: A lower-case name, a value that `field_value` or `path_value` has checked, and which part is kept.
Field = tuple[bytes, bytes, Keep]


class BadFieldError(ValueError):
    """A value that HTTP does not allow in a header. `cause` is a fixed phrase that does not show it."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def field_value(text: str, what: str) -> bytes:
    """The octets of a field's value. Raises `BadFieldError`, whose text names it `what`."""
    try:
        value = text.encode()
    except UnicodeEncodeError:
        raise BadFieldError(f"{what} not allowed in a header") from None
    if not _VALUE.fullmatch(value):
        raise BadFieldError(f"{what} not allowed in a header")
    return value


def path_value(text: str, what: str) -> bytes:
    """The octets of a path with its query: a slash, then visible ASCII. Raises `BadFieldError`, whose text names it `what`."""
    if not _PATH.fullmatch(text):
        raise BadFieldError(f"{what} not allowed in a path")
    return text.encode()
